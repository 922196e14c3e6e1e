#include "solera/merge/methods/regmean.h"

#include "solera/base/random.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;
using solera::test::message_of;

constexpr RegMeanParams kPlain = {.alpha = 1, .ridge = 0};

Values run(const std::vector<Values>& inputs, const std::vector<Values>& grams, std::int64_t in,
           const std::vector<double>& weights, const RegMeanParams& params = kPlain) {
  std::vector<RegMeanModel> models;
  for (const double weight : weights) models.push_back({weight, {}});
  Values out(inputs[0].size());
  regmean(spans(inputs), spans(grams), in, params, models, out);
  return out;
}

TEST(RegMean, ByHand) {
  // One feature: (2 * 1 + 6 * 3) / 8.
  expect_near(run({{1}, {3}}, {{2}, {6}}, 1, {1, 1}), {2.5});
  // G1 = [2 1; 1 2], G2 = I, W1 = [1 0], W2 = [0 1]: R = [2 1] + [0 1] = [2 2], S = [3 1; 1 3], W = R S^-1 = [.5 .5].
  expect_near(run({{1, 0}, {0, 1}}, {{2, 1, 1, 2}, {1, 0, 0, 1}}, 2, {1, 1}), {0.5, 0.5});
  // alpha 0.5: G1' = [2 .5; .5 2], R = [2 1.5], S = [3 .5; .5 3], det 8.75: W = [(6 - .75), (4.5 - 1)] / 8.75.
  expect_near(run({{1, 0}, {0, 1}}, {{2, 1, 1, 2}, {1, 0, 0, 1}}, 2, {1, 1}, {.alpha = 0.5, .ridge = 0}), {0.6, 0.4});
  // The second model three times: G2 = 3 I, R = [2 1] + [0 3] = [2 4], S = [5 1; 1 5]: [(10 - 4), (20 - 2)] / 24.
  expect_near(run({{1, 0}, {0, 1}}, {{2, 1, 1, 2}, {1, 0, 0, 1}}, 2, {1, 3}), {0.25, 0.75});
}

// Rows of the weight are solved one by one: the first as above, the second W1 = W2 = [7 -2] stays.
TEST(RegMean, RowsAreOutputs) {
  expect_near(run({{1, 0, 7, -2}, {0, 1, 7, -2}}, {{2, 1, 1, 2}, {1, 0, 0, 1}}, 2, {1, 1}), {0.5, 0.5, 7, -2});
}

TEST(RegMean, DiagonalGramsAreAMeanByFeature) {
  expect_near(run({{1, 1}, {5, 5}}, {{3, 0, 0, 1}, {1, 0, 0, 3}}, 2, {1, 1}), {2, 4});
  // alpha 0 makes any Gram matrices diagonal.
  expect_near(run({{1, 1}, {5, 5}}, {{3, 1, 1, 1}, {1, -1, -1, 3}}, 2, {1, 1}, {.alpha = 0, .ridge = 0}), {2, 4});
}

TEST(RegMean, EqualGramsGiveThePlainMean) {
  const Values gram = {2, 1, 0.5f, 1, 3, -0.5f, 0.5f, -0.5f, 1};
  for (const double ridge : {0.0, 1e-6, 0.1})
    expect_near(run({{1, 2, 3, 4, 5, 6}, {3, 2, 1, 0, 0, 12}}, {gram, gram}, 3, {1, 1}, {.alpha = 0.9, .ridge = ridge}),
                {2, 2, 2, 2, 2.5, 9});
}

// No input ever has the second feature, so nothing depends on its weights: they get the mean.
TEST(RegMean, DirectionsWithoutInputsGetTheMean) {
  const std::vector<Values> inputs = {{1, 4}, {3, 8}}, grams = {{2, 0, 0, 0}, {6, 0, 0, 0}};
  expect_near(run(inputs, grams, 2, {1, 1}, {.alpha = 0.9, .ridge = 1e-6}), {2.5, 6}, 1e-5);
  expect_near(run(inputs, grams, 2, {1, 3}, {.alpha = 0.9, .ridge = 1e-6}), {2.8, 7}, 1e-5);
  EXPECT_EQ(message_of([&] { run(inputs, grams, 2, {1, 1}); }),
            "the sum over the models of Gram matrix 0 is not positive definite (input feature 1); raise ridge, lower "
            "alpha, or measure on more examples");
}

// sum_i |X_i W^T - X_i W_i^T|^2 has its least value at the merge: every small step away is worse.
TEST(RegMean, MinimizesTheSquaredDifferenceOfOutputs) {
  constexpr int kOut = 3, kIn = 70, kRows = 120, kModels = 3;  // more features than one panel of the solver
  std::vector<Values> inputs, grams, data;
  for (std::uint64_t m = 0; m < kModels; ++m) {
    const RandomStream w({.seed = 1, .purpose = "w", .input = m}), x({.seed = 1, .purpose = "x", .input = m});
    Values& weight = inputs.emplace_back(kOut * kIn);
    for (std::size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<float>(w.normal(i));
    Values& rows = data.emplace_back(kRows * kIn);
    for (std::size_t i = 0; i < rows.size(); ++i)
      rows[i] = static_cast<float>(std::round(4 * x.normal(i)) / 4 * (1 + i % kIn % (m + 2)));
    Values& gram = grams.emplace_back(kIn * kIn);
    for (int n = 0; n < kRows; ++n)
      for (int i = 0; i < kIn; ++i)
        for (int j = 0; j < kIn; ++j) gram[i * kIn + j] += rows[n * kIn + i] * rows[n * kIn + j];  // exact: quarters
  }
  const auto loss = [&](const std::vector<double>& weight) {
    double sum = 0;
    for (int m = 0; m < kModels; ++m)
      for (int n = 0; n < kRows; ++n)
        for (int o = 0; o < kOut; ++o) {
          double difference = 0;
          for (int i = 0; i < kIn; ++i)
            difference += data[m][n * kIn + i] * (weight[o * kIn + i] - inputs[m][o * kIn + i]);
          sum += difference * difference;
        }
    return sum;
  };
  const Values merged = run(inputs, grams, kIn, {1, 1, 1});
  const std::vector<double> best(merged.begin(), merged.end());
  const double least = loss(best);
  const RandomStream steps({.seed = 1, .purpose = "step"});
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<double> other = best;
    for (std::size_t i = 0; i < other.size(); ++i) other[i] += 1e-3 * steps.normal(trial * other.size() + i);
    EXPECT_GT(loss(other), least);
  }
  for (std::size_t i = 0; i < best.size(); i += 17)
    for (const double step : {-1e-3, 1e-3}) {
      std::vector<double> other = best;
      other[i] += step;
      EXPECT_GT(loss(other), least) << i;
    }
}

TEST(RegMean, BadInput) {
  const std::vector<Values> two = {{1, 2}, {3, 4}};
  const Values eye = {1, 0, 0, 1};
  EXPECT_EQ(message_of([&] { run(two, {eye, {1, 0, 0, -1}}, 2, {1, 1}); }),
            "Gram matrix 1 is -1 at [1, 1], and a mean square is never negative");
  EXPECT_EQ(message_of([&] { run(two, {eye, {1, 0.5f, 0, 1}}, 2, {1, 1}); }),
            "the sum over the models of Gram matrix 0 is not symmetric: 0.5 at [0, 1], 0 at [1, 0]");
  EXPECT_EQ(message_of([&] { run(two, {{1, 3, 3, 1}, eye}, 2, {1, 1}); }),
            "the sum over the models of Gram matrix 0 is not positive definite (input feature 1); raise ridge, lower "
            "alpha, or measure on more examples");
  EXPECT_EQ(message_of([&] { run(two, {eye, eye}, 2, {1, 1}, {.alpha = 1.5}); }), "\"alpha\" is 1.5, outside [0, 1]");
  EXPECT_EQ(message_of([&] { run(two, {eye, eye}, 2, {1, 1}, {.ridge = -1}); }), "\"ridge\" is -1, less than 0");
  EXPECT_EQ(message_of([&] { run(two, {eye, eye}, 2, {1, -1}); }),
            "\"weight\" is -1, less than 0; shares are 0 or more");
}

}  // namespace
}  // namespace solera::merge
