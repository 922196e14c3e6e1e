// Claims over results that are written down here, and the reports of them.
#include "solera/recipe/claims.h"

#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera::recipe {
namespace {

using test::message_of;

// Results for base (no variable), sweep (seed) and grid (a, b); none for silent.
class Claims : public testing::Test {
 protected:
  RunReport report(const Recipe& recipe) {
    RunReport report{.instances = expand(recipe)};
    for (const Instance& instance : report.instances) {
      const std::string& step = recipe.steps[instance.step].name;
      std::string json = "null";
      if (step == "base")
        json = R"({"acc": 0.5, "ok": true, "scores": [1, 2, 3], "name": "x",
                                     "results": {"easy": {"acc,none": 0.7}, "hard": {"acc,none": 0.3}}})";
      if (step == "sweep") json = cat("{\"acc\": ", instance.values[0], "}");
      if (step == "grid") json = cat("{\"sum\": ", instance.values[0], instance.values[1], "}");
      report.results.push_back({.done = true, .cached = step == "base", .seconds = 2, .result = parse_json(json)});
    }
    return report;
  }

  static Recipe recipe(const std::vector<std::string>& expressions) {
    std::string text =
        "name: toy\nabout: three numbers\npaper: Nobody 2020\nparameters: {n: 3}\nsteps:\n  base: {run: x}\n"
        "  sweep: {run: x, foreach: {seed: '1..{n}'}}\n  grid: {run: x, foreach: {a: [1, 2], b: ['3', '4']}}\n"
        "  silent: {run: x}\nclaims:\n";
    for (std::size_t i = 0; i < expressions.size(); ++i)
      text += cat("  - {claim: claim ", i, ", expr: '", expressions[i], "', source: table ", i, "}\n");
    return parse_recipe(parse_yaml(text, "r.yaml"), "", false);
  }

  std::vector<CheckedClaim> check(const std::vector<std::string>& expressions) {
    const Recipe toy = recipe(expressions);
    return check_claims(toy, report(toy));
  }
  std::string failure(const std::string& expression) {
    return message_of([&] { check({expression}); });
  }
  std::vector<double> numbers(const std::string& expression) {
    const Recipe toy = recipe({});
    return look_up(toy, report(toy), Expression(expression).names().at(0)).numbers;
  }
};

TEST_F(Claims, SeeTheResultsOfEverySteps) {
  using Numbers = std::vector<double>;
  EXPECT_EQ(numbers("base.acc"), Numbers{0.5});
  EXPECT_EQ(numbers("base.ok"), Numbers{1});
  EXPECT_EQ(numbers("base.scores"), (Numbers{1, 2, 3}));
  EXPECT_EQ(numbers("base.scores.*"), (Numbers{1, 2, 3}));
  EXPECT_EQ(numbers("base.scores.2"), Numbers{3});
  EXPECT_EQ(numbers("base.\"/results/easy/acc,none\""), Numbers{0.7});
  EXPECT_EQ(numbers("base.results.*.\"acc,none\""), (Numbers{0.7, 0.3}));
  EXPECT_EQ(numbers("sweep.2.acc"), Numbers{2});
  EXPECT_EQ(numbers("sweep.*.acc"), (Numbers{1, 2, 3}));
  EXPECT_EQ(numbers("grid.*.4.sum"), (Numbers{14, 24}));
  EXPECT_EQ(numbers("grid.2.*.sum"), (Numbers{23, 24}));
  EXPECT_EQ(numbers("grid.*.*.sum"), (Numbers{13, 14, 23, 24}));
}

TEST_F(Claims, SayWhatIsNotThere) {
  const auto message = [](const std::string& problem, const std::string& name, const std::string& hint) {
    return cat("claim \"claim 0\": ", problem, ", column 1 of \"", name, " < 1\" (r.yaml:11:28)",
               hint.empty() ? "" : "; ", hint);
  };
  const auto expect = [&](const std::string& name, const std::string& problem, const std::string& hint) {
    EXPECT_EQ(failure(name + " < 1"), message(problem, name, hint));
  };
  expect("base.ac", "base has no ac", "did you mean acc?");
  expect("base.results.medium", "base.results has no medium", "it has easy, hard");
  expect("base.scores.3", "base.scores has no 3, it is a list of 3", "");
  expect("base.acc.x", "base.acc has no x, it is 0.5", "");
  expect("base.acc.*", "base.acc has no *, it is 0.5", "");
  expect("base.name", "base.name is \"x\", not a number", "");
  expect("base", "base is {\"acc\":0.5,\"ok\":true,\"scores\":[1,2,3],\"name\":\"x\",\"results..., not a number", "");
  expect("sweep.4.acc", "no run of step sweep has these values", "");
  expect("sweep.1.ac", "sweep[seed=1] has no ac", "did you mean acc?");
  expect("silent.acc", "silent has no result",
         "its output should end in a JSON object, or `result:` name a file that it makes");
}

TEST_F(Claims, AreReportedWithBothSides) {
  const Recipe toy = recipe({"0.2 < mean(sweep.*.acc) <= 2", "base.acc > 0.75"});
  const RunReport run = report(toy);
  const auto claims = check_claims(toy, run);
  EXPECT_FALSE(all_hold(claims));
  const Table table = claims_table(claims);
  EXPECT_EQ(table.header, (std::vector<std::string>{"claim", "measured", "verdict", "source"}));
  EXPECT_EQ(table.rows[0], (std::vector<std::string>{"claim 0", "0.2 < 2 ± 0.58, 2 ± 0.58 <= 2", "holds", "table 0"}));
  EXPECT_EQ(table.rows[1], (std::vector<std::string>{"claim 1", "0.5 > 0.75", "does not hold", "table 1"}));
  EXPECT_EQ(
      report_markdown(toy, run, claims),
      "# toy\n\nthree numbers\n\nNobody 2020\n\n- n: 3\n\n9 runs of steps, 18 s in all, cached ones counted.\n\n" +
          table_markdown(table));
  const Node node = report_node(toy, run, claims);
  EXPECT_EQ(to_json(*node.pointer("/steps/0")).substr(0, 48), R"({"step":"base","seconds":2,"cached":true,"result)");
  EXPECT_EQ(node.pointer("/steps/3/step")->as_text(), "sweep[seed=3]");
  EXPECT_EQ(node.pointer("/parameters/n")->as_text(), "3");
  EXPECT_EQ(to_json(*node.pointer("/claims/1")),
            R"({"claim":"claim 1","expression":"base.acc > 0.75","source":"table 1","verdict":"does not hold",)"
            R"("measured":[{"left":0.5,"left_error":0,"sign":">","right":0.75,"right_error":0}]})");
}

TEST_F(Claims, AreNotCheckedWhereAStepDidNotRun) {
  const Recipe toy = recipe({"sweep.1.acc == 5", "base.acc < 1"});
  RunReport run = report(toy);
  run.results[2] = {};  // sweep[seed=2]
  const auto claims = check_claims(toy, run);
  EXPECT_FALSE(claims[0].checked);
  EXPECT_TRUE(all_hold(claims));
  EXPECT_EQ(claims_table(claims).rows[0][2], "not checked");
  EXPECT_EQ(report_node(toy, run, claims).pointer("/steps")->items().size(), 8u);
}

TEST_F(Claims, MayBeNone) {
  const Recipe bare = parse_recipe(parse_yaml("name: bare\nsteps: {a: {run: x}}\n"), "", false);
  RunReport run{.instances = expand(bare), .results = {{.done = true, .seconds = 1}}};
  EXPECT_TRUE(all_hold({}));
  EXPECT_EQ(report_markdown(bare, run, {}), "# bare\n\n1 run of steps, 1.0 s in all, cached ones counted.\n");
}

}  // namespace
}  // namespace solera::recipe
