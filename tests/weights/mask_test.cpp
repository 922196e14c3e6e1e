#include "solera/weights/mask.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "solera/weights/elements.h"

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

// Every word of the vectorized draws is the stream's, on every CPU, wherever a tile begins.
template <class T>
void expect_the_streams_draws(std::uint64_t first, std::size_t n) {
  const RandomStream stream({.seed = 6, .purpose = "test.draws", .name = "w"});
  constexpr double kP = 0.37;
  std::vector<T> values(n), sum(n, 1), kept;
  for (std::size_t i = 0; i < n; ++i) values[i] = static_cast<T>(i) + T(0.5);
  kept = values;
  keep_random<T>(stream, kP, static_cast<std::int64_t>(first), kept, 3);
  add_random<T>(stream, kP, static_cast<std::int64_t>(first), 3, values, sum.data());
  for (std::size_t i = 0; i < n; ++i) {
    const T expected = draw_of(stream, static_cast<std::int64_t>(first + i)) < draw_threshold(kP) ? 3 * values[i] : 0;
    ASSERT_EQ(kept[i], expected) << first << " + " << i;
    ASSERT_EQ(sum[i], 1 + expected) << first << " + " << i;
  }
}

TEST(Mask, DrawsAreTheStreamsOnEveryCpu) {
  for (const std::string& target : simd_targets()) {
    pin_simd_target(target);
    for (std::uint64_t first = 0; first < 9; ++first)
      for (const std::size_t n : {0u, 1u, 5u, 63u, 64u, 200u, 1025u}) {
        expect_the_streams_draws<float>(first, n);
        expect_the_streams_draws<double>(first, n);
      }
    expect_the_streams_draws<float>((std::uint64_t{4} << 32) - 30, 100);  // the counter's low half overflows
  }
  pin_simd_target("");
}

// Probabilities so near to each other that draws between them have one upper half, or so near to 0 or 1 that theirs is
// the first or the last.
TEST(Mask, LowerHalvesDecideWhereUpperOnesTie) {
  const RandomStream stream({.seed = 8, .purpose = "test.draws", .name = "w"});
  constexpr std::int64_t kN = 400000;
  std::vector<std::uint32_t> draws(kN);
  for (std::int64_t i = 0; i < kN; ++i) draws[static_cast<std::size_t>(i)] = draw_of(stream, i);
  for (const double p : {0x1p-20, 0x1.8p-17, 0x1p-16, 0.25 + 0x1p-17, 1 - 0x1.8p-17, 1 - 0x1p-20}) {
    std::vector<float> values(kN, 1.0f);
    keep_random<float>(stream, p, 0, values);
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(values[i], draws[i] < draw_threshold(p) ? 1.0f : 0.0f) << p;
  }
}

template <class T>
void expect_noted(std::size_t n) {
  std::vector<T> values(n), others(n, T(3));
  for (std::size_t i = 0; i < n; ++i) values[i] = i * i % 3 == 1 ? T(-1) : T(0);
  std::vector<std::uint8_t> bits((n + 7) / 8, 0xFF);
  note_nonzero<T>(values, bits.data());
  keep_noted<T>(bits.data(), T(2), others);
  for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(others[i], values[i] != 0 ? T(6) : T(0)) << n << " " << i;
}

TEST(Mask, NotedMasksAreWhatTheyWere) {
  for (const std::string& target : simd_targets()) {
    pin_simd_target(target);
    for (std::size_t n = 0; n < 70; ++n) {
      expect_noted<float>(n);
      expect_noted<double>(n);
    }
  }
  pin_simd_target("");
}

TEST(Mask, ThresholdsOfProbabilities) {
  EXPECT_EQ(draw_threshold(0.5), 0x80000000u);
  EXPECT_EQ(draw_threshold(-1), 0u);
  EXPECT_EQ(draw_threshold(2), 0xffffffffu);
}

TEST(Mask, InputsDoNotShareAMask) {
  const auto a = random_mask(0, 0.5, 0, 100000), b = random_mask(1, 0.5, 0, 100000);
  double both = 0;
  for (std::size_t i = 0; i < a.size(); ++i) both += a[i] * b[i];
  EXPECT_NEAR(both, 25000, 5 * std::sqrt(100000 * 0.25 * 0.75));
}

}  // namespace
}  // namespace solera::weights
