// Whole soups: checkpoints, a shell command, a result on disk.
#include "solera/soup/soup.h"

#include <cmath>

#include <gmock/gmock.h>

#include "solera/base/random.h"
#include "solera/merge/execute.h"
#include "tests/soup/scalars.h"

namespace solera::soup {
namespace {

using checkpoint::DType;
using test::tensor;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Soup : public test::Scalars {};

TEST_F(Soup, GreedyOracleWithFiles) {
  SoupOptions soup = options(files({1.0, 0.0, 0.4, 2.0}), peak_script());
  const SoupReport report = make(soup);
  EXPECT_FLOAT_EQ(static_cast<float>(value(soup.out)), 0.7f);
  EXPECT_EQ(count(soup.out), 0);  // of m0, the first ingredient in the soup
  EXPECT_THAT(report.search.members, ElementsAre(2, 0));
  EXPECT_NEAR(report.search.score, -0.01, 1e-6);
  EXPECT_EQ(report.evaluations, 7);
  EXPECT_EQ(report.cached, 0);
  EXPECT_EQ(runs(), 7);
  EXPECT_EQ(summary_line(report), cat(soup.out,
                                      ": greedy soup of 2 of 4 models, score -0.01 (best single m2.safetensors "
                                      "-0.04); 7 evaluations, 0 cached"));
  EXPECT_THAT(recorder_.notes, ::testing::Contains("+ m0.safetensors: -0.01, accepted"));
  EXPECT_THAT(recorder_.notes, ::testing::Contains("+ m1.safetensors: -0.0177778, rejected"));
  expect_only_scores();
}

TEST_F(Soup, ARerunAsksNothingAndGivesTheSame) {
  SoupOptions soup = options(files({1.0, 0.0, 0.4, 2.0}), peak_script());
  make(soup);
  const std::string bytes = read_file(soup.out);
  for (int jobs : {1, 3}) {
    SoupOptions again = soup;
    again.out = folder_ / cat("again", jobs, ".safetensors");
    again.search.jobs = jobs;
    const SoupReport report = make(again);
    EXPECT_EQ(read_file(again.out), bytes);
    if (jobs == 1) {  // speculation may ask for more
      EXPECT_EQ(report.evaluations, 0);
      EXPECT_EQ(report.cached, 7);
    }
    for (const Trial& trial : report.search.trials) EXPECT_TRUE(trial.evaluation.cached);
  }
}

TEST_F(Soup, JobsChangeNothing) {
  const auto models = files({1.0, 0.0, 0.4, 2.0, 0.55, 0.9});
  const std::string command = peak_script();
  std::vector<std::string> outputs, logs;
  for (int jobs : {1, 2, 4}) {
    SoupOptions soup = options(models, command);
    soup.out = folder_ / cat("jobs", jobs, ".safetensors");
    soup.cache = folder_ / cat("cache", jobs);
    soup.search.jobs = jobs;
    soup.evaluator.threads = 2;
    make(soup);
    outputs.push_back(read_file(soup.out));
    std::string log;
    for (Node line : JournalFile(default_log(soup.out)).read()) {
      line.erase("seconds");
      log += to_json(line) + "\n";
    }
    logs.push_back(log);
  }
  EXPECT_EQ(outputs[1], outputs[0]);
  EXPECT_EQ(outputs[2], outputs[0]);
  EXPECT_EQ(logs[1], logs[0]);
  EXPECT_EQ(logs[2], logs[0]);
}

TEST_F(Soup, LogsEveryTrial) {
  SoupOptions soup = options(files({0.4, 0.8, 5}), peak_script());
  make(soup);
  const auto lines = JournalFile(folder_ / "soup.trials.jsonl").read();
  ASSERT_EQ(lines.size(), 5u);
  Node last = lines[4], pair = lines[3];
  EXPECT_GT(pair.at("seconds").as_double(), 0);
  for (Node* line : {&last, &pair}) {
    line->erase("seconds");
    line->erase("score");
  }
  EXPECT_EQ(to_json(pair), R"({"trial":4,"verdict":"accepted","tried":"m1.safetensors",)"
                           R"("ingredients":["m0.safetensors","m1.safetensors"],"weights":[0.5,0.5],"cached":false})");
  EXPECT_THAT(to_json(last), HasSubstr(R"("trial":5,"verdict":"rejected","tried":"m2.safetensors")"));
}

TEST_F(Soup, FoldersGiveFolders) {
  const std::string command =
      cat("test ! -e {checkpoint}/README.md && test -f {checkpoint}/config.json && test -f {checkpoint}/tokenizer.json "
          "&& sh ",
          (peak_script(), shell_quote(folder_ / "peak.sh")), " {checkpoint}/model.safetensors");
  SoupOptions soup = options({model_folder("a/final", 0.4), model_folder("b/final", 0.8)}, command);
  soup.out = folder_ / "soup";
  const SoupReport report = make(soup);
  EXPECT_THAT(report.labels, ElementsAre("a/final", "b/final"));
  EXPECT_FLOAT_EQ(static_cast<float>(value(soup.out)), 0.6f);
  EXPECT_TRUE(exists(soup.out + "/config.json"));
  EXPECT_TRUE(exists(soup.out + "/tokenizer.json"));
  EXPECT_THAT(read_file(soup.out + "/README.md"), HasSubstr("# soup\n"));
  EXPECT_THAT(read_file(soup.out + "/README.md"), HasSubstr("2 models by the method `linear`"));
  soup.out = folder_ / "bare";
  soup.model_card = false;
  make(soup);
  EXPECT_FALSE(exists(soup.out + "/README.md"));
  EXPECT_FALSE(exists(soup.out + "/mergekit_config.yml"));
}

// The configuration in the folder makes the soup again, whatever its weights.
TEST_F(Soup, AFolderHasTheConfigurationThatMadeIt) {
  std::vector<std::string> models;
  for (const char* name : {"a", "b", "base"}) {
    make_folders(folder_ / name);
    const double shift = name[1] ? 0.1 : *name - 'a';
    solera::test::write_model(
        folder_ / cat(name, "/model.safetensors"),
        {tensor("layers.0.w", DType::kBF16, {3}, {1 + shift, 0.3, 2}),
         tensor("layers.1.w", DType::kF32, {2}, {0.7 - shift, shift}), tensor("steps", DType::kI64, {}, {shift})});
    write_atomically(folder_ / name + "/config.json", "{}");
    models.push_back(folder_ / name);
  }
  SoupOptions soup = options({models[0], models[1]}, "wc -c < {checkpoint}/model.safetensors");
  soup.out = folder_ / "soup";
  soup.coefficients.budget = 8;
  soup.coefficients.granularity = Granularity::kTensor;
  soup.search.seed = 5;
  soup.force = true;
  const auto check = [&](const std::string& lines) {
    make(soup);
    EXPECT_THAT(read_file(soup.out + "/mergekit_config.yml"), HasSubstr(lines));
    merge::Plan plan = merge::make_plan(merge::read_merge_config(soup.out + "/mergekit_config.yml"), {});
    merge::execute(plan, {.out = folder_ / "again", .force = true}, no_progress());
    EXPECT_EQ(read_file(folder_ / "again/model.safetensors"), read_file(soup.out + "/model.safetensors"));
  };
  check("merge_method: \"linear\"\n");
  soup.evaluator.shell = "cksum < {checkpoint}/model.safetensors | awk '{{print $1 % 997}}'";
  soup.recipe = Recipe::kCmaes;
  check("tensor: ");
  soup.base = models[2];
  soup.coefficients.domain = Domain::kBox;
  check("tensor: ");
}

TEST_F(Soup, UniformNeedsNoScores) {
  SoupOptions soup = options(files({1, 2, 6}), "");
  soup.recipe = Recipe::kUniform;
  const SoupReport report = make(soup);
  EXPECT_EQ(value(soup.out), 3);
  EXPECT_EQ(summary_line(report), cat(soup.out, ": uniform soup of 3 of 3 models, not scored"));
  EXPECT_FALSE(exists(default_cache(soup.out)));
  EXPECT_FALSE(exists(default_log(soup.out)));
}

TEST_F(Soup, UniformIsScoredWhereThereIsAnEvaluator) {
  SoupOptions soup = options(files({0.4, 0.8, 5.1}), peak_script());
  soup.recipe = Recipe::kUniform;
  const SoupReport report = make(soup);
  EXPECT_NEAR(report.search.score, -2.25, 1e-5);
  EXPECT_THAT(recorder_.warnings,
              ElementsAre(HasSubstr("do not share an initialization"),
                          "the uniform soup scores -2.25, worse than m0.safetensors alone (-0.04); --method greedy "
                          "leaves out what does harm"));
}

TEST_F(Soup, TheRunningMeanIsTheMean) {
  const auto models = files({1, 2, 6});
  double expected[] = {1, 1.5, 3};
  for (int n = 2; n <= 3; ++n) {
    SoupOptions soup = options({models.begin(), models.begin() + n}, "echo 1");
    soup.out = folder_ / cat("soup", n, ".safetensors");
    soup.search.order = Order::kGiven;
    make(soup);
    EXPECT_EQ(value(soup.out), expected[n - 1]);
  }
}

TEST_F(Soup, IsTheMeanInDoubleRoundedOnce) {
  constexpr int kSize = 1000, kModels = 7;
  std::vector<std::string> paths;
  std::vector<double> sum(kSize), largest(kSize);
  for (int m = 0; m < kModels; ++m) {
    std::vector<double> values(kSize);
    const RandomStream stream({static_cast<std::uint64_t>(m), "mean"});
    for (std::size_t i = 0; i < kSize; ++i) {
      values[i] = static_cast<float>(stream.normal(i) * std::pow(10, stream.uniform(i + kSize) * 6 - 3));
      sum[i] += values[i];
      largest[i] = std::max(largest[i], std::abs(values[i]));
    }
    paths.push_back(
        solera::test::write_model(folder_ / cat("r", m, ".safetensors"), {tensor("w", DType::kF32, {kSize}, values)}));
  }
  SoupOptions soup = options(paths, "echo 1");
  make(soup);
  const auto mean = solera::test::values(checkpoint::open_checkpoint(soup.out), "w");
  for (std::size_t i = 0; i < kSize; ++i) EXPECT_NEAR(mean[i], sum[i] / kModels, 1e-6 * largest[i]);
}

TEST_F(Soup, EqualModelsComeBackBitForBit) {
  const auto models = files({0.1, 0.1, 0.1});
  for (const Accept accept : {Accept::kGe, Accept::kGt})
    for (const Recipe recipe : {Recipe::kGreedy, Recipe::kUniform}) {
      SoupOptions soup = options(models, peak_script());
      soup.recipe = recipe;
      soup.search.accept = accept;
      soup.force = true;
      const SoupReport report = make(soup);
      EXPECT_EQ(value(soup.out), static_cast<double>(0.1f));
      EXPECT_EQ(report.search.members.size(), recipe == Recipe::kGreedy && accept == Accept::kGt ? 1u : 3u);
    }
}

TEST_F(Soup, AveragesStatisticsAndTakesCountersFromTheFirst) {
  const auto bn = [&](const std::string& name, double mean, double variance, double batches) {
    return solera::test::write_model(folder_ / name, {tensor("bn.num_batches_tracked", DType::kI64, {}, {batches}),
                                                      tensor("bn.running_mean", DType::kF32, {2}, {mean, -mean}),
                                                      tensor("bn.running_var", DType::kF32, {2}, {variance, 1}),
                                                      tensor("position_ids", DType::kI64, {1, 3}, {0, 1, 2})});
  };
  SoupOptions soup = options({bn("a.safetensors", 1, 3, 100), bn("b.safetensors", 2, 4, 200)}, "");
  soup.recipe = Recipe::kUniform;
  make(soup);
  const auto model = checkpoint::open_checkpoint(soup.out);
  EXPECT_THAT(solera::test::values(model, "bn.running_mean"), ElementsAre(1.5, -1.5));
  EXPECT_THAT(solera::test::values(model, "bn.running_var"), ElementsAre(3.5, 1));
  EXPECT_THAT(solera::test::values(model, "bn.num_batches_tracked"), ElementsAre(100));
  EXPECT_THAT(solera::test::values(model, "position_ids"), ElementsAre(0, 1, 2));
}

TEST_F(Soup, SaysWhenNothingWasGained) {
  SoupOptions soup = options(files({0.6, 3, 4}), peak_script());
  make(soup);
  EXPECT_FLOAT_EQ(static_cast<float>(value(soup.out)), 0.6f);
  EXPECT_THAT(
      recorder_.warnings.back(),
      "no mean beat m0.safetensors alone: the result is a copy of it; the ingredients may be too few, too uneven "
      "or too far apart");
}

TEST_F(Soup, WarnsOfUnrelatedIngredients) {
  const auto random = [&](const std::string& name, std::uint64_t seed) {
    std::vector<double> values(500);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = RandomStream({seed, "kin"}).normal(i);
    return solera::test::write_model(folder_ / name, {tensor("w", DType::kF32, {20, 25}, values)});
  };
  SoupOptions soup = options({random("a.safetensors", 1), random("b.safetensors", 2)}, "");
  soup.recipe = Recipe::kUniform;
  make(soup);
  ASSERT_EQ(recorder_.warnings.size(), 1u);
  EXPECT_THAT(recorder_.warnings[0],
              HasSubstr("a.safetensors and b.safetensors probably do not share an initialization"));
  soup.force = true;
  soup.base = random("base.safetensors", 1);
  make(soup);
  EXPECT_THAT(recorder_.warnings, ElementsAre(HasSubstr("probably do not share an initialization")));
  soup.base = file("other.safetensors", 1);
  make(soup);
  EXPECT_THAT(recorder_.warnings, ElementsAre(cat(soup.base,
                                                  " has no weights in common with the ingredients; it says "
                                                  "nothing about their ancestor")));
}

TEST_F(Soup, StopsCleanlyAndGoesOn) {
  SoupOptions soup = options(files({1.0, 0.0, 0.4, 2.0}), peak_script());
  recorder_.on_note = [this] {
    if (recorder_.notes.size() == 5) request_stop(true);
  };
  try {
    make(soup);
    ADD_FAILURE() << "was not interrupted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInterrupted);
  }
  request_stop(false);
  recorder_.on_note = {};
  expect_nothing_half_written(soup);
  const SoupReport report = make(soup);
  EXPECT_EQ(report.cached, 5);
  EXPECT_EQ(report.evaluations, 2);
  EXPECT_FLOAT_EQ(static_cast<float>(value(soup.out)), 0.7f);
}

TEST_F(Soup, RefusesWhatCannotBeAveraged) {
  const std::string a = file("a.safetensors", 1), b = file("b.safetensors", 2);
  const std::string command = "echo 1";
  EXPECT_EQ(refusal(options({a}, command)), cat("a soup needs at least two models, not 1 (", a, ")"));
  EXPECT_EQ(refusal(options({a, b, a}, command)), cat(a, " and ", a, " are the same model"));
  EXPECT_EQ(refusal(options({a, folder_ / "c.safetensors"}, command)),
            cat(folder_ / "c.safetensors", ": no such file; did you mean ", a, "?"));
  EXPECT_EQ(refusal(options({a, model_folder("d", 1)}, command)),
            "a.safetensors is a file and d is a folder; give all ingredients as folders or all as files, so that "
            "candidates have their form");
  const auto odd = [&](const std::vector<checkpoint::NamedBytes>& tensors) {
    return solera::test::write_model(folder_ / "odd.safetensors", tensors);
  };
  const auto steps = tensor("steps", DType::kI64, {}, {0});
  EXPECT_EQ(refusal(options({a, odd({steps})}, command)), "odd.safetensors lacks w, which a.safetensors has");
  EXPECT_EQ(refusal(options({a, odd({steps, tensor("w", DType::kF32, {2}, {1, 2})})}, command)),
            "odd.safetensors: w is [2], a.safetensors has [1]");
  EXPECT_EQ(refusal(options({a, odd({steps, tensor("w", DType::kI32, {1}, {1})})}, command)),
            "odd.safetensors: w is I32, a.safetensors has F32; floats and integers cannot be averaged");
  const std::string nan = file("nan.safetensors", std::nan(""));
  EXPECT_THAT(refusal(options({a, nan}, command)), HasSubstr("nan.safetensors"));
  EXPECT_EQ(runs(), 0);
}

TEST_F(Soup, RefusesBadRequestsBeforeAnyEvaluation) {
  const std::string a = file("a.safetensors", 1), b = file("b.safetensors", 2), command = peak_script();
  EXPECT_EQ(refusal(options({a, b}, "")),
            "a greedy soup needs scores; add --eval 'COMMAND {checkpoint}', or take --method uniform");
  SoupOptions soup = options({a, b}, command);
  const auto with = [&](const std::function<void(SoupOptions&)>& change) {
    SoupOptions changed = soup;
    change(changed);
    return refusal(changed);
  };
  EXPECT_EQ(with([](SoupOptions& s) { s.search.jobs = 0; }), "--jobs is 0, less than 1");
  EXPECT_EQ(with([](SoupOptions& s) { s.evaluator.threads = 0; }), "--threads is 0, less than 1");
  EXPECT_EQ(with([](SoupOptions& s) { s.evaluator.timeout_seconds = -1; }), "--timeout is -1, less than 0");
  EXPECT_THAT(with([&](SoupOptions& s) { s.evaluator.data = {folder_ / "nowhere"}; }),
              HasSubstr("nowhere: no such file"));
  EXPECT_THAT(with([](SoupOptions& s) { s.evaluator.shell = "eval {chekpoint}"; }), HasSubstr("{chekpoint}"));
  EXPECT_THAT(with([&](SoupOptions& s) { s.out = a; }), HasSubstr(a));
  EXPECT_THAT(with([](SoupOptions& s) { s.evaluator.memory = 1 << 20; }),
              ::testing::StartsWith("--memory 1.0 MiB for 1 job leaves less than the "));
  EXPECT_THAT(with([&](SoupOptions& s) { s.plot = folder_ / "no/where.svg"; }), HasSubstr("no: no such file"));
  EXPECT_EQ(with([](SoupOptions& s) {
              s.recipe = Recipe::kUniform;
              s.evaluator.shell = "";
              s.plot = "x.svg";
            }),
            "there is nothing to plot without scores; add --eval 'COMMAND {checkpoint}'");
  write_atomically(soup.out, "something");
  EXPECT_THAT(refusal(soup), HasSubstr("--force"));
  EXPECT_EQ(read_file(soup.out), "something");
  EXPECT_EQ(runs(), 0);
  soup.force = true;
  EXPECT_FLOAT_EQ(static_cast<float>(value(make(soup).out)), 1.0f);
}

TEST(LossWord, SpotsWhatIsBetterLow) {
  for (const char* metric : {"loss", "eval_loss", "/results/wikitext/word_perplexity,none", "WER", "val-error", "mse"})
    EXPECT_TRUE(loss_word(metric).has_value()) << metric;
  for (const char* metric : {"", "acc", "accuracy", "/loss_of/acc,none", "answer", "terror", "lossless", "/a/f1"})
    EXPECT_FALSE(loss_word(metric).has_value()) << metric;
}

TEST(Defaults, StandBesideTheOutput) {
  EXPECT_EQ(default_log("a/soup.safetensors"), "a/soup.trials.jsonl");
  EXPECT_EQ(default_log("a/soup/"), "a/soup.trials.jsonl");
  EXPECT_EQ(default_cache("a/soup/"), "a/.solera-cache");
  EXPECT_EQ(default_cache("soup"), "./.solera-cache");
}

}  // namespace
}  // namespace solera::soup
