#include "solera/merge/methods/fisher.h"

#include <algorithm>

#include "solera/base/random.h"
#include "solera/base/threads.h"
#include "solera/weights/dense.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;
using solera::test::message_of;

constexpr FisherParams kRaw = {.normalize = false};

Values run(const std::vector<Values>& inputs, const std::vector<Values>& fishers, const std::vector<double>& weights,
           const FisherParams& params = kRaw) {
  std::vector<FisherModel> models;
  for (const double weight : weights) models.push_back({weight, {}});
  Values out(inputs[0].size());
  fisher(spans(inputs), spans(fishers), params, models, out);
  return out;
}

TEST(Fisher, ScalarsByHand) {
  expect_near(run({{1}, {3}}, {{4}, {1}}, {0.5, 0.5}), {1.4});
  expect_near(run({{1}, {3}}, {{4}, {1}}, {0.25, 0.75}), {1.857143});
  expect_near(run({kA, kB}, {{2, 2, 2, 2}, {2, 2, 2, 2}}, {0.6, 0.2}), {2.25, -0.25, 3, 1.5});
}

TEST(Fisher, OneModelWithTheWholeWeightComesBackExactly) {
  const Values x = {1.0f / 3, -0.1f, 7e-30f, 3e30f}, f = {0, 1e-30f, 0.7f, 3};
  for (const bool normalize : {false, true}) {
    EXPECT_EQ(run({kA, x}, {f, f}, {0, 1}, {.normalize = normalize, .favor_target = false}), x);
    EXPECT_EQ(run({x, kA}, {f, f}, {1, 0}, {.normalize = normalize}), x);
    EXPECT_EQ(run({x, x, x}, {f, {1, 2, 3, 4}, f}, {1, 0.3, 2}, {.normalize = normalize}), x);
  }
}

TEST(Fisher, NormsAndTheFavoredTarget) {
  const std::vector<Values> inputs = {{1, 1}, {5, 5}}, fishers = {{3, 4}, {0, 2}};
  expect_near(run(inputs, fishers, {0.5, 0.5}), {1, 2.333333});
  expect_near(run(inputs, fishers, {0.5, 0.5}, {}), {1, 3.222222});
}

TEST(Fisher, WhereEveryFisherVanishesTheTargetStays) {
  const std::vector<Values> inputs = {{1}, {5}}, fishers = {{0}, {0}};
  EXPECT_EQ(run(inputs, fishers, {0.5, 0.5}), Values({1}));
  EXPECT_EQ(run(inputs, fishers, {0.5, 0.5}, {.normalize = false, .favor_target = false}), Values({3}));
  EXPECT_EQ(run(inputs, fishers, {0, 1}), Values({1}));  // 0 / 0 in the authors' code
  EXPECT_EQ(run(inputs, fishers, {0.5, 0.5}, {.normalize = false, .favor_target = false, .floor = 0}), Values({1}));
}

// Two least-squares problems with diagonal designs: their Fishers are exact, and so is the merge.
TEST(Fisher, OrthogonalDesignsGiveThePooledSolution) {
  expect_near(run({{1, 1}, {2, 3}}, {{0.5f, 2}, {4.5f, 0.5f}}, {1, 1}), {1.9, 1.4});
}

TEST(Fisher, ScaleOfTheFishersDoesNotCount) {
  const Values f = {0.3f, 2, 0.01f, 5}, g = {1, 0.2f, 3, 0.5f};
  const auto times = [](Values values, float factor) {
    for (float& v : values) v *= factor;
    return values;
  };
  for (const float factor : {0.25f, 64.0f}) {  // powers of two, far from the floor
    EXPECT_EQ(run({kA, kB}, {times(f, factor), times(g, factor)}, {0.3, 0.7}), run({kA, kB}, {f, g}, {0.3, 0.7}));
    EXPECT_EQ(run({kA, kB}, {f, times(g, factor)}, {0.3, 0.7}, {}), run({kA, kB}, {f, g}, {0.3, 0.7}, {}));
  }
}

// A float cannot hold the square of 1e-30; the sums here can.
TEST(Fisher, TinyFishersCountByTheirRatio) {
  expect_near(run({{1}, {3}}, {{4e-30f}, {1e-30f}}, {0.5, 0.5}, {.normalize = false, .floor = 0}), {1.4});
  expect_near(run({{1, 7}, {3, 7}}, {{3e-30f, 4e-30f}, {1, 0}}, {1, 1}, {.floor = 0}), {(0.6 + 3) / 1.6, 7});
}

TEST(Fisher, BadInput) {
  const std::vector<Values> two = {{1, 2}, {3, 4}}, good = {{1, 1}, {1, 1}};
  EXPECT_EQ(message_of([&] { run(two, {{1, 1}, {1, -2}}, {1, 1}); }), "a Fisher is never negative (Fisher 1)");
  EXPECT_EQ(message_of([&] { run(two, {{1, NAN}, {1, 2}}, {1, 1}); }), "a Fisher is never negative (Fisher 0)");
  EXPECT_EQ(message_of([&] { run(two, {{1, 1}, {0, 0}}, {1, 1}, {}); }),
            "every Fisher is 0: the norm is 0 and cannot normalize (Fisher 1); measure on data that the model depends "
            "on, or set normalize: false");
  EXPECT_EQ(message_of([&] { run(two, good, {1, -1}); }), "\"weight\" is -1, less than 0; shares are 0 or more");
  EXPECT_EQ(message_of([&] { run(two, good, {0, 0}); }), "the weights sum to zero; give one model a weight above 0");
}

// Five workers see 200 rows each of y = X w + noise, every feature at a scale of the worker's own; their least-squares
// solutions are merged with F = mean square of the feature. With features that are known to very different precision
// the plain mean is far off, and Fisher's is close to the solution of all rows together.
TEST(Fisher, WorkersWithDifferentFeatureScales) {
  constexpr int kFeatures = 50, kWorkers = 5, kRows = 200, kSeeds = 20;
  std::vector<double> fisher_errors, plain_errors, pooled_errors;
  int held = 0;
  Pool pool(1);
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const RandomStream truth_stream({.seed = seed, .purpose = "truth"});
    std::vector<double> truth(kFeatures), all_g(kFeatures * kFeatures), all_r(kFeatures);
    for (int j = 0; j < kFeatures; ++j) truth[j] = truth_stream.normal(j);
    std::vector<Values> solutions, fishers;
    for (std::uint64_t worker = 0; worker < kWorkers; ++worker) {
      const RandomStream rows({.seed = seed, .purpose = "rows", .input = worker});
      const RandomStream scales({.seed = seed, .purpose = "scales", .input = worker});
      const RandomStream noise({.seed = seed, .purpose = "noise", .input = worker});
      std::vector<double> g(kFeatures * kFeatures), r(kFeatures), x(kFeatures);
      for (int n = 0; n < kRows; ++n) {
        double y = noise.normal(n);
        for (int j = 0; j < kFeatures; ++j) {
          x[j] = rows.normal(n * kFeatures + j) * std::pow(10.0, 3 * scales.uniform(j) - 2);
          y += x[j] * truth[j];
        }
        for (int j = 0; j < kFeatures; ++j) {
          r[j] += x[j] * y;
          for (int k = 0; k < kFeatures; ++k) g[j * kFeatures + k] += x[j] * x[k];
        }
      }
      Values precision;
      for (int j = 0; j < kFeatures; ++j) precision.push_back(static_cast<float>(g[j * (kFeatures + 1)] / kRows));
      fishers.push_back(precision);
      for (std::size_t i = 0; i < g.size(); ++i) all_g[i] += g[i];
      for (int j = 0; j < kFeatures; ++j) all_r[j] += r[j];
      ASSERT_FALSE(weights::factor_cholesky(pool, g.data(), kFeatures));
      weights::solve_cholesky(pool, g.data(), kFeatures, r.data(), 1);
      solutions.emplace_back(r.begin(), r.end());
    }
    ASSERT_FALSE(weights::factor_cholesky(pool, all_g.data(), kFeatures));
    weights::solve_cholesky(pool, all_g.data(), kFeatures, all_r.data(), 1);
    const auto error = [&](const auto& solution) {
      double sum = 0;
      for (int j = 0; j < kFeatures; ++j) sum += (solution[j] - truth[j]) * (solution[j] - truth[j]);
      return sum / kFeatures;
    };
    const std::vector<double> equal(kWorkers, 1.0);
    fisher_errors.push_back(error(run(solutions, fishers, equal)));
    plain_errors.push_back(error(run(solutions, std::vector<Values>(kWorkers, Values(kFeatures, 1.0f)), equal)));
    pooled_errors.push_back(error(all_r));
    held += fisher_errors.back() <= 0.1 * plain_errors.back() && fisher_errors.back() <= 10 * pooled_errors.back();
  }
  EXPECT_GE(held, 18);
  const auto median = [](std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + kSeeds / 2, values.end());
    return values[kSeeds / 2];
  };
  EXPECT_LE(median(fisher_errors), 0.1 * median(plain_errors));
  EXPECT_LE(median(fisher_errors), 10 * median(pooled_errors));
}

}  // namespace
}  // namespace solera::merge
