// Searched soups with files and a command: what is written, cached, logged, and how a run goes on.
#include <cmath>

#include <gmock/gmock.h>

#include "solera/soup/report.h"
#include "tests/soup/scalars.h"

namespace solera::soup {
namespace {

using checkpoint::DType;
using test::tensor;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Searched : public test::Scalars {
 protected:
  // Two layers of one number each, and a counter.
  std::string pair(const std::string& name, double first, double second, double count = 0) {
    return solera::test::write_model(
        folder_ / name, {tensor("layers.0.w", DType::kF32, {1}, {first}),
                         tensor("layers.1.w", DType::kF32, {1}, {second}), tensor("steps", DType::kI64, {}, {count})});
  }
  // Best at (0.25, 0.75).
  std::string script() {
    write_atomically(folder_ / "pair.sh",
                     cat("echo x >> ", shell_quote(runs_file()),
                         "\ntail -c 8 \"$1\" | od -An -tf4 | awk '{print 1 - ($1 - 0.25)^2 - ($2 - 0.75)^2}'\n"));
    return cat("sh ", shell_quote(folder_ / "pair.sh"), " {checkpoint}");
  }
  SoupOptions searched(std::vector<std::string> models, const std::string& command, int budget) {
    SoupOptions soup = options(std::move(models), command);
    soup.recipe = Recipe::kCmaes;
    soup.coefficients.budget = budget;
    return soup;
  }
  static std::string log_of(const SoupOptions& soup) {
    std::string log;
    for (Node line : JournalFile(default_log(soup.out)).read()) {
      line.erase("seconds");
      line.erase("cached");
      log += to_json(line) + "\n";
    }
    return log;
  }
  std::vector<double> written(const std::string& path) {
    const auto model = checkpoint::open_checkpoint(path);
    return {solera::test::values(model, "layers.0.w").front(), solera::test::values(model, "layers.1.w").front()};
  }
};

TEST_F(Searched, OneWeightAModel) {
  SoupOptions soup = searched(files({1.0, 0.0, 0.4, 2.0}), peak_script(), 40);
  const SoupReport report = make(soup);
  const double best = report.coefficients.best_trial().evaluation.score;
  EXPECT_GT(best, -1e-3);  // greedy reaches -0.01
  EXPECT_NEAR(std::pow(value(soup.out) - 0.6, 2), -best, 1e-6);
  EXPECT_EQ(report.blend.rows.size(), 1u);
  EXPECT_EQ(report.evaluations, 40);
  EXPECT_EQ(runs(), 40);
  EXPECT_EQ(recorder_.notes.front(), "start, the uniform soup: -0.0625");
  EXPECT_THAT(recorder_.notes[1], HasSubstr("generation 1, candidate 1: -"));
  expect_only_scores();
}

TEST_F(Searched, AWeightForEachGroupReachesMore) {
  const std::vector<std::string> models = {pair("a.safetensors", 0, 0, 5), pair("b.safetensors", 1, 1, 6)};
  const std::string command = script();
  SoupOptions soup = searched(models, command, 50);
  const SoupReport whole = make(soup);
  EXPECT_NEAR(whole.coefficients.best_trial().evaluation.score, 1 - 0.125, 1e-3);  // 0.5 in both is all it can do
  EXPECT_THAT(written(soup.out), ::testing::Pointwise(::testing::DoubleNear(0.032), {0.5, 0.5}));

  const auto grouped = [&](const std::string& name, const std::function<void(CoefficientPlan&)>& change) {
    SoupOptions changed = soup;
    changed.out = folder_ / name;
    change(changed.coefficients);
    SoupReport report = make(changed);
    EXPECT_GT(report.coefficients.best_trial().evaluation.score, 1 - 1e-3) << name;
    EXPECT_THAT(written(changed.out), ::testing::Pointwise(::testing::DoubleNear(0.032), {0.25, 0.75})) << name;
    EXPECT_EQ(solera::test::values(checkpoint::open_checkpoint(changed.out), "steps").front(), 5) << name;
    return report;
  };
  const SoupReport layers = grouped("layers.safetensors", [](CoefficientPlan& plan) {
    plan.granularity = Granularity::kGroup;
    plan.groups = 2;
  });
  EXPECT_THAT(layers.groups.names, ElementsAre("layers.0", "layers.1"));
  EXPECT_EQ(layers.coefficients.trials.front().evaluation.cached, true);  // the uniform soup of the first search
  const SoupReport patterns = grouped("patterns.safetensors", [](CoefficientPlan& plan) {
    plan.granularity = Granularity::kGroup;
    plan.patterns = {Pattern("layers.0.*")};
  });
  EXPECT_THAT(patterns.groups.names, ElementsAre("layers.0.*", "rest"));
  EXPECT_EQ(patterns.evaluations, 0);  // the same groups by other names: the same trials
  const SoupReport tensors =
      grouped("tensors.safetensors", [](CoefficientPlan& plan) { plan.granularity = Granularity::kTensor; });
  EXPECT_THAT(tensors.groups.names, ElementsAre("layers.0.w", "layers.1.w"));
}

// What is written is the weighted mean of the paper, tensor by tensor.
TEST_F(Searched, WritesTheMeanOfEachTensor) {
  const Ingredients ingredients = open_ingredients(
      std::vector<std::string>{pair("a.safetensors", 1, 2), pair("b.safetensors", 3, 5), pair("c.safetensors", 7, 11)});
  Groups groups;
  groups.names = {"x", "y"};
  groups.members = {{"layers.0.w", 1}, {"layers.1.w", 0}};
  const std::string out = folder_ / "out.safetensors";
  write_blend(ingredients, groups, {{{0, 1, 1}, {2, 1, 1}}}, {.out = out, .threads = 1}, no_progress());
  EXPECT_THAT(written(out), ElementsAre(static_cast<float>((2 * 1 + 3 + 7) / 4.0), 8));
  // Weights below zero: 1.5 - 0.5 of the base.
  write_blend(ingredients, {}, {{{1.5, 0, -0.5}}}, {.out = out, .threads = 1, .force = true}, no_progress());
  EXPECT_THAT(written(out), ElementsAre(-2, -2.5));
}

TEST_F(Searched, TheBoxAddsChangesToTheBase) {
  // Changes of 0.3 and 0.25 from the base 0.1: the peak at 0.6 needs coefficients that sum to more than 1.
  SoupOptions soup = searched({file("a.safetensors", 0.4, 1), file("b.safetensors", 0.35, 2)}, peak_script(), 40);
  soup.base = file("base.safetensors", 0.1, 3);
  soup.coefficients.domain = Domain::kBox;
  const SoupReport report = make(soup);
  EXPECT_GT(report.coefficients.best_trial().evaluation.score,
            -0.0026);  // 0.1 + 0.3 + 0.25 = 0.65, a corner, or inside
  EXPECT_THAT(report.labels, ElementsAre("a.safetensors", "b.safetensors", "base.safetensors"));
  const Mix mix = normalized(report.blend.rows.front());
  EXPECT_NEAR(value(soup.out), 0.1 + mix[0] * 0.3 + mix[1] * 0.25, 1e-6);
  EXPECT_EQ(count(soup.out), 1);
  EXPECT_NEAR(report.coefficients.trials.front().evaluation.score, -0.225 * 0.225, 1e-6);
}

TEST_F(Searched, StartsFromTheGreedySoup) {
  SoupOptions soup = searched(files({1.0, 0.0, 0.4, 2.0}), peak_script(), 40);
  soup.coefficients.from_greedy = true;
  const SoupReport report = make(soup);
  EXPECT_EQ(report.search.trials.size(), 7u);
  const BlendTrial& start = report.coefficients.trials.front();
  EXPECT_EQ(start.evaluation.score, report.search.score);
  EXPECT_TRUE(start.evaluation.cached);
  EXPECT_EQ(report.evaluations, 7 + 39);
  EXPECT_GT(report.coefficients.best_trial().evaluation.score, -0.001);
  const auto lines = JournalFile(default_log(soup.out)).read();
  ASSERT_EQ(lines.size(), 47u);
  EXPECT_EQ(lines[6].at("verdict").as_text(), "rejected");
  EXPECT_EQ(lines[7].at("trial").as_int(), 8);
  EXPECT_EQ(lines[7].at("generation").as_int(), 0);
}

TEST_F(Searched, GoesOnWhereItWasStopped) {
  const auto models = files({1.0, 0.0, 0.4, 2.0});
  SoupOptions whole = searched(models, peak_script(), 30);
  whole.cache = folder_ / "another-cache";
  make(whole);
  const std::string log = log_of(whole), bytes = read_file(whole.out);
  for (int jobs : {1, 3}) {
    SoupOptions soup = searched(models, peak_script(), 30);
    soup.out = folder_ / cat("stopped", jobs, ".safetensors");
    soup.cache = folder_ / cat("cache", jobs);
    soup.search.jobs = jobs;
    soup.evaluator.threads = 2;
    recorder_.on_note = [this] {
      if (recorder_.notes.size() == 16) request_stop(true);
    };
    EXPECT_EQ(refusal(soup), "stopped by a signal; the same command continues");
    request_stop(false);
    recorder_.on_note = {};
    EXPECT_FALSE(exists(soup.out));
    const SoupReport report = make(soup);
    EXPECT_GE(report.cached, 16);
    EXPECT_EQ(report.cached + report.evaluations, 30);
    EXPECT_EQ(log_of(soup), log);
    EXPECT_EQ(read_file(soup.out), bytes);
  }
}

TEST_F(Searched, SaysWhenNothingWasGained) {
  SoupOptions soup = searched(files({0.2, 1.0}), peak_script(), 12);
  const SoupReport report = make(soup);
  EXPECT_EQ(report.coefficients.best, 0);
  EXPECT_FLOAT_EQ(static_cast<float>(value(soup.out)), 0.6f);
  EXPECT_EQ(recorder_.warnings.back(),
            "no candidate beat the uniform soup, where the search started: the result is that soup");
}

TEST_F(Searched, OnALine) {
  SoupOptions soup = options(files({0.0, 1.0}), peak_script());
  soup.recipe = Recipe::kLine;
  const SoupReport report = make(soup);
  EXPECT_EQ(report.coefficients.trials.size(), 11u);
  EXPECT_EQ(report.coefficients.best_trial().alpha, 0.6);
  EXPECT_FLOAT_EQ(static_cast<float>(value(soup.out)), 0.6f);
  EXPECT_EQ(count(soup.out), 0);
  const Table table = trial_table(report);
  EXPECT_THAT(table.header, ElementsAre("alpha", "score", "verdict"));
  EXPECT_THAT(table.rows[5], ElementsAre("0.5", "-0.01", ""));
  EXPECT_EQ(table.rows[6].back(), "best");
  EXPECT_THAT(score_plot(report), HasSubstr("alpha: the share of m1.safetensors"));
  // The ends are the models and the middle is the uniform soup: their scores are known then.
  SoupOptions uniform = soup;
  uniform.recipe = Recipe::kUniform;
  uniform.out = folder_ / "uniform.safetensors";
  EXPECT_EQ(make(uniform).evaluations, 0);
}

TEST_F(Searched, Reports) {
  SoupOptions soup = searched({pair("a.safetensors", 0, 0), pair("b.safetensors", 1, 1)}, script(), 30);
  soup.coefficients.granularity = Granularity::kTensor;
  soup.plot = folder_ / "plot.svg";
  const SoupReport report = make(soup);
  const Node object = report_json(report);
  EXPECT_EQ(object.at("method").as_text(), "cmaes");
  EXPECT_EQ(to_json(object.at("groups")), R"([{"name":"layers.0.w","tensors":1},{"name":"layers.1.w","tensors":1}])");
  EXPECT_EQ(object.at("weights").items().size(), 2u);
  EXPECT_EQ(object.at("trials").items().size(), 30u);
  const int best = static_cast<int>(object.at("best_trial").as_int());
  EXPECT_EQ(object.at("trials").items()[static_cast<std::size_t>(best) - 1].at("score").as_double(),
            object.at("score").as_double());
  EXPECT_EQ(to_json(object.at("start")), R"({"soup":"uniform","score":0.875})");
  EXPECT_EQ(to_json(object.at("trials").items()[0].at("weights")), "[0.5,0.5]");
  EXPECT_EQ(object.at("trials").items()[1].at("weights").items().size(), 2u);
  const std::string score = number_text(report.coefficients.best_trial().evaluation.score);
  EXPECT_EQ(summary_line(report), cat(soup.out, ": searched soup of 2 models in 2 tensors, score ", score,
                                      " (uniform soup 0.875); 30 trials in 5 generations, 30 evaluations, 0 cached"));
  const Table table = trial_table(report);
  EXPECT_THAT(table.rows.front(), ElementsAre("1", "0", "0.875", "start"));
  EXPECT_THAT(table.rows.back(), ElementsAre(std::to_string(best), ::testing::_, score, "better"));
  EXPECT_THAT(weight_table(report).header, ElementsAre("model", "layers.0.w", "layers.1.w"));
  EXPECT_THAT(read_file(soup.plot), HasSubstr("best so far"));
}

TEST_F(Searched, RefusesBadRequestsBeforeAnyEvaluation) {
  const auto models = files({0.0, 1.0, 2.0});
  const SoupOptions soup = searched(models, peak_script(), 10);
  const auto with = [&](const std::function<void(SoupOptions&)>& change) {
    SoupOptions changed = soup;
    change(changed);
    return refusal(changed);
  };
  EXPECT_EQ(with([](SoupOptions& s) { s.evaluator.shell = ""; }),
            "a search needs scores; add --eval 'COMMAND {checkpoint}'");
  EXPECT_EQ(with([](SoupOptions& s) { s.recipe = Recipe::kLine; }),
            "--search line goes from one model to another, but 3 are given");
  EXPECT_EQ(with([](SoupOptions& s) { s.coefficients.domain = Domain::kBox; }),
            "--domain box counts from a base; add --base MODEL, or take --domain simplex");
  EXPECT_EQ(with([&](SoupOptions& s) {
              s.coefficients.domain = Domain::kBox;
              s.base = models[0];
            }),
            cat(models[0], " and ", models[0], " are the same model"));
  EXPECT_EQ(with([](SoupOptions& s) { s.coefficients.budget = 0; }), "--budget is 0, less than 1");
  EXPECT_EQ(with([](SoupOptions& s) { s.coefficients.granularity = Granularity::kGroup; }),
            "the names of the tensors have no numbered layers to split; say what belongs together with --group "
            "PATTERN");
  EXPECT_EQ(with([](SoupOptions& s) {
              s.coefficients.granularity = Granularity::kGroup;
              s.coefficients.patterns = {Pattern("v*")};
            }),
            "--group 'v*' gets no tensor; names look like w");
  EXPECT_EQ(runs(), 0);
}

}  // namespace
}  // namespace solera::soup
