#include "solera/merge/methods/wise_ft.h"

#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const Values& base, const Values& tuned, double alpha) {
  Values out(base.size());
  wise_ft(base, tuned, {alpha}, out);
  return out;
}

TEST(WiseFt, BetweenTheTwo) {
  EXPECT_EQ(run(kBase, kA, 0.5), Values({1.5f, 0, 2.5f, 1.25f}));
  EXPECT_EQ(run(kBase, kA, 0.25), Values({1.25f, 0.5f, 1.75f, 1.125f}));
}

TEST(WiseFt, EndsAreTheModelsBitForBit) {
  const Values base = {0.1f, -0.0f, 1e30f}, tuned = {0.3f, 2, -0.0f};
  EXPECT_EQ(run(base, tuned, 0), base);
  EXPECT_EQ(signs(run(base, tuned, 0)), signs(base));
  EXPECT_EQ(run(base, tuned, 1), tuned);
  EXPECT_EQ(signs(run(base, tuned, 1)), signs(tuned));
}

}  // namespace
}  // namespace solera::merge
