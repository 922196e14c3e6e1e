#include "solera/weights/mixing.h"

#include <cmath>
#include <vector>

#include "solera/base/random.h"
#include "solera/weights/columns.h"
#include "solera/weights/elements.h"
#include "tests/support/support.h"

namespace solera::weights {
namespace {

template <class T>
std::vector<T> draws(std::int64_t n, std::uint64_t input) {
  const RandomStream stream({.seed = 9, .purpose = "test.mixing", .input = input});
  std::vector<T> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(stream.normal(i));
  return values;
}

// What every kernel makes of inputs of length n, flattened: equal on every target.
template <class T>
std::vector<double> everything(std::int64_t n) {
  auto a = draws<T>(n, 0), b = draws<T>(n, 1), c = draws<T>(n, 2);
  const auto fa = draws<double>(n, 3), fb = draws<double>(n, 4);
  std::vector<T> out(a.size());
  std::vector<double> all;
  const auto keep = [&](const auto& values) { all.insert(all.end(), values.begin(), values.end()); };
  const std::vector<T*> rows = {a.data(), b.data(), c.data()};
  near_swap<T>(T(0.3), a.data(), b.data(), n, out.data());
  keep(out);
  const std::vector<T> alone = {T(1.1), T(0.9), T(-0.3)};
  mean_of_active<T>(T(0.8), alone, rows, n, out.data());
  keep(out);
  std::vector<std::int64_t> shared(3, 1), single(3, 2);
  count_active<T>(T(0.8), rows, n, shared, single);
  keep(shared);
  keep(single);
  variance_of<T>(rows, n, out.data());
  keep(out);
  std::vector<double> sums(a.size(), 0.5);
  add_products<T>(a.data(), b.data(), n, sums.data());
  keep(sums);
  add_scaled_by<T>(c.data(), fa.data(), a.data(), fb.data(), b.data(), n, out.data());
  keep(out);
  add_scaled_by<T>(nullptr, fa.data(), a.data(), fb.data(), b.data(), n, out.data());
  keep(out);
  take_above<T>(T(0.6), c.data(), a.data(), b.data(), n, out.data());
  keep(out);
  keep_where_positive<T>(a.data(), n, b.data());
  keep(b);
  return all;
}

TEST(Mixing, EveryTargetGivesTheSameBits) {
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

TEST(Mixing, ByHand) {
  std::vector<float> a = {1, 0, 2, 0, 5}, b = {3, 4, 0, 0, -1}, out(5);
  const std::vector<float*> rows = {a.data(), b.data()};
  mean_of_active<float>(0.5f, std::vector<float>{10, 100}, rows, 5, out.data());
  EXPECT_EQ(out, (std::vector<float>{2, 400, 20, 0, 2}));
  std::vector<std::int64_t> shared(2), alone(2);
  count_active<float>(0.5f, rows, 5, shared, alone);
  EXPECT_EQ(shared, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(alone, (std::vector<std::int64_t>{1, 1}));
  variance_of<float>(rows, 5, out.data());
  EXPECT_EQ(out, (std::vector<float>{1, 4, 1, 0, 9}));
  near_swap<float>(3, a.data(), b.data(), 5, out.data());
  EXPECT_EQ(out, (std::vector<float>{3, 3, 0, 0, 2}));
  take_above<float>(2, a.data(), a.data(), b.data(), 5, out.data());
  EXPECT_EQ(out, (std::vector<float>{1, 0, 0, 0, -1}));
  keep_where_positive<float>(a.data(), 5, b.data());
  EXPECT_EQ(b, (std::vector<float>{3, 0, 0, 0, -1}));
}

TEST(Columns, PiecesEndWithTheirRow) {
  std::vector<std::vector<std::int64_t>> pieces;
  for_row_pieces(5, 9, 4,
                 [&](std::int64_t at, std::int64_t column, std::int64_t n) { pieces.push_back({at, column, n}); });
  EXPECT_EQ(pieces, (std::vector<std::vector<std::int64_t>>{{0, 1, 3}, {3, 0, 4}, {7, 0, 2}}));
}

TEST(Columns, MemoryFollowsTheShape) {
  EXPECT_EQ(column_memory(std::vector<std::int64_t>{4, 10}), 4u * 10 * 24);        // a group a row
  EXPECT_EQ(column_memory(std::vector<std::int64_t>{1000, 5, 2}), 16u * 10 * 24);  // at most sixteen
  EXPECT_LE(column_memory(std::vector<std::int64_t>{1000, 1000000}), 64u << 20);
  EXPECT_EQ(column_memory(std::vector<std::int64_t>{0, 10}), 10u * 24);
}

}  // namespace
}  // namespace solera::weights
