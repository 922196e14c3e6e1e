#include "solera/weights/kth_largest.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "solera/base/random.h"
#include "tests/support/support.h"

namespace solera::weights {
namespace {

// Magnitudes of many shapes: smooth, tied, constant, sorted, and a sample's blind spot (every 32nd is unlike the rest).
std::vector<float> magnitudes_of(int shape, std::size_t n) {
  const RandomStream stream({.seed = static_cast<std::uint64_t>(shape), .purpose = "test.kth"});
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (shape == 0) values[i] = static_cast<float>(std::abs(stream.normal(i)));
    if (shape == 1) values[i] = static_cast<float>(stream.below(i, 5));
    if (shape == 2) values[i] = 1;
    if (shape == 3) values[i] = static_cast<float>(i);
    if (shape == 4) values[i] = i % 32 == 16 ? 0.0f : 1 + static_cast<float>(stream.below(i, 100000));
  }
  return values;
}

TEST(KthLargest, IsThatOfTheSortedMagnitudes) {
  for (int shape = 0; shape < 5; ++shape)
    for (const std::size_t n : {1u, 2u, 63u, 2047u, 2048u, 5000u, 70000u}) {
      const auto values = magnitudes_of(shape, n);
      auto sorted = values;
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      for (const double part : {0.0, 0.001, 0.01, 0.3, 0.5, 0.85, 0.99, 1.0}) {
        const auto k = 1 + static_cast<std::size_t>(part * static_cast<double>(n - 1));
        ASSERT_EQ(kth_largest<float>(values, static_cast<std::int64_t>(k)), sorted[k - 1])
            << shape << " " << n << " " << k;
      }
    }
}

TEST(FindRank, CountsTiesAndRefusesWhatIsOutside) {
  // 9 9 | 5 5 5 | 4 3 3 | 2 2 | ...: a bracket of [2, 5]
  const std::vector<float> inside = {3, 4, 3};
  const BandCount count{2, 3, 3, 2};
  const auto rank = [&](std::int64_t r) { return find_rank<float>(count, inside, {2, 5}, r); };
  EXPECT_FALSE(rank(2));
  EXPECT_EQ(rank(3)->value, 5);
  EXPECT_EQ(rank(5)->wanted, 3);
  EXPECT_EQ(rank(6)->value, 4);
  EXPECT_EQ(rank(7)->value, 3);
  EXPECT_EQ(rank(7)->ties, 2);
  EXPECT_EQ(rank(7)->wanted, 1);
  EXPECT_EQ(rank(10)->value, 2);
  EXPECT_EQ(rank(10)->wanted, 2);
  EXPECT_FALSE(rank(11));
}

}  // namespace
}  // namespace solera::weights
