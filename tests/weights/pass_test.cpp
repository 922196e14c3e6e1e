#include "solera/weights/pass.h"

#include <cmath>
#include <numeric>

#include "solera/base/random.h"
#include "solera/weights/vector.h"
#include "tests/weights/fixture.h"

namespace solera::weights {
namespace {

using checkpoint::DType;

std::vector<double> normals(std::int64_t n, std::uint64_t input) {
  const RandomStream stream({.seed = 3, .purpose = "test.pass", .input = input});
  std::vector<double> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = stream.normal(i);
  return values;
}

struct Dot {
  LaneSum sum;
  void merge(const Dot& right) { sum.merge(right.sum); }
};

double dot(Pool& pool, const Blocking& blocking, std::span<const Operand> operands) {
  const Engine engine{&pool, blocking, false, {}};
  return reduce<float, Dot>(engine, operands,
                            [](const Tile<float>& t, Dot& s) { s.sum.add_product(t[0], t[1], t.count); })
      .sum.total();
}

TEST(Pass, SumsDoNotDependOnThreadsOrChunks) {
  for (const std::int64_t n : {1, 3, 4, 5, 63, 1000}) {
    const test::Model model(
        {test::tensor("a", DType::kF32, {n}, normals(n, 0)), test::tensor("b", DType::kBF16, {n}, normals(n, 1))});
    const std::vector<Operand> operands = {model.operand("a"), model.operand("b")};
    Pool one(1);
    const double expected = dot(one, {4, 1}, operands);
    const auto a = test::values(*model.checkpoint, "a"), b = test::values(*model.checkpoint, "b");
    EXPECT_NEAR(expected, std::inner_product(a.begin(), a.end(), b.begin(), 0.0), 1e-9);
    for (const int threads : {1, 2, 7}) {
      Pool pool(threads);
      for (const std::int64_t chunk : {1, 7, 4096}) EXPECT_EQ(dot(pool, {4, chunk}, operands), expected);
    }
  }
}

TEST(Pass, SumsOverRowsDoNotDependOnThreads) {
  for (const std::int64_t row : {1, 3, 20, 60}) {
    const test::Model model({test::tensor("a", DType::kF32, {60 / row, row}, normals(60, 0)),
                             test::tensor("b", DType::kF32, {60 / row, row}, normals(60, 1))});
    const std::vector<Operand> operands = {model.operand("a"), model.operand("b")};
    const auto sum = [&](int threads, std::int64_t chunk) {
      Pool pool(threads);
      const Engine engine{&pool, {16, chunk}, false, {}};
      return reduce_rows<float, Dot>(engine, operands, row,
                                     [&](const Tile<float>& t, Dot& s) {
                                       EXPECT_EQ(t.count, row);
                                       s.sum.add_product(t[0], t[1], t.count);
                                     })
          .sum.total();
    };
    const auto a = test::values(*model.checkpoint, "a"), b = test::values(*model.checkpoint, "b");
    EXPECT_NEAR(sum(1, 1), std::inner_product(a.begin(), a.end(), b.begin(), 0.0), 1e-9);
    for (const int threads : {2, 7})
      for (const std::int64_t chunk : {1, 7}) EXPECT_EQ(sum(threads, chunk), sum(1, 1));
  }
}

TEST(Pass, TilesCoverEveryElementOnceInOrderWithinABlock) {
  const std::int64_t n = 20000;
  const test::Model model({test::tensor("a", DType::kF32, {n}, normals(n, 0))});
  const std::vector<Operand> operands = {model.operand("a")};
  Pool pool(3);
  const Engine engine{&pool, {10000, 1}, false, {}};
  std::vector<int> seen(static_cast<std::size_t>(n));
  std::vector<std::int64_t> next = {0, 10000};
  for_tiles<float>(engine, operands, 0, [&](const Tile<float>& tile, std::int64_t block, int) {
    EXPECT_EQ(tile.first, next[static_cast<std::size_t>(block)]);
    EXPECT_LE(tile.count, kTile);
    next[static_cast<std::size_t>(block)] += tile.count;
    EXPECT_EQ(tile.last, next[static_cast<std::size_t>(block)] == (block + 1) * 10000);
    for (std::int64_t i = 0; i < tile.count; ++i) ++seen[static_cast<std::size_t>(tile.first + i)];
  });
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), n);
}

TEST(Pass, EmptyTensorsHaveNoTiles) {
  const test::Model model({test::tensor("a", DType::kF32, {0, 3}, {})});
  const std::vector<Operand> operands = {model.operand("a")};
  Pool pool(2);
  const Engine engine{&pool, {}, false, {}};
  for_tiles<float>(engine, operands, 0, [](const Tile<float>&, std::int64_t, int) { FAIL(); });
  for_rows<float>(engine, operands, 3, 0, [](const Tile<float>&) { FAIL(); });
  EXPECT_EQ((reduce<float, Dot>(engine, operands, [](const Tile<float>&, Dot&) {}).sum.total()), 0.0);
}

TEST(Pass, RowsArriveWhole) {
  const test::Model model({test::tensor("a", DType::kF32, {5, 3}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14})});
  const std::vector<Operand> operands = {model.operand("a")};
  Pool pool(2);
  const Engine engine{&pool, {4, 1}, false, {}};
  std::atomic<int> rows = 0;
  for_rows<float>(engine, operands, 3, 1, [&](const Tile<float>& tile) {
    EXPECT_EQ(tile.count, 3);
    EXPECT_EQ(tile[0][2], static_cast<float>(tile.first + 2));
    ++rows;
  });
  EXPECT_EQ(rows, 5);
}

TEST(Pass, NonFiniteValuesAreNamed) {
  std::vector<double> values(5000, 1.0);
  values[4321] = std::nan("");
  const test::Model model({test::tensor("h.w", DType::kF16, {5000}, values)});
  const std::vector<Operand> operands = {model.operand("h.w")};
  Pool pool(2);
  Engine engine{&pool, {16, 1}, false, {}};
  test::VectorSink<float> sink(5000);
  const auto copy = [](const Tile<float>& t, float* out) { std::copy_n(t[0], t.count, out); };
  EXPECT_EQ(test::message_of([&] { map<float>(engine, operands, sink, copy); }),
            "model: h.w holds NaN at element 4321 (" + model.folder.path() +
                "/model.safetensors); use --allow-nonfinite to let it through");
  engine.allow_nonfinite = true;
  map<float>(engine, operands, sink, copy);
  EXPECT_TRUE(std::isnan(sink.values[4321]));
}

TEST(Pass, CastRoundsBeforeArithmetic) {
  const test::Model model({test::tensor("a", DType::kF32, {1}, {1.0 / 3})});
  Operand operand = model.operand("a");
  operand.cast = DType::kBF16;
  Pool pool(1);
  const Engine engine{&pool, {}, false, {}};
  float value = 0;
  load_range(engine, operand, 0, 1, &value);
  EXPECT_EQ(value, 0.333984375f);
  operand.cast = DType::kF64;
  EXPECT_TRUE(needs_double(std::vector<Operand>{operand}));
}

TEST(Pass, BlockingFitsTheMemory) {
  for (const int threads : {1, 2, 8})
    for (const int operands : {1, 4, 100}) {
      const Blocking blocking = fit_blocking(256 << 20, threads, operands);
      EXPECT_GE(blocking.blocks_per_chunk, 1);
      if (blocking.blocks_per_chunk > 1) {
        EXPECT_LE(scratch_bytes(blocking, operands) * static_cast<std::uint64_t>(threads), 256u << 20);
      }
    }
  EXPECT_EQ(fit_blocking(0, 1, 1).blocks_per_chunk, 1);
}

}  // namespace
}  // namespace solera::weights
