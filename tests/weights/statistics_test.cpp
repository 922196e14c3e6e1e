#include "solera/weights/statistics.h"

#include <cmath>
#include <limits>

#include "solera/base/random.h"
#include "tests/weights/fixture.h"

namespace solera::weights {
namespace {

using checkpoint::DType;

Statistics of(const checkpoint::NamedBytes& tensor, Blocking blocking = {4, 1}, int threads = 2) {
  const test::Model model({tensor});
  Pool pool(threads);
  return statistics({&pool, blocking, false, {}}, model.operand(tensor.info.name));
}

TEST(Statistics, SmallTensorByHand) {
  const Statistics s = of(test::tensor("a", DType::kF32, {2, 3}, {1, -2, 0, 4, 0, 3}));
  EXPECT_EQ(s.count, 6);
  EXPECT_EQ(s.zeros, 2);
  EXPECT_EQ(s.min, -2);
  EXPECT_EQ(s.max, 4);
  EXPECT_EQ(s.mean, 1);
  EXPECT_NEAR(s.variance, 4, 1e-12);
  EXPECT_EQ(s.l1, 10);
  EXPECT_NEAR(s.l2, std::sqrt(30.0), 1e-12);
}

TEST(Statistics, NonFiniteValuesAreCountedAndLeftOut) {
  const double inf = std::numeric_limits<double>::infinity();
  const Statistics s = of(test::tensor("a", DType::kF16, {7}, {std::nan(""), 2, inf, -inf, 4, std::nan(""), inf}));
  EXPECT_EQ(s.nan, 2);
  EXPECT_EQ(s.infinite, 3);
  EXPECT_EQ(s.finite(), 2);
  EXPECT_EQ(s.mean, 3);
  EXPECT_EQ(s.variance, 1);
}

TEST(Statistics, OfNothingAndOfOnlyNan) {
  EXPECT_EQ(of(test::tensor("a", DType::kF32, {0}, {})).count, 0);
  const Statistics s = of(test::tensor("a", DType::kF32, {2}, {std::nan(""), std::nan("")}));
  EXPECT_EQ(s.nan, 2);
  EXPECT_EQ(s.min, 0);
}

TEST(Statistics, SmallSpreadAroundALargeMeanKeepsItsVariance) {
  std::vector<double> values(1000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 1e6 + static_cast<double>(i % 2);
  EXPECT_NEAR(of(test::tensor("a", DType::kF64, {1000}, values)).variance, 0.25, 1e-3);
}

TEST(Statistics, SameBitsForAllThreadsAndChunks) {
  const RandomStream stream({.seed = 1, .purpose = "test.statistics"});
  std::vector<double> values(999);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = stream.normal(i);
  const auto tensor = test::tensor("a", DType::kF32, {999}, values);
  const Statistics expected = of(tensor, {4, 1}, 1);
  for (const int threads : {2, 7})
    for (const std::int64_t chunk : {1, 7, 4096}) {
      const Statistics s = of(tensor, {4, chunk}, threads);
      EXPECT_EQ(s.mean, expected.mean);
      EXPECT_EQ(s.variance, expected.variance);
      EXPECT_EQ(s.l1, expected.l1);
    }
}

TEST(Statistics, IntegersCount) {
  const Statistics s = of(test::tensor("a", DType::kI64, {3}, {5, -1, 2}));
  EXPECT_EQ(s.mean, 2);
  EXPECT_EQ(s.max, 5);
}

}  // namespace
}  // namespace solera::weights
