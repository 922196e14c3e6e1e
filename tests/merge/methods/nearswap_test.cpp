#include "solera/merge/methods/nearswap.h"

#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const Values& base, const Values& other, double t) {
  Values out(base.size());
  nearswap(base, other, {t}, out);
  return out;
}

TEST(Nearswap, Oracle) { expect_near(run(kA, kB, 0.5), {2.5, -0.5, 3.5, 1.5}); }

TEST(Nearswap, NearEntriesAreSwappedAndFarOnesStepByT) {
  expect_near(run({0, 0, 0, 0}, {0.25f, -0.25f, 10, -100}, 0.25), {0.25, -0.25, 0.25, -0.25});
}

TEST(Nearswap, Ends) {
  EXPECT_EQ(run(kA, kB, 0), kA);
  EXPECT_EQ(run(kA, kB, 100), kB);
  EXPECT_EQ(run(kA, kB, -1), kA);
}

TEST(Nearswap, ADistanceBelowAMillionthCountsAsOne) {
  EXPECT_FLOAT_EQ(run({0}, {1e-7f}, 5e-7)[0], 0.5e-7f);
  EXPECT_EQ(run({3}, {3}, 0)[0], 3);
}

}  // namespace
}  // namespace solera::merge
