#include "solera/merge/methods/passthrough.h"

#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const Values& input, double scale) {
  Values out(input.size());
  passthrough(input, {scale}, out);
  return out;
}

TEST(Passthrough, ScalesOrKeepsEveryBit) {
  EXPECT_EQ(run(kA, 0.5), (Values{1, -0.5f, 2, 0.75f}));
  EXPECT_EQ(run(kA, 0), (Values{0, 0, 0, 0}));
  const Values x = {1.0f / 3, -0.0f, 1e-42f, 3e38f};
  EXPECT_EQ(run(x, 1), x);
  EXPECT_EQ(signs(run(x, 1)), signs(x));
}

}  // namespace
}  // namespace solera::merge
