#include "solera/merge/methods/ram.h"

#include "solera/merge/methods/ramplus_tl.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const Values& base, const std::vector<Values>& tuned, double epsilon = 1e-5) {
  Values out(base.size());
  ram(base, spans(tuned), {epsilon}, out);
  return out;
}

Values plus(const Values& base, const std::vector<Values>& tuned, const RamplusTlParams& params = {}) {
  Values out(base.size());
  ramplus_tl(base, spans(tuned), params, out);
  return out;
}

const std::vector<Values> kTwo = {{1, 0, 2, 0}, {3, 4, 0, 0}};

TEST(Ram, Oracle) { EXPECT_EQ(run({0, 0, 0, 0}, kTwo), Values({2, 4, 2, 0})); }

TEST(Ram, TheBaseIsAdded) { EXPECT_EQ(run({1, 1, 1}, {{2, 1, 1}, {1, 3, 1}, {1, 5, 1}}), Values({2, 4, 1})); }

TEST(Ram, ChangesUpToEpsilonCountAsNone) {
  EXPECT_EQ(run({0, 0}, {{0.5f, 0.75f}, {4, 0}}, 0.5), Values({4, 0.75f}));
  EXPECT_EQ(run(kBase, {kBase, kBase}), kBase);
}

TEST(RamplusTl, Oracle) { expect_near(plus({0, 0, 0, 0}, kTwo), {2, 4.08, 2.04, 0}); }

TEST(RamplusTl, FactorsByHand) {
  const RamplusTlParams params{.epsilon = 1e-5, .r = 0.5, .alpha = 0.9};
  EXPECT_DOUBLE_EQ(ramplus_tl_factor(3, 10, params), 1.15);
  EXPECT_DOUBLE_EQ(ramplus_tl_factor(30, 10, params), 1.45);
  EXPECT_DOUBLE_EQ(ramplus_tl_factor(3, 0, params), 1.45);
  EXPECT_DOUBLE_EQ(ramplus_tl_factor(0, 0, params), 1);
  EXPECT_DOUBLE_EQ(ramplus_tl_factor(0, 7, params), 1);
}

TEST(RamplusTl, EachModelHasItsOwnFactor) {
  // model 1: one shared, two alone; model 2: one shared, none alone
  expect_near(plus({0, 0, 0}, {{2, 1, -1}, {4, 0, 0}}, {.r = 1, .alpha = 9}), {3, 1.5, -1.5});
}

TEST(RamplusTl, WithoutGainItIsRam) { EXPECT_EQ(plus(kBase, {kA, kB}, {.r = 0}), run(kBase, {kA, kB})); }

}  // namespace
}  // namespace solera::merge
