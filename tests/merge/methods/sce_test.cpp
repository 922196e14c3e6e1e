#include "solera/merge/methods/sce.h"

#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const Values& base, const std::vector<Values>& tuned, double topk = 1) {
  Values out(base.size());
  sce(base, spans(tuned), {topk}, out);
  return out;
}

TEST(Sce, Oracles) {
  // mean squares 3.5625 and 1.5625: weights .695122, .304878
  expect_near(run(kBase, {kA, kB}), {1 + 1.304878, 1 - 2, 1 + 3, 1.5});
  expect_near(run(kBase, {kA, kB}, 0.5), {1, 1, 4, 1});  // variances .25, 2.25, 4, 0: one of three
}

TEST(Sce, SelectionCountsEntriesThatDiffer) {
  expect_near(run(kBase, {kA, kB}, 0.67), {1, -1, 4, 1});  // two of three; entry 1: -2 against 1
  EXPECT_EQ(run(kBase, {kA, kB}, 0.33), kBase);            // floor(.99) = 0: nothing
  EXPECT_EQ(run(kBase, {kA, kB}, 0), kBase);
  EXPECT_EQ(run(kBase, {kA, kA}, 0.9), kBase);  // nothing differs
  EXPECT_EQ(run(kBase, {kA, kA}), kA);
}

TEST(Sce, EqualVariancesGoByIndex) { expect_near(run({0, 0, 0, 0}, {{1, 1, 1, 1}, {0, 0, 0, 0}}, 0.5), {1, 1, 0, 0}); }

TEST(Sce, SmallChangesWeighTheSame) {
  // mean squares 1e-8 and 4e-8 sum to less than 1e-6
  expect_near(run({0, 0}, {{1e-4f, 1e-4f}, {2e-4f, 2e-4f}}), {1.5e-4, 1.5e-4}, 1e-10);
}

TEST(Sce, AWeightBelowAMillionthIsDividedByIt) {
  // the second model's mean square is 1e-8 of the whole, and it alone moves entry 1
  const Values out = run({0, 0}, {{1, 0}, {0, 1e-4f}});
  EXPECT_NEAR(out[0], 1, 1e-6);
  EXPECT_NEAR(out[1], 1e-4 * 1e-8 / 1e-6, 1e-12);
}

TEST(Sce, CancelledSumsTakeThePlus) { expect_near(run({0, 0}, {{1, 2}, {-1, 0}}), {1, 2}); }

}  // namespace
}  // namespace solera::merge
