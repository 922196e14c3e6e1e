#include "solera/weights/precision.h"

#include <cmath>
#include <vector>

#include "solera/base/random.h"
#include "solera/weights/elements.h"
#include "tests/support/support.h"

namespace solera::weights {
namespace {

template <class T>
std::vector<T> draws(std::int64_t n, std::uint64_t input, bool positive) {
  const RandomStream stream({.seed = 7, .purpose = "test.precision", .input = input});
  std::vector<T> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double value = stream.normal(i);
    values[i] = static_cast<T>(positive ? (i % 5 == input ? 0.0 : std::abs(value)) : value);
  }
  return values;
}

template <class T>
void expect_every_target_to_agree() {
  for (std::int64_t n = 0; n < 70; ++n) {
    auto x = draws<T>(n, 0, false), y = draws<T>(n, 1, false), f = draws<T>(n, 2, true), g = draws<T>(n, 2, true);
    const std::vector<T*> values = {x.data(), y.data()}, precisions = {f.data(), g.data()};
    std::vector<T> expected(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double a = 0.3 * std::max<double>(f[i], 0.25), b = 0.9 * std::max<double>(g[i], 0.0);
      expected[i] = a + b < 0.1 ? x[i] : static_cast<T>((a * x[i] + b * y[i]) / (a + b));
    }
    for (const std::string& target : simd_targets()) {
      pin_simd_target(target);
      std::vector<T> out(x.size());
      precision_mean<T>(std::vector{0.3, 0.9}, std::vector{0.25, 0.0}, 0.1, values, precisions, n, out.data());
      ASSERT_EQ(out, expected) << target << " n=" << n;
      EXPECT_TRUE(all_nonnegative(f.data(), n)) << target;
      for (std::size_t i = 0; i < f.size(); ++i)
        for (const T bad : {T(-1e-30), T(NAN)}) {
          const T good = f[i];
          f[i] = bad;
          ASSERT_FALSE(all_nonnegative(f.data(), n)) << target << " n=" << n << " i=" << i;
          f[i] = good;
        }
    }
    pin_simd_target("");
  }
}

TEST(Precision, EveryTargetGivesTheFormula) {
  expect_every_target_to_agree<float>();
  expect_every_target_to_agree<double>();
}

}  // namespace
}  // namespace solera::weights
