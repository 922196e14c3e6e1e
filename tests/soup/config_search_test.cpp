// Searched configurations with files and a command: what is written, cached, logged, and how a run goes on.
#include "solera/soup/config_search.h"

#include <cmath>

#include <gmock/gmock.h>

#include "solera/merge/plan.h"
#include "tests/soup/scalars.h"

namespace solera::soup {
namespace {

using checkpoint::DType;
using test::message_of;
using test::tensor;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ConfigSearch : public test::Scalars {
 protected:
  // Six entries a model; the last two are what is scored.
  ConfigSearch() {
    write("base", {0, 0, 0, 0, 0, 0});
    write("a", {0.1, -0.3, 0.05, 0.4, 1, 0.2});
    write("b", {-0.2, 0.1, 0.3, 0.15, 0.1, 0.9});
  }
  std::string write(const std::string& name, const std::vector<double>& values) {
    return solera::test::write_model(folder_ / (name + ".safetensors"), {tensor("w", DType::kF32, {6}, values)});
  }
  ConfigSearchOptions options(const std::string& method, int budget, const std::string& parameters = "{}") {
    write_atomically(folder_ / "merge.yaml", cat("merge_method: ", method, "\nbase_model: base.safetensors\n",
                                                 "models: [a.safetensors, b.safetensors]\nparameters: ", parameters));
    write_atomically(folder_ / "pair.sh",
                     cat("echo x >> ", shell_quote(runs_file()),
                         "\ntail -c 8 \"$1\" | od -An -tf4 | awk '{print 1 - ($1 - 0.7)^2 - ($2 - 1.2)^2}'\n"));
    return {.config = folder_ / "merge.yaml",
            .out = folder_ / "best.safetensors",
            .evaluator = {.shell = cat("sh ", shell_quote(folder_ / "pair.sh"), " {checkpoint}")},
            .budget = budget,
            .force = true};
  }
  ConfigSearchReport make(const ConfigSearchOptions& search) {
    recorder_.warnings.clear();
    return search_config(search, recorder_);
  }
  static double score_of(const std::vector<double>& w) { return 1 - std::pow(w[4] - 0.7, 2) - std::pow(w[5] - 1.2, 2); }
  std::vector<double> merged(const std::string& path) {
    return solera::test::values(checkpoint::open_checkpoint(path), "w");
  }
  static std::vector<double> scores(const ConfigSearchReport& report) {
    std::vector<double> list;
    for (const BlendTrial& trial : report.result.trials) list.push_back(trial.evaluation.score);
    return list;
  }
};

TEST_F(ConfigSearch, FindsTheWeightsOfAnyMethod) {
  const ConfigSearchReport report = make(options("task_arithmetic", 60));
  const double first = report.result.trials.front().evaluation.score;
  EXPECT_NEAR(first, 1 - 0.16 - 0.01, 1e-5);
  EXPECT_THAT(report.result.trials.front().blend.rows.front(), ElementsAre(1, 1));
  EXPECT_GT(report.result.best_trial().evaluation.score, 0.99);
  EXPECT_NEAR(score_of(merged(report.out)), report.result.best_trial().evaluation.score, 1e-5);
  EXPECT_EQ(report.evaluations, 60);
  EXPECT_EQ(runs(), 60);
  for (const BlendTrial& trial : report.result.trials)
    for (const double weight : trial.blend.rows.front()) EXPECT_TRUE(weight >= 0 && weight <= 2) << weight;
  EXPECT_THAT(summary_line(report), HasSubstr("best.safetensors: task_arithmetic with 2 values searched, score 0.99"));
  EXPECT_EQ(value_table(report).rows.size(), 2u);
  expect_only_scores();
}

// The search of a factor for each task that PCB-Merging's authors make, and of the common one.
TEST_F(ConfigSearch, PcbWithLambda) {
  ConfigSearchOptions search = options("pcb", 80, "{density: 0.9, clamp: 0, lambda: 1.2}");
  search.variations = {{"weight", std::pair(0.5, 3.0)}, {"lambda", std::pair(0.5, 2.5)}};
  const ConfigSearchReport report = make(search);
  ASSERT_EQ(report.coordinates.size(), 3u);
  EXPECT_THAT(report.result.trials.front().blend.rows.front(), ElementsAre(1, 1, 1.2));
  EXPECT_GT(report.result.best_trial().evaluation.score, report.result.trials.front().evaluation.score + 0.01);
}

TEST_F(ConfigSearch, TheBestConfigurationMakesTheOutputAgain) {
  const ConfigSearchReport report = make(options("ties", 20, "{weight: 0.7, density: 0.8}"));
  EXPECT_EQ(report.best_config, folder_ / "best.best.yaml");
  merge::Plan plan = merge::make_plan(merge::read_merge_config(report.best_config), {.single_file = true});
  merge::execute(plan, {.out = folder_ / "again.safetensors"}, no_progress());
  EXPECT_EQ(read_file(folder_ / "again.safetensors"), read_file(report.out));
}

TEST_F(ConfigSearch, GoesOnFromTheCacheAndOverAnyJobs) {
  ConfigSearchOptions search = options("task_arithmetic", 12);
  const auto before = scores(make(search));
  EXPECT_EQ(runs(), 12);
  const ConfigSearchReport again = make(search);
  EXPECT_EQ(again.cached, 12);
  EXPECT_EQ(runs(), 12);
  search.budget = 20;
  search.jobs = 3;
  search.evaluator.threads = 3;
  const auto more = scores(make(search));
  EXPECT_EQ(runs(), 20);
  EXPECT_TRUE(std::equal(before.begin(), before.end(), more.begin()));
  search.seed = 1;
  EXPECT_NE(scores(make(search)), more);
}

// A score belongs to the inputs' content, the values and all else that the configuration says.
TEST_F(ConfigSearch, WhatAScoreDependsOn) {
  make(options("task_arithmetic", 3));
  EXPECT_EQ(make(options("task_arithmetic", 3, "{normalize: true}")).cached, 0);
  EXPECT_EQ(make(options("task_arithmetic", 3, "{lambda: 0.5}")).cached, 0);
  EXPECT_EQ(make(options("task_arithmetic", 3, "{weight: 1}")).cached, 3);  // the default, written
  write("b", {0, 0, 0, 0, 0, 0.5});
  EXPECT_EQ(make(options("task_arithmetic", 3)).cached, 0);
}

TEST_F(ConfigSearch, AnErrorLeavesNothingButScores) {
  ConfigSearchOptions search = options("task_arithmetic", 10);
  search.evaluator.shell = "exit 3 {checkpoint}";
  EXPECT_THAT(message_of([&] { make(search); }),
              HasSubstr("the evaluation of task_arithmetic with weight of a.safetensors 1, weight of b.safetensors 1 "
                        "ended with status 3"));
  EXPECT_FALSE(exists(search.out));
  EXPECT_FALSE(exists(folder_ / "best.best.yaml"));
  expect_only_scores();
}

TEST_F(ConfigSearch, AFlatScoreKeepsTheConfiguration) {
  ConfigSearchOptions search = options("task_arithmetic", 5);
  search.evaluator.shell = "echo 1 {checkpoint} | cut -c1";
  const ConfigSearchReport report = make(search);
  EXPECT_EQ(report.result.best, 0);
  EXPECT_THAT(recorder_.warnings, ElementsAre("no candidate beat the configuration as it is: the result is its merge"));
}

TEST_F(ConfigSearch, AFolderHasItsCardAndConfiguration) {
  for (const char* name : {"base", "a"}) {
    make_folders(folder_ / name);
    solera::test::write_model(folder_ / (std::string(name) + "/model.safetensors"),
                              {tensor("w", DType::kF32, {2}, {double(*name == 'a'), 0})});
    write_atomically(folder_ / name + "/config.json", "{\"model_type\": \"pair\"}");
  }
  ConfigSearchOptions search = options("task_arithmetic", 4);
  write_atomically(search.config, "merge_method: task_arithmetic\nbase_model: base\nmodels: [a]\n");
  search.out = folder_ / "best";
  search.evaluator.shell = "test ! -e {checkpoint}/README.md && cat {checkpoint}/config.json >&2 && echo 1";
  const ConfigSearchReport report = make(search);
  EXPECT_EQ(read_file(folder_ / "best/mergekit_config.yml"), read_file(folder_ / "best.best.yaml"));
  EXPECT_THAT(read_file(folder_ / "best/README.md"), HasSubstr("# best\n"));
}

TEST_F(ConfigSearch, RefusedBeforeAnythingIsScored) {
  const auto refusal = [&](const ConfigSearchOptions& search) {
    std::string text = message_of([&] { make(search); });
    const std::string root = folder_.path() + "/";
    for (auto at = text.find(root); at != std::string::npos; at = text.find(root)) text.erase(at, root.size());
    return text;
  };
  const ConfigSearchOptions good = options("task_arithmetic", 3);
  ConfigSearchOptions search = good;
  search.evaluator = {};
  EXPECT_EQ(refusal(search), "a search needs scores; add --eval 'COMMAND {checkpoint}'");
  search = good;
  search.budget = 0;
  EXPECT_EQ(refusal(search), "--budget is 0, less than 1");
  search = good;
  search.jobs = 0;
  EXPECT_EQ(refusal(search), "--jobs is 0, less than 1");
  search = good;
  search.config = folder_ / "nothing.yaml";
  EXPECT_THAT(refusal(search), HasSubstr("nothing.yaml: no such file"));
  search = good;
  search.out = folder_ / "a.safetensors";
  EXPECT_THAT(refusal(search), HasSubstr("a.safetensors is an input"));
  search = good;
  search.evaluator.memory = 1000;
  EXPECT_THAT(refusal(search), HasSubstr("leaves less than the"));
  search = good;
  search.evaluator.shell = "echo {chekpoint}";
  EXPECT_THAT(refusal(search), HasSubstr("{chekpoint}"));
  write_atomically(folder_ / "pcb.yaml",
                   "merge_method: pcb\nbase_model: base.safetensors\nmodels: [a.safetensors]\n"
                   "parameters: {density: 0.01, granularity: tensor}\n");
  search = good;
  search.config = folder_ / "pcb.yaml";
  EXPECT_EQ(refusal(search), "density 0.01 keeps none of 6 entries (w); give more than 1/6");
  rename(search.config.c_str(), (folder_ / "out.best.yaml").c_str());
  search = good;
  search.config = folder_ / "out.best.yaml";
  write_atomically(search.config, read_file(good.config));
  search.out = folder_ / "out.safetensors";
  EXPECT_EQ(refusal(search), "out.best.yaml is an input, and would be replaced; choose another --output");
  EXPECT_EQ(runs(), 0);
  EXPECT_FALSE(exists(folder_ / "best.safetensors"));
}

TEST_F(ConfigSearch, ObjectLogAndPicture) {
  ConfigSearchOptions search = options("task_arithmetic", 6);
  search.variations = {{"weight", std::nullopt}, {"lambda", std::pair(0.0, 2.0)}};
  search.plot = folder_ / "scores.svg";
  const ConfigSearchReport report = make(search);
  const Node json = report_json(report);
  EXPECT_EQ(json.at("method").as_text(), "cmaes");
  EXPECT_EQ(json.at("merge_method").as_text(), "task_arithmetic");
  EXPECT_EQ(json.at("inputs").items().size(), 3u);
  EXPECT_EQ(json.at("trials").items().size(), 6u);
  EXPECT_EQ(json.pointer("/values/0/model")->as_text(), "a.safetensors");
  EXPECT_TRUE(json.pointer("/values/2/model")->is_null());
  const auto lines = JournalFile(report.log).read();
  ASSERT_EQ(lines.size(), 6u);
  EXPECT_EQ(to_json(lines[0].at("values")),
            "[{\"parameter\":\"weight\",\"model\":\"a.safetensors\",\"value\":1},{\"parameter\":\"weight\",\"model\":"
            "\"b.safetensors\",\"value\":1},{\"parameter\":\"lambda\",\"value\":1}]");
  EXPECT_THAT(read_file(search.plot), HasSubstr("Searched task_arithmetic"));
}

}  // namespace
}  // namespace solera::soup
