#include "solera/weights/mask.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace solera::weights {
namespace {

TEST(Mask, TopKeepsExactlyKAndTheLowerIndexOfEquals) {
  std::vector<float> values = {1, -3, 3, 2, -3};
  keep_top<float>(values, 2);
  EXPECT_EQ(values, (std::vector<float>{0, -3, 3, 0, 0}));
  std::vector<double> all = {1, 2};
  keep_top<double>(all, 5);
  EXPECT_EQ(all, (std::vector<double>{1, 2}));
  keep_top<double>(all, 0);
  EXPECT_EQ(all, (std::vector<double>{0, 0}));
}

std::vector<float> random_mask(std::uint64_t input, double p, std::int64_t first, std::size_t n) {
  std::vector<float> values(n, 1.0f);
  keep_random<float>(RandomStream({.seed = 5, .purpose = "test.mask", .input = input, .name = "w"}), p, first, values);
  return values;
}

TEST(Mask, RandomIsAFunctionOfTheElementAlone) {
  const auto whole = random_mask(0, 0.3, 0, 5000);
  for (const std::int64_t first : {1, 1023, 1024, 3333}) {
    const auto part = random_mask(0, 0.3, first, static_cast<std::size_t>(5000 - first));
    EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + first)) << first;
  }
}

TEST(Mask, RandomKeepsItsShareWithinFiveDeviations) {
  constexpr double kN = 200000;
  for (const double p : {0.01, 0.3, 0.9}) {
    const auto mask = random_mask(0, p, 0, static_cast<std::size_t>(kN));
    EXPECT_NEAR(std::count(mask.begin(), mask.end(), 1.0f), kN * p, 5 * std::sqrt(kN * p * (1 - p)));
  }
  const auto all = random_mask(0, 1, 0, 1000), none = random_mask(0, 0, 0, 1000);
  EXPECT_EQ(std::count(all.begin(), all.end(), 1.0f), 1000);
  EXPECT_EQ(std::count(none.begin(), none.end(), 0.0f), 1000);
}

TEST(Mask, InputsDoNotShareAMask) {
  const auto a = random_mask(0, 0.5, 0, 100000), b = random_mask(1, 0.5, 0, 100000);
  double both = 0;
  for (std::size_t i = 0; i < a.size(); ++i) both += a[i] * b[i];
  EXPECT_NEAR(both, 25000, 5 * std::sqrt(100000 * 0.25 * 0.75));
}

}  // namespace
}  // namespace solera::weights
