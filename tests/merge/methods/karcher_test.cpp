#include "solera/merge/methods/karcher.h"

#include <array>

#include "solera/base/random.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const std::vector<Values>& inputs, const KarcherParams& params = {}) {
  Values out(inputs[0].size());
  karcher(spans(inputs), params, out);
  return out;
}

TEST(Karcher, Oracles) {
  expect_near(run({kA, kB}), {3.162743, 0.814765, 2.217823, 1.858599});
  expect_near(run({kA, kB, {-1, 2, 1, 0}}), {1.403669, 2.154847, 2.362958, 1.296911}, 2e-6);
}

// sum_i log_u(u_i) = 0 holds for a minimum of the summed squared angles and for nothing else nearby.
TEST(Karcher, StepsVanishAtTheMean) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const RandomStream stream({.seed = seed, .purpose = "test.karcher"});
    std::vector<Values> inputs(4, Values(5));
    for (std::size_t i = 0; i < inputs.size(); ++i)
      for (std::size_t j = 0; j < 5; ++j)
        inputs[i][j] = static_cast<float>(1 + stream.normal(5 * i + j)) * static_cast<float>(i + 1);
    const Values mean = run(inputs, {.max_iter = 200, .tol = 1e-12});
    const auto norm = [](const Values& v) { return std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0)); };
    std::array<double, 5> sum{};
    double length = 0;
    for (const Values& x : inputs) {
      length += norm(x) / 4;
      const double cosine = std::inner_product(x.begin(), x.end(), mean.begin(), 0.0) / norm(x) / norm(mean);
      const double factor = std::acos(cosine) / std::sqrt(1 - cosine * cosine);
      for (std::size_t j = 0; j < 5; ++j) sum[j] += factor * (x[j] / norm(x) - cosine * mean[j] / norm(mean));
    }
    for (const double s : sum) EXPECT_NEAR(s, 0, 1e-6) << seed;
    EXPECT_NEAR(norm(mean), length, 1e-5 * length);
  }
}

TEST(Karcher, NoStepIsTheMeanDirection) {
  expect_near(run({{1, 0}, {0, 3}}, {.max_iter = 0}), {std::sqrt(2.0), std::sqrt(2.0)});
}

TEST(Karcher, OneModelAndEqualModelsComeBack) {
  EXPECT_EQ(run({kA}), kA);
  EXPECT_EQ(run({kA, kA, kA}), kA);
}

TEST(Karcher, ZerosCountInTheNormOnly) {
  expect_near(run({{3, 4}, {0, 0}}), {1.5, 2});
  EXPECT_EQ(run({{0, 0}, {0, 0}}), Values({0, 0}));
}

TEST(Karcher, OppositeModelsKeepTheFirstDirection) { expect_near(run({{1, 2}, {-2, -4}}), {1.5, 3}); }

}  // namespace
}  // namespace solera::merge
