#include <string>

#include "solera/base/process.h"
#include "tests/support/support.h"

namespace solera {
namespace {

// What lm-evaluation-harness writes, shortened.
const std::string kHarness = R"({
  "results": {
    "arc_easy": {
      "alias": "arc_easy",
      "acc,none": 0.7121,
      "acc_stderr,none": 0.0093
    }
  },
  "configs": {"arc_easy": {"num_fewshot": 0}}
})";

double metric(const std::string& output, const std::string& name = "") {
  return metric_from_output(output, name, "eval.sh");
}
std::string refusal(const std::string& output, const std::string& name = "") {
  return test::message_of([&] { metric(output, name); });
}

TEST(Metric, IsTheNumberOnTheLastLine) {
  EXPECT_EQ(metric("0.25"), 0.25);
  EXPECT_EQ(metric("epoch 1\nepoch 2\n  -1e-3  \n\n"), -1e-3);
  EXPECT_EQ(metric("1\r\n2\r\n"), 2);
}

TEST(Metric, IsTheOneNumberOfAnObject) {
  EXPECT_EQ(metric("log\n{\"model\": \"7\", \"ok\": true, \"loss\": 0.5}\n"), 0.5);
  EXPECT_EQ(metric("{\n  \"loss\": 0.5\n}\n"), 0.5);
}

TEST(Metric, IsTakenByNameOrPointer) {
  EXPECT_EQ(metric("{\"a\": 1, \"b\": 2}", "b"), 2);
  EXPECT_EQ(metric("{\"a/b\": {\"~\": [3, 4]}}", "/a~1b/~0/1"), 4);
  EXPECT_EQ(metric(kHarness, "/results/arc_easy/acc,none"), 0.7121);
  EXPECT_EQ(metric("loading {model}\n{not json\n" + kHarness + "\n", "/results/arc_easy/acc,none"), 0.7121);
  EXPECT_EQ(metric("{\"a\": 1}\n{\"a\": 2}\n", "a"), 2);
}

TEST(Metric, IsReadFromAFile) {
  const TemporaryFolder folder;
  write_atomically(folder / "results.json", kHarness);
  EXPECT_EQ(metric_from_file(folder / "results.json", "/results/arc_easy/acc,none"), 0.7121);
}

TEST(Metric, RefusesWhatIsNoNumber) {
  EXPECT_EQ(refusal(" \n"), "the command printed nothing (eval.sh); its last line must be the metric");
  EXPECT_EQ(refusal("0.5\nloss 0.3\n"),
            "the last line of the output is \"loss 0.3\", not a number or a JSON object (eval.sh)");
  EXPECT_EQ(refusal("nan"), "the metric is nan (eval.sh)");
  EXPECT_EQ(refusal("{\"a\": 1, \"b\": 2}"),
            "the output's JSON object holds 2 numbers: a, b (eval.sh); name one with --metric");
  EXPECT_EQ(refusal("{\"a\": \"1\"}"), "the output's JSON object holds no number (eval.sh); name one with --metric");
  EXPECT_EQ(refusal("0.5", "loss"), "no JSON object in the output to take loss from; it ends \"0.5\" (eval.sh)");
  EXPECT_EQ(refusal("{\"loss\": 1}", "los"), "the output has no metric los (eval.sh); did you mean loss?");
  EXPECT_EQ(refusal("{\"loss\": 1}", "/x/y"), "the output has no metric /x/y (eval.sh); its keys are loss");
  EXPECT_EQ(refusal("{\"loss\": [1]}", "loss"), "the metric loss is [1], not a number (eval.sh)");
  EXPECT_EQ(refusal("{\"loss\": null}", "loss"), "the metric loss is null, not a number (eval.sh)");
}

TEST(ResultInOutput, FindsTheLastObjectOrNothing) {
  EXPECT_FALSE(result_in_output(""));
  EXPECT_FALSE(result_in_output("done"));
  EXPECT_FALSE(result_in_output("{\"a\": 1} trailing"));
  EXPECT_EQ(to_json(result_in_output("{\"a\": 1}\n{\"b\": 2}\n").value()), "{\"b\":2}");
  EXPECT_EQ(to_json(result_in_output("{\"a\": 1}\n 0.25 \n").value()), "0.25");
  EXPECT_EQ(to_json(result_in_output("5\" {of\n}\n  {\n\"a\": \"}\\\"{\"\n}").value()), "{\"a\":\"}\\\"{\"}");
  EXPECT_FALSE(result_in_output("result: {\n\"a\": 1\n}"));
  EXPECT_EQ(to_json(result_in_output("log\n{\n\"a\":\n{\"b\": 2}\n}").value()), "{\"a\":{\"b\":2}}");
}

// Found in one pass: trying every line that begins with a brace took time with the square of the lines.
TEST(ResultInOutput, ReadsALogOfManyBracesOnce) {
  std::string log;
  for (int i = 0; i < 200000; ++i) log += "{\"step\": 1, \"open\": {\n";
  EXPECT_FALSE(result_in_output(log + "done"));
  EXPECT_EQ(metric_from_output(log + "{\n\"acc\": 0.5\n}", "acc", "x"), 0.5);
}

TEST(MetricFromOutput, QuotesWholeCharactersOfALongLine) {
  std::string line(119, 'x');
  EXPECT_EQ(test::message_of([&] { metric_from_output(line + "\u00e9\u00e9", "", "x"); }),
            cat("the last line of the output is \"", line, "...\", not a number or a JSON object (x)"));
}

}  // namespace
}  // namespace solera
