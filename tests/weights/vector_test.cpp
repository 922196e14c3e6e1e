#include "solera/weights/vector.h"

#include <cmath>
#include <numeric>
#include <vector>

#include "solera/base/random.h"
#include "solera/weights/elements.h"
#include "tests/support/support.h"

namespace solera::weights {
namespace {

template <class T>
std::vector<T> draws(std::int64_t n, std::uint64_t input) {
  const RandomStream stream({.seed = 7, .purpose = "test.vector", .input = input});
  std::vector<T> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(stream.normal(i));
  return values;
}

// What every kernel makes of inputs of length n, flattened: equal on every target.
template <class T>
std::vector<double> everything(std::int64_t n) {
  auto a = draws<T>(n, 0), b = draws<T>(n, 1), c = draws<T>(n, 2);
  std::vector<T> out(a.size());
  std::vector<double> all;
  const auto keep = [&](const std::vector<T>& values) { all.insert(all.end(), values.begin(), values.end()); };
  std::vector<T*> rows = {a.data(), b.data(), c.data()};
  weighted_mean<T>(std::vector<double>{0.2, -0.7, 1.1}, 0.6, rows, n, out.data());
  keep(out);
  scaled_sum<T>(T(0.3), a.data(), T(-0.4), b.data(), n, out.data());
  keep(out);
  add_scaled_band<T>(T(0.7), T(0.2), T(1.1), c.data(), n, out.data());
  add_scaled<T>(T(0.1), b.data(), n, out.data());
  keep(out);
  const std::vector<T> weights = {T(0.5), T(-0.3), T(0.9)};
  for (const Election rule :
       {Election{true, true, true}, Election{false, false, false}, Election{false, true, true, 0.6}}) {
    elect<T>(rule, weights, rows, n, out.data());
    keep(out);
  }
  const SignCount signs = count_signs<T>(rows, n);
  all.insert(all.end(), {double(signs.any), double(signs.all), double(signs.mixed)});
  LaneSum sum;
  sum.add_product(a.data(), b.data(), n);
  sum.add(c.data(), n);
  sum.add_magnitudes(b.data(), n);
  all.push_back(sum.total());
  const BandCount count = count_band<T>(a.data(), T(0.3), T(1.2), n, out.data());
  all.insert(all.end(), {double(count.above), double(count.at_high), double(count.between), double(count.at_low)});
  all.insert(all.end(), out.begin(), out.begin() + count.between);
  difference(a.data(), b.data(), n, a.data());
  keep_band<T>(T(0.3), T(1.2), n, a.data());
  keep(a);
  return all;
}

TEST(Vector, EveryTargetGivesTheSameBits) {
  for (std::int64_t n = 0; n < 70; ++n) {
    pin_simd_target(simd_targets().back());  // the portable one
    const auto floats = everything<float>(n), doubles = everything<double>(n);
    for (const std::string& target : simd_targets()) {
      pin_simd_target(target);
      ASSERT_EQ(everything<float>(n), floats) << target << " n=" << n;
      ASSERT_EQ(everything<double>(n), doubles) << target << " n=" << n;
    }
    pin_simd_target("");
  }
}

TEST(Vector, EqualInputsHaveThemselvesAsMean) {
  for (const std::size_t k : {1u, 2u, 3u, 7u, 10u, 50u}) {
    auto values = draws<float>(100, 3);
    std::vector<float*> rows(k, values.data());
    std::vector<float> out(values.size());
    weighted_mean<float>(std::vector<double>(k, 1.0), static_cast<double>(k), rows, 100, out.data());
    EXPECT_EQ(out, values) << k;
    weighted_mean<float>(std::vector<double>(k, 1.0 / static_cast<double>(k)), 1.0, rows, 100, out.data());
    EXPECT_EQ(out, values) << k;
  }
}

TEST(Vector, BandCountsAndKeepsByMagnitude) {
  std::vector<float> values = {0.5f, -0.1f, 0.0f, -0.9f, 0.3f, -0.3f, 0.9f, 0.2f}, between(8);
  const BandCount count = count_band(values.data(), 0.2f, 0.9f, 8, between.data());
  EXPECT_EQ(count.above, 0);
  EXPECT_EQ(count.at_high, 2);
  EXPECT_EQ(count.at_low, 1);
  ASSERT_EQ(count.between, 3);
  EXPECT_EQ(between[0], 0.5f);
  const BandCount one = count_band(values.data(), 0.3f, 0.3f, 8, between.data());
  EXPECT_EQ(one.above, 3);
  EXPECT_EQ(one.at_high, 2);
  EXPECT_EQ(one.at_low, 0);
  keep_band(0.2f, 0.5f, 8, values.data());
  EXPECT_EQ(values, (std::vector<float>{0.5f, 0, 0, 0, 0.3f, -0.3f, 0, 0}));
}

TEST(Vector, AddingABandIsKeepingItAndAdding) {
  for (std::int64_t n = 0; n < 70; ++n) {
    auto a = draws<float>(n, 6), sum = draws<float>(n, 7), expected = sum;
    add_scaled_band(0.3f, 0.4f, 1.5f, a.data(), n, sum.data());
    keep_band(0.4f, 1.5f, n, a.data());
    add_scaled(0.3f, a.data(), n, expected.data());
    ASSERT_EQ(sum, expected) << n;
  }
}

TEST(Vector, SignsAreCountedByPlace) {
  std::vector<float> a = {1, -2, 0, 0, -1}, b = {2, 1, 0, -3, -1};
  const SignCount count = count_signs<float>(std::vector<float*>{a.data(), b.data()}, 5);
  EXPECT_EQ(count.any, 4);
  EXPECT_EQ(count.all, 3);
  EXPECT_EQ(count.mixed, 1);
}

TEST(Vector, ElectionFollowsTheFormula) {
  std::vector<double> a = {1, -2, 0, 1}, b = {2, 1, 0, -1}, out(4);
  std::vector<double*> rows = {a.data(), b.data()};
  elect<double>({}, std::vector<double>{1, 1}, rows, 4, out.data());
  EXPECT_EQ(out, (std::vector<double>{1.5, -2, 0, 1}));
  elect<double>({.zero_is_positive = false}, std::vector<double>{1, 1}, rows, 4, out.data());
  EXPECT_EQ(out[3], -1);
  elect<double>({.normalize = false}, std::vector<double>{0.5, 3}, rows, 4, out.data());
  EXPECT_EQ(out, (std::vector<double>{6.5, 3, 0, -3}));
  elect<double>({.weighted_vote = false, .normalize = false}, std::vector<double>{0.5, 3}, rows, 4, out.data());
  EXPECT_EQ(out, (std::vector<double>{6.5, -1, 0, 0.5}));
}

TEST(Vector, LaneSumIsNearTheExactSum) {
  const auto a = draws<float>(65536, 4), b = draws<float>(65536, 5);
  LaneSum sum;
  sum.add_product(a.data(), b.data(), 65536);
  const long double exact = std::inner_product(a.begin(), a.end(), b.begin(), 0.0L, std::plus<>(),
                                               [](long double x, long double y) { return x * y; });
  EXPECT_NEAR(sum.total(), static_cast<double>(exact), 1e-9);
  LaneSum magnitudes;
  magnitudes.add_magnitudes(a.data(), 65536);
  EXPECT_NEAR(magnitudes.total(),
              std::accumulate(a.begin(), a.end(), 0.0, [](double s, float v) { return s + std::abs(v); }), 1e-9);
}

}  // namespace
}  // namespace solera::weights
