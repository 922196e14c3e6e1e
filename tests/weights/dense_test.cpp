#include "solera/weights/dense.h"

#include <array>
#include <cmath>
#include <vector>

#include "solera/base/random.h"
#include "solera/weights/elements.h"
#include "tests/support/support.h"

namespace solera::weights {
namespace {

std::vector<double> draws(std::int64_t n, std::uint64_t input) {
  const RandomStream stream({.seed = 3, .purpose = "test.dense", .input = input});
  std::vector<double> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = stream.normal(i);
  return values;
}

// X^T X of random rows, so that it is positive definite.
std::vector<double> positive_definite(std::int64_t n) {
  const std::int64_t rows = n + 10;
  const auto x = draws(rows * n, 9);
  std::vector<double> g(static_cast<std::size_t>(n * n));
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j) g[i * n + j] += x[r * n + i] * x[r * n + j];
  return g;
}

TEST(Dense, ProductsAddInOrderOnEveryTargetAndThreadCount) {
  Pool one(1), three(3);
  using Sizes = std::array<std::int64_t, 3>;
  for (const auto& [m, n, depth] :
       {Sizes{1, 1, 1}, Sizes{0, 3, 2}, Sizes{3, 5, 0}, Sizes{5, 17, 3}, Sizes{66, 300, 130}}) {
    const auto a = draws(m * depth, 0), b = draws(depth * n, 1), start = draws(m * n, 2);
    std::vector<double> a_transposed(a.size()), expected = start;
    for (int i = 0; i < m; ++i)
      for (int k = 0; k < depth; ++k) a_transposed[k * m + i] = a[i * depth + k];
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j)
        for (int k = 0; k < depth; ++k)
          expected[i * n + j] = expected[i * n + j] + -0.7 * a[i * depth + k] * b[k * n + j];
    for (const std::string& target : simd_targets())
      for (Pool* pool : {&one, &three})
        for (const bool transposed : {false, true}) {
          pin_simd_target(target);
          std::vector<double> c = start;
          add_product(*pool, {.m = m,
                              .n = n,
                              .depth = depth,
                              .factor = -0.7,
                              .a = transposed ? a_transposed.data() : a.data(),
                              .a_row = transposed ? 1 : depth,
                              .a_column = transposed ? m : 1,
                              .b = b.data(),
                              .b_row = n,
                              .c = c.data(),
                              .c_row = n});
          EXPECT_EQ(c, expected) << target << " " << m << "x" << n << "x" << depth;
        }
    pin_simd_target("");
  }
}

TEST(Dense, CholeskyByHand) {
  Pool pool(1);
  std::vector<double> g = {4, 2, 99, 10}, row = {8, 22};  // what lies below the diagonal is not read
  ASSERT_FALSE(factor_cholesky(pool, g.data(), 2));
  EXPECT_EQ(g, (std::vector<double>{2, 1, 99, 3}));
  solve_cholesky(pool, g.data(), 2, row.data(), 1);  // [1 2] [4 2; 2 10] = [8 22]
  EXPECT_EQ(row, (std::vector<double>{1, 2}));
}

TEST(Dense, SolutionsSolveAndHaveTheSameBitsEverywhere) {
  Pool one(1), three(3);
  for (const std::int64_t n : {1, 2, 63, 64, 65, 150}) {
    constexpr std::int64_t kRows = 70;
    const auto g = positive_definite(n), x = draws(kRows * n, 4);
    std::vector<double> right(x.size()), first;
    add_product(one, {.m = kRows,
                      .n = n,
                      .depth = n,
                      .a = x.data(),
                      .a_row = n,
                      .b = g.data(),
                      .b_row = n,
                      .c = right.data(),
                      .c_row = n});
    for (const std::string& target : simd_targets())
      for (Pool* pool : {&one, &three}) {
        pin_simd_target(target);
        auto u = g, solution = right;
        ASSERT_FALSE(factor_cholesky(*pool, u.data(), n));
        solve_cholesky(*pool, u.data(), n, solution.data(), kRows);
        for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(solution[i], x[i], 1e-8) << n;
        if (first.empty()) first = solution;
        EXPECT_EQ(solution, first) << target << " n=" << n;
      }
    pin_simd_target("");
  }
}

TEST(Dense, WhatIsNotPositiveDefiniteIsFound) {
  Pool pool(1);
  std::vector<double> g = {1, 2, 2, 1};
  EXPECT_EQ(factor_cholesky(pool, g.data(), 2), 1);
  g = {1, 1, 1, 1};  // the second pivot is exactly 0
  EXPECT_EQ(factor_cholesky(pool, g.data(), 2), 1);
  g = {0, 0, 0, 1};
  EXPECT_EQ(factor_cholesky(pool, g.data(), 2), 0);
  g = {NAN, 0, 0, 1};
  EXPECT_EQ(factor_cholesky(pool, g.data(), 2), 0);
  // Feature 70 repeats feature 3: its pivot is rounding.
  constexpr std::int64_t n = 80;
  g = positive_definite(n);
  for (std::int64_t i = 0; i < n; ++i) g[i * n + 70] = g[i * n + 3];
  for (std::int64_t i = 0; i < n; ++i) g[70 * n + i] = g[3 * n + i];
  EXPECT_EQ(factor_cholesky(pool, g.data(), n, 1e-12), 70);
}

}  // namespace
}  // namespace solera::weights
