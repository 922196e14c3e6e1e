#include "solera/merge/methods/linear.h"

#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const std::vector<Values>& inputs, const std::vector<double>& weights, bool normalize = true) {
  std::vector<LinearModel> models;
  for (const double weight : weights) models.push_back({weight});
  Values out(inputs[0].size());
  linear(spans(inputs), {normalize}, models, out);
  return out;
}

TEST(Linear, Oracles) {
  expect_near(run({kA, kB}, {0.6, 0.2}), {2.25, -0.25, 3, 1.5});
  expect_near(run({kA, kB}, {0.6, 0.2}, false), {1.8, -0.2, 2.4, 1.2});
  expect_near(run({{1}, {2}, {6}}, {1, 1, 1}), {3});
  expect_near(run({{1}, {2}}, {1, 1}), {1.5});
}

TEST(Linear, EqualModelsComeBackExactly) {
  const Values x = {1.0f / 3, -0.1f, 7e-30f, 3e30f};
  for (const std::size_t k : {2u, 3u, 10u, 50u})
    EXPECT_EQ(run(std::vector<Values>(k, x), std::vector<double>(k, 1.0)), x) << k;
}

TEST(Linear, MeanIsWithinAMillionthOfTheLargestInput) {
  std::vector<Values> inputs(7, Values(64));
  for (std::size_t m = 0; m < inputs.size(); ++m)
    for (std::size_t i = 0; i < 64; ++i)
      inputs[m][i] = std::sin(static_cast<float>(m * 64 + i * i)) * (m % 2 ? 1.0f : -1.0f);
  const Values out = run(inputs, std::vector<double>(7, 1.0));
  for (std::size_t i = 0; i < 64; ++i) {
    double mean = 0, largest = 0;
    for (const Values& input : inputs) {
      mean += input[i] / 7.0;
      largest = std::max(largest, std::abs(static_cast<double>(input[i])));
    }
    EXPECT_NEAR(out[i], mean, 1e-6 * largest);
  }
}

TEST(Linear, WeightsThatCancelAreRefused) {
  EXPECT_EQ(solera::test::message_of([] { run({kA, kB}, {1, -1}); }),
            "the weights sum to zero; change a weight, or set normalize: false");
  expect_near(run({kA, kB}, {1, -1}, false), {-1, -3, 4, 0});
}

}  // namespace
}  // namespace solera::merge
