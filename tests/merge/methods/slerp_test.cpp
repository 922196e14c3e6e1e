#include "solera/merge/methods/slerp.h"

#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const Values& a, const Values& b, double t) {
  Values out(a.size());
  slerp(a, b, {t}, out);
  return out;
}

TEST(Slerp, Oracles) {
  expect_near(run(kA, kB, 0.25), {2.656862, -0.203222, 3.384794, 1.751531}, 2e-6);
  expect_near(run({1, 0}, {0, 2}, 0.5), {0.707107, 1.414214});
}

TEST(Slerp, EndsAreTheModels) {
  expect_near(run(kA, kB, 0), {2, -1, 4, 1.5});
  expect_near(run(kA, kB, 1), {3, 2, 0, 1.5});
}

TEST(Slerp, NearlyParallelAndAntiparallelGoStraight) {
  expect_near(run({1, 2}, {2, 4.001f}, 0.5), {1.5, 3.0005});
  expect_near(run({1, 2}, {-1, -2}, 0.25), {0.5, 1.0});
}

TEST(Slerp, ZeroVectorsAreNotDividedBy) {
  for (const float v : run({0, 0}, {1, 2}, 0.5)) EXPECT_TRUE(std::isfinite(v));
  expect_near(run({0, 0}, {0, 0}, 0.5), {0, 0});
}

TEST(Slerp, OrthogonalUnitVectorsKeepTheirNorm) {
  for (double t = 0; t <= 1; t += 0.125) {
    const Values out = run({1, 0, 0}, {0, 0, 1}, t);
    EXPECT_NEAR(std::hypot(out[0], out[1], out[2]), 1.0, 1e-6);
  }
}

}  // namespace
}  // namespace solera::merge
