#include "solera/base/random.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>
#include <numeric>
#include <set>

#include "tests/support/support.h"

namespace solera {
namespace {

using Words = std::array<std::uint32_t, 4>;

TEST(Philox, PublishedVectors) {
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, FillsEqualSingleDraws) {
  const RandomStream stream({3, "fill", 1, "w"});
  constexpr std::uint64_t kFar = (std::uint64_t{1} << 34) - 9;  // the counter's second word begins on the way
  for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3}, kFar}) {
    for (const std::size_t size : {0u, 1u, 2u, 3u, 5u, 63u, 64u, 65u, 131u}) {
      std::vector<std::uint32_t> words(size);
      std::vector<float> uniforms(size), normals(size);
      stream.fill_u32(first, words);
      stream.fill_uniform(first, uniforms);
      stream.fill_normal(first, normals);
      for (std::size_t i = 0; i < size; ++i) {
        const std::uint32_t word = stream.u32(first + i);
        ASSERT_EQ(words[i], word) << first << " + " << i;
        ASSERT_EQ(uniforms[i], static_cast<float>(word >> 8) / 16777216.0f) << first << " + " << i;
        ASSERT_EQ(normals[i], static_cast<float>(stream.normal(first + i))) << first << " + " << i;
        ASSERT_EQ(stream.uniform(first + i), word / 4294967296.0);
      }
    }
  }
}

TEST(RandomStream, EveryPartOfTheKeyMatters) {
  const std::vector<StreamKey> keys = {{1, "a", 0, "n"}, {2, "a", 0, "n"}, {1, "b", 0, "n"}, {1, "a", 1, "n"},
                                       {1, "a", 0, "m"}, {1, "an", 0, ""}, {1, "", 0, "an"}, {1, "a", 0, ""}};
  std::set<std::uint64_t> pairs;  // 64 bits each, so that chance collisions have probability 1e-15
  constexpr std::uint64_t kDraws = 100;
  for (const StreamKey& key : keys) {
    const RandomStream stream(key);
    for (std::uint64_t i = 0; i < kDraws; ++i) {
      pairs.insert(std::uint64_t{stream.u32(2 * i)} << 32 | stream.u32(2 * i + 1));
    }
  }
  EXPECT_EQ(pairs.size(), keys.size() * kDraws);
  EXPECT_EQ(RandomStream({1, "a", 0, "n"}).u32(5), RandomStream({1, "a", 0, "n"}).u32(5));
}

// Chi-squared of 256 cells; the bound is its mean plus six standard deviations, sqrt(2 x 255).
TEST(RandomStream, BytesAreUniform) {
  const RandomStream stream({11, "chi"});
  constexpr int kDraws = 1 << 16;
  for (const int shift : {0, 8, 16, 24}) {
    std::array<int, 256> cells{};
    for (int i = 0; i < kDraws; ++i) ++cells[stream.u32(static_cast<std::uint64_t>(i)) >> shift & 255];
    double chi = 0;
    for (const int count : cells) chi += (count - 256.0) * (count - 256.0) / 256.0;
    EXPECT_LT(std::fabs(chi - 255), 6 * std::sqrt(2 * 255.0)) << shift;
  }
}

// Moments within six standard errors; E z^2 = 1, E z^4 = 3, E z^8 = 105 give the variances.
TEST(RandomStream, NormalsHaveNormalMoments) {
  const RandomStream stream({12, "moments"});
  constexpr int kDraws = 200'000;
  double sum1 = 0, sum2 = 0, sum3 = 0, sum4 = 0, inside = 0, lag = 0;
  double before = 0;
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    const double z = stream.normal(i);
    sum1 += z;
    sum2 += z * z;
    sum3 += z * z * z;
    sum4 += z * z * z * z;
    inside += std::fabs(z) < 1;
    lag += z * before;
    before = z;
  }
  const auto bound = [&](double variance) { return 6 * std::sqrt(variance / kDraws); };
  EXPECT_LT(std::fabs(sum1 / kDraws), bound(1));
  EXPECT_LT(std::fabs(sum2 / kDraws - 1), bound(2));
  EXPECT_LT(std::fabs(sum3 / kDraws), bound(15));
  EXPECT_LT(std::fabs(sum4 / kDraws - 3), bound(96));
  EXPECT_LT(std::fabs(lag / kDraws), bound(1));
  const double p = std::erf(std::sqrt(0.5));
  EXPECT_LT(std::fabs(inside / kDraws - p), bound(p * (1 - p)));
}

TEST(RandomStream, NormalsAreBoxMullerOfTheirPair) {
  const RandomStream stream({13, "oracle"});
  for (std::uint64_t i = 0; i < 20'000; i += 2) {
    const double radius = std::sqrt(-2 * std::log((stream.u32(i) + 1.0) / 4294967296.0));
    const double angle = 2 * std::numbers::pi * stream.u32(i + 1) / 4294967296.0;
    // Radius below 6.7 with a relative error of a few 2^-53, the angle's rounding up to 2 pi 2^-53.
    constexpr double kBound = 6.7 * 16 * std::numeric_limits<double>::epsilon();
    ASSERT_NEAR(stream.normal(i), radius * std::cos(angle), kBound);
    ASSERT_NEAR(stream.normal(i + 1), radius * std::sin(angle), kBound);
  }
}

TEST(RandomStream, BernoulliHasItsProbability) {
  const RandomStream stream({14, "coin"});
  constexpr int kDraws = 100'000;
  for (const double p : {0.0, 0.1, 0.5, 0.9, 1.0}) {
    int hits = 0;
    for (std::uint64_t i = 0; i < kDraws; ++i) hits += stream.bernoulli(i, p);
    EXPECT_LE(std::fabs(hits - p * kDraws), 6 * std::sqrt(p * (1 - p) * kDraws)) << p;
  }
}

TEST(RandomStream, BelowCoversItsRange) {
  const RandomStream stream({15, "below"});
  for (std::uint64_t n = 1; n <= 20; ++n) {
    std::vector<int> counts(n);
    constexpr int kDraws = 20'000;
    for (std::uint64_t i = 0; i < kDraws; ++i) {
      const std::uint64_t draw = stream.below(i, n);
      ASSERT_LT(draw, n);
      ++counts[draw];
    }
    const double p = 1.0 / static_cast<double>(n);
    for (const int count : counts) EXPECT_LE(std::fabs(count - p * kDraws), 6 * std::sqrt(p * (1 - p) * kDraws)) << n;
  }
  bool high = false;
  for (std::uint64_t i = 0; i < 64; ++i) high = high || stream.below(i, UINT64_MAX) > UINT64_MAX / 2;
  EXPECT_TRUE(high);
  EXPECT_EQ(test::message_of([&] { stream.below(0, 0); }),
            "a random number below 0 was asked for; this is a bug in Solera, please report it");
}

TEST(RandomStream, PermutationsHoldEachOnceInEveryOrder) {
  for (std::int64_t n = 0; n <= 64; ++n) {
    auto order = RandomStream({16, "order", static_cast<std::uint64_t>(n)}).permutation(n);
    std::vector<std::int64_t> sorted(static_cast<std::size_t>(n));
    std::iota(sorted.begin(), sorted.end(), 0);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, sorted);
  }
  std::map<std::vector<std::int64_t>, int> seen;
  constexpr int kDraws = 24'000;
  for (std::uint64_t i = 0; i < kDraws; ++i) ++seen[RandomStream({17, "orders", i}).permutation(4)];
  EXPECT_EQ(seen.size(), 24u);
  for (const auto& [order, count] : seen) EXPECT_LT(std::fabs(count - 1000.0), 6 * std::sqrt(1000.0 * 23 / 24));
  EXPECT_EQ(test::message_of([] { RandomStream({1, "p"}).permutation(-1); }),
            "a permutation of -1 entries was asked for; this is a bug in Solera, please report it");
}

}  // namespace
}  // namespace solera
