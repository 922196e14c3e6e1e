// Short ways to call a method's formula in a test.
#pragma once

#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "tests/support/support.h"

namespace solera::merge::test {

using Values = std::vector<float>;

inline std::vector<std::span<const float>> spans(const std::vector<Values>& models) {
  return {models.begin(), models.end()};
}

inline void expect_near(const Values& got, const std::vector<double>& expected, double tolerance = 1e-6) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], tolerance) << "entry " << i;
}

// The sheet's common inputs.
inline const Values kBase = {1, 1, 1, 1}, kA = {2, -1, 4, 1.5f}, kB = {3, 2, 0, 1.5f};

// Bits, so that -0 differs from 0.
inline std::vector<bool> signs(const Values& values) {
  std::vector<bool> result;
  for (const float v : values) result.push_back(std::signbit(v));
  return result;
}

}  // namespace solera::merge::test
