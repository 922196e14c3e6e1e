// Searched weights of Fisher merges: what a candidate is, what its score depends on, what is refused.
#include <cmath>

#include <gmock/gmock.h>

#include "solera/soup/evaluator.h"
#include "tests/soup/scalars.h"

namespace solera::soup {
namespace {

using checkpoint::DType;
using test::tensor;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class FisherSearch : public test::Scalars {
 protected:
  std::string statistics(const std::string& name, double fisher) {
    return solera::test::write_model(
        folder_ / name, {tensor("n", DType::kI64, {}, {8}), tensor("w.fisher", DType::kF32, {1}, {fisher})});
  }
  SoupOptions line(int alphas) {
    SoupOptions soup = options({file("a.safetensors", 0), file("b.safetensors", 1)}, peak_script());
    soup.recipe = Recipe::kLine;
    soup.coefficients.alphas = alphas;
    soup.fishers = {statistics("a.stats.safetensors", 3), statistics("b.stats.safetensors", 5)};
    return soup;
  }
};

// One entry: normalized, every Fisher is 1, so the merge is the mean and the peak at 0.6 a point of the grid.
TEST_F(FisherSearch, TheGridOfTwoModels) {
  const SoupReport report = make(line(51));
  ASSERT_EQ(report.coefficients.trials.size(), 51u);
  EXPECT_EQ(report.coefficients.trials.front().blend.rows.front(), (Mix{1, 0}));
  EXPECT_EQ(report.coefficients.trials[1].blend.rows.front(), (Mix{0.98, 0.02}));
  EXPECT_EQ(report.coefficients.trials.back().blend.rows.front(), (Mix{0, 1}));
  EXPECT_EQ(report.coefficients.best_trial().alpha, 0.6);
  EXPECT_NEAR(value(report.out), 0.6, 1e-6);
  EXPECT_EQ(make([&] {
              SoupOptions again = line(51);
              again.force = true;
              return again;
            }())
                .evaluations,
            0);
}

// theta = (1, 1) and (5, 5), F = (3, 4) and (0, 2): with the target favored the equal mix is (1, 3.222222).
TEST_F(FisherSearch, ACandidateIsTheFisherMerge) {
  const auto pair = [&](const std::string& name, const std::string& tensor_name, double first, double second) {
    std::vector<checkpoint::NamedBytes> tensors = {tensor(tensor_name, DType::kF32, {2}, {first, second})};
    if (tensor_name != "w") tensors.push_back(tensor("n", DType::kI64, {}, {8}));
    return solera::test::write_model(folder_ / name, tensors);
  };
  const std::vector<std::string> paths = {pair("a.safetensors", "w", 1, 1), pair("b.safetensors", "w", 5, 5)};
  Ingredients ingredients = open_ingredients(paths);
  ingredients.fishers = {pair("a.stats.safetensors", "w.fisher", 3, 4), pair("b.stats.safetensors", "w.fisher", 0, 2)};
  const auto merged = [&](const Mix& mix) {
    write_blend(ingredients, {}, {{mix}},
                {.out = folder_ / "out.safetensors", .threads = 1, .force = true, .restart = true}, recorder_);
    return solera::test::values(checkpoint::open_checkpoint(folder_ / "out.safetensors"), "w");
  };
  const std::vector<double> equal = merged({0.5, 0.5});
  EXPECT_NEAR(equal[0], 1, 1e-6);
  EXPECT_NEAR(equal[1], 3.222222, 1e-6);
  // The end of the grid: where the donor has no Fisher the target stays, so the second model alone is not the result.
  EXPECT_EQ(merged({0, 1}), (std::vector<double>{1, 5}));
  EXPECT_EQ(merged({1, 0}), (std::vector<double>{1, 1}));

  write_atomically(folder_ / "first.sh", "tail -c 8 \"$1\" | od -An -v -w4 -tf4 | head -1\n");
  Cache cache(folder_ / "cache");
  const EvaluatorOptions options{.shell = cat("sh ", shell_quote(folder_ / "first.sh"), " {checkpoint}")};
  Evaluator evaluator(ingredients, cache, options, recorder_);
  EXPECT_EQ(evaluator(Mix{0, 1}).score, 1);
  EXPECT_EQ(evaluator(Mix{0, 2}).cached, true);
  // A plain mean of the same models is another candidate, as is a merge by other Fishers.
  Ingredients plain = open_ingredients(paths);
  Evaluator means(plain, cache, options, recorder_);
  EXPECT_EQ(means(Mix{0, 1}).score, 5);
  pair("b.stats.safetensors", "w.fisher", 1, 2);
  Evaluator others(ingredients, cache, options, recorder_);
  EXPECT_EQ(others(Mix{0, 1}).score, 5);
}

TEST_F(FisherSearch, DrawsForMoreModels) {
  SoupOptions soup = options(files({0.0, 1.0, 0.5}), peak_script());
  soup.recipe = Recipe::kRandom;
  soup.coefficients.budget = 30;
  for (int i = 0; i < 3; ++i) soup.fishers.push_back(statistics(cat("s", i, ".safetensors"), i + 1.0));
  const SoupReport report = make(soup);
  ASSERT_EQ(report.coefficients.trials.size(), 30u);
  for (const BlendTrial& trial : report.coefficients.trials) {
    double sum = 0;
    for (const double weight : trial.blend.rows.front()) {
      EXPECT_GE(weight, 0);
      sum += weight;
    }
    EXPECT_NEAR(sum, 1, 1e-12);
  }
  EXPECT_NEAR(value(soup.out), 0.6, 0.05);
  EXPECT_THAT(summary_line(report), HasSubstr("3 models with drawn weights, score "));
  const Node json = report_json(report);
  EXPECT_EQ(json.at("method").as_text(), "random");
  EXPECT_EQ(json.at("fishers").items().size(), 3u);
}

// Dirichlet(1, 1, 1): each weight is below 1/2 three times out of four, and has the mean 1/3.
TEST_F(FisherSearch, DrawsAreEvenOverTheSimplex) {
  constexpr int kDraws = 20000;
  const auto flat = [](const Blend&) { return Evaluation{}; };
  const BlendResult result = search_random(3, {.budget = kDraws, .seed = 3}, flat);
  EXPECT_EQ(result.best, 0);  // ties keep the first
  std::vector<double> sums(3), small(3);
  for (const BlendTrial& trial : result.trials)
    for (std::size_t i = 0; i < 3; ++i) {
      sums[i] += trial.blend.rows.front()[i];
      small[i] += trial.blend.rows.front()[i] < 0.5;
    }
  for (std::size_t i = 0; i < 3; ++i) {  // five deviations: sqrt(1/18) and sqrt(3/16) a draw
    EXPECT_NEAR(sums[i] / kDraws, 1.0 / 3, 5 * 0.2357 / std::sqrt(kDraws));
    EXPECT_NEAR(small[i] / kDraws, 0.75, 5 * 0.4331 / std::sqrt(kDraws));
  }
}

TEST_F(FisherSearch, Refusals) {
  SoupOptions soup = line(3);
  soup.fishers.pop_back();
  EXPECT_EQ(refusal(soup), "1 --fisher is given for 2 models; give one for each, in their order");
  soup = line(3);
  soup.recipe = Recipe::kGreedy;
  EXPECT_THAT(refusal(soup), StartsWith("--fisher goes with --search line, random, and cmaes on the simplex"));
  soup = line(3);
  soup.fishers[1] = folder_ / "a.safetensors";
  EXPECT_THAT(refusal(soup), HasSubstr("no tensor n"));
  soup = line(3);
  soup.out = soup.fishers[0];
  soup.force = true;
  EXPECT_THAT(refusal(soup), HasSubstr("is an input"));
  soup = line(3);
  soup.fishers[1] = statistics("zero.safetensors", 0);
  EXPECT_THAT(refusal(soup), HasSubstr("every Fisher is 0: the norm is 0 and cannot normalize"));
  soup = options({file("a.safetensors", 0), file("b.safetensors", 1)}, peak_script());
  for (const char* name : {"a", "b"}) {
    solera::test::write_model(folder_ / cat(name, ".safetensors"),
                              {tensor("v", DType::kF32, {1, 2}, {1, 2}), tensor("w", DType::kF32, {1}, {1})});
    soup.fishers.push_back(statistics(cat(name, ".stats.safetensors"), 3));
  }
  soup.recipe = Recipe::kLine;
  EXPECT_THAT(refusal(soup), StartsWith("no file has a Fisher for v ("));
  expect_nothing_half_written(line(3));
}

}  // namespace
}  // namespace solera::soup
