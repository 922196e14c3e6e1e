#include "solera/merge/methods/nuslerp.h"

#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const Values& base, const Values& a, const Values& b, double wa, double wb) {
  Values out(a.size());
  const std::vector<NuslerpModel> models = {{wa}, {wb}};
  nuslerp(base, spans({a, b}), models, out);
  return out;
}

TEST(Nuslerp, Oracles) {
  expect_near(run(kBase, kA, kB, 0.75, 0.25), {2.970692, -0.589984, 3.620115, 1.750206});
  expect_near(run({}, kA, kB, 0.75, 0.25), {2.656862, -0.203222, 3.384794, 1.751531}, 2e-6);  // SLERP, t = .25
  expect_near(run({}, {1, 0}, {0, 2}, 3, 3), {0.707107, 1.414214});
}

TEST(Nuslerp, PositionIsTheSecondShare) {
  EXPECT_EQ(nuslerp_position(std::vector<NuslerpModel>{{1}, {3}}), 0.75);
  EXPECT_EQ(nuslerp_position(std::vector<NuslerpModel>{{-1}, {2}}), 2.0);
  EXPECT_EQ(nuslerp_position(std::vector<NuslerpModel>{{1}, {-1}}), 0.5);
  EXPECT_EQ(nuslerp_position(std::vector<NuslerpModel>{{4e-7}, {4e-7}}), 0.5);
}

TEST(Nuslerp, EndsAreTheModels) {
  EXPECT_EQ(run({}, kA, kB, 1, 0), kA);
  EXPECT_EQ(run({}, kA, kB, 0, 2), kB);
  EXPECT_EQ(run(kBase, kA, kB, 1, 0), kA);
}

TEST(Nuslerp, ParallelAndOppositeVectorsGoStraight) {
  expect_near(run({}, {1, 2}, {2, 4}, 1, 1), {1.5, 3});
  expect_near(run({}, {1, 2}, {-1, -2}, 3, 1), {0.5, 1});
}

TEST(Nuslerp, AVectorOfZerosIsOrthogonal) {
  const double half = std::sqrt(0.5);
  expect_near(run({}, {0, 0}, {1, 2}, 1, 1), {half, 2 * half});
  EXPECT_EQ(run({1, 1}, {1, 1}, {1, 1}, 1, 1), Values({1, 1}));
}

}  // namespace
}  // namespace solera::merge
