#include "solera/merge/methods/model_stock.h"

#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const Values& base, const std::vector<Values>& tuned) {
  Values out(base.size());
  model_stock(base, spans(tuned), out);
  return out;
}

double ratio(const std::vector<Values>& changes) {
  Gram gram;
  std::vector<Values> rows = changes;
  std::vector<float*> pointers;
  for (Values& row : rows) pointers.push_back(row.data());
  gram.add<float>(pointers, static_cast<std::int64_t>(rows[0].size()));
  return model_stock_ratio(gram);
}

TEST(ModelStock, Oracles) {
  const double c = -2.75 / std::sqrt(14.25 * 6.25), t = 2 * c / (1 + c);
  EXPECT_NEAR(c, -0.291397, 1e-6);
  EXPECT_NEAR(t, -0.822455, 1e-6);
  EXPECT_NEAR(ratio({{1, -2, 3, 0.5f}, {2, 1, -1, 0.5f}}), t, 1e-12);
  expect_near(run(kBase, {kA, kB}), {1 + 1.5 * t, 1 - 0.5 * t, 1 + t, 1 + 0.5 * t});
  EXPECT_NEAR(ratio({{1, 1, 0, 0}, {1, 0, 1, 0}}), 2.0 / 3, 1e-12);
  expect_near(run({0, 0, 0, 0}, {{1, 1, 0, 0}, {1, 0, 1, 0}}), {2.0 / 3, 1.0 / 3, 1.0 / 3, 0});
}

TEST(ModelStock, ThreeModelsByHand) {
  // cosines 0, 1/sqrt 2, 1/sqrt 2: c = sqrt 2 / 3, t = 3 c / (1 + 2 c)
  const double c = std::sqrt(2.0) / 3, t = 3 * c / (1 + 2 * c);
  EXPECT_NEAR(ratio({{1, 0}, {0, 2}, {3, 3}}), t, 1e-12);
  expect_near(run({1, 1}, {{2, 1}, {1, 3}, {4, 4}}), {1 + t * 4 / 3, 1 + t * 5 / 3});
}

TEST(ModelStock, ParallelChangesGiveTheMeanAndOrthogonalOnesTheBase) {
  expect_near(run({1, 1}, {{2, 3}, {3, 5}}), {2.5, 4});
  EXPECT_EQ(run({0.1f, -0.0f, 5}, {{1.1f, -0.0f, 5}, {0.1f, 3, 5}}), Values({0.1f, -0.0f, 5}));
  EXPECT_TRUE(std::signbit(run({0.1f, -0.0f, 5}, {{1.1f, 0, 5}, {0.1f, 0, 7}})[1]));
}

TEST(ModelStock, UnchangedModelsAndSmallChanges) {
  EXPECT_EQ(run({1, 2}, {{1, 2}, {1, 2}}), Values({1, 2}));
  EXPECT_EQ(run({1, 2}, {{2, 3}, {1, 2}}), Values({1, 2}));  // the cosine with no change is 0
  // ||d||^2 = 1e-8 lies below the floor of 1e-6: c = .01, t = .02 / 1.01
  EXPECT_NEAR(ratio({{1e-4f, 0}, {1e-4f, 0}}), 0.02 / 1.01, 1e-8);
}

TEST(ModelStock, NoMinimumIsTheBase) {
  // opposite changes: c = -1, 1 + c = 0
  EXPECT_EQ(run({1, 2}, {{2, 3}, {0, 1}}), Values({1, 2}));
  EXPECT_EQ(ratio({{1, 1}, {-2, -2}}), 0);
}

}  // namespace
}  // namespace solera::merge
