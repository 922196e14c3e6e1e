#include "solera/weights/spectral.h"

#include <algorithm>
#include <cmath>

#include "solera/base/random.h"
#include "tests/support/support.h"

namespace solera::weights {
namespace {

using Values = std::vector<double>;

Values draws(std::int64_t n, std::uint64_t input) {
  const RandomStream stream({.seed = 3, .purpose = "test.spectral", .input = input});
  Values values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(stream.normal(static_cast<std::uint64_t>(i)));
  return values;
}

// a [m, k] times b [k, n].
Values times(const Values& a, const Values& b, std::int64_t m, std::int64_t n) {
  const std::int64_t k = m > 0 ? std::ssize(a) / m : 0;
  Values c(static_cast<std::size_t>(m * n));
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j)
      for (std::int64_t x = 0; x < k; ++x) c[i * n + j] += a[i * k + x] * b[x * n + j];
  return c;
}

Values turned(const Values& a, std::int64_t m) {
  const std::int64_t n = m > 0 ? std::ssize(a) / m : 0;
  Values t(a.size());
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) t[j * m + i] = a[i * n + j];
  return t;
}

void expect_near(const Values& got, const Values& expected, double tolerance = 1e-12) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], tolerance) << i;
}

Values identity(std::int64_t n) {
  Values one(static_cast<std::size_t>(n * n));
  for (std::int64_t i = 0; i < n; ++i) one[i * n + i] = 1;
  return one;
}

TEST(Spectral, DecompositionsAreOrthonormalAndMultiplyBack) {
  // Wide, tall (by way of a triangle), square, a row and a column.
  for (const auto& [m, n] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{5, 9}, {40, 7}, {7, 40}, {24, 20}, {1, 6}, {6, 1}, {1, 1}}) {
    const Values matrix = draws(m * n, static_cast<std::uint64_t>(100 * m + n));
    const Decomposition d = decompose(matrix, m, n);
    EXPECT_EQ(d.rank, std::min(m, n));
    EXPECT_TRUE(std::is_sorted(d.values.rbegin(), d.values.rend()));
    expect_near(times(turned(d.left, m), d.left, d.rank, d.rank), identity(d.rank));
    expect_near(times(d.right, turned(d.right, d.rank), d.rank, d.rank), identity(d.rank));
    Values right = d.right;
    for (std::int64_t k = 0; k < d.rank; ++k)
      for (std::int64_t j = 0; j < n; ++j) right[k * n + j] *= d.values[k];
    expect_near(times(d.left, right, m, n), matrix);
    expect_near(nearest_isometry(matrix, m, n), times(d.left, d.right, m, n));
  }
}

TEST(Spectral, DirectionsThatAreNotThereAreNotListed) {
  const Values thin = times(draws(12, 1), draws(10, 2), 6, 5);  // of rank 2
  EXPECT_EQ(decompose(thin, 6, 5).rank, 2);
  EXPECT_EQ(decompose(thin, 6, 5, 1).rank, 1);
  EXPECT_EQ(decompose(Values(30, 0.0), 6, 5).rank, 0);
  EXPECT_EQ(decompose({3, 0, 0, 1e-8}, 2, 2).rank, 2);
  EXPECT_EQ(decompose({3, 0, 0, 1e-8}, 2, 2, 2, 1e9).rank, 1);  // rounding of something much larger
  EXPECT_EQ(nearest_isometry(Values(6, 0.0), 2, 3), Values(6, 0.0));
}

// A rotation by 0.3 times a stretch.
TEST(Spectral, ThePolarFactorOfAStretchedRotation) {
  const double c = std::cos(0.3), s = std::sin(0.3);
  const Values rotation = {c, -s, s, c}, stretch = {3, 1, 1, 2};
  expect_near(nearest_isometry(times(rotation, stretch, 2, 2), 2, 2), rotation);
}

}  // namespace
}  // namespace solera::weights
