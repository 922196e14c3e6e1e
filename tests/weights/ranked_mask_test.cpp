#include "solera/weights/ranked_mask.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include <gtest/gtest.h>

#include "solera/base/error.h"
#include "solera/base/random.h"
#include "solera/weights/elements.h"

namespace solera::weights {
namespace {

template <class T>
void expect_mask(const std::vector<T>& values, const RandomStream& stream, double density, double epsilon) {
  const std::size_t n = values.size();
  std::vector<std::uint32_t> thresholds(n);
  for (std::size_t r = 0; r < n; ++r) {
    const double share = n > 1 ? static_cast<double>(r) / static_cast<double>(n - 1) : 0.5;
    thresholds[r] = static_cast<std::uint32_t>((density + epsilon - 2 * epsilon * share) * 0x1p32);
  }
  MagnitudeOrder<T> order;
  const auto ranked = order.sort(values);
  std::vector<T> expected = values, got = values;
  for (std::size_t r = 0; r < n; ++r)
    if (draw_of(stream, 1000 + ranked[r]) >= thresholds[r]) expected[ranked[r]] = 0;
  static RankedMask<T> mask;  // its memory is used again
  mask.keep(stream, 1000, thresholds, got);
  ASSERT_EQ(got, expected) << n;
}

TEST(RankedMask, IsWhatTheOrderSays) {
  const std::vector<std::function<double(const RandomStream&, std::size_t)>> distributions = {
      [](const RandomStream& s, std::size_t i) { return s.normal(i); },
      [](const RandomStream& s, std::size_t i) { return std::exp(20 * s.normal(i)); },
      [](const RandomStream& s, std::size_t i) { return static_cast<double>(s.below(i, 5)) - 2; },
      [](const RandomStream& s, std::size_t i) { return i % 3 ? 0 : s.normal(i); },
      [](const RandomStream& s, std::size_t i) { return i == 7 ? 1e6 : s.normal(i); },
      [](const RandomStream& s, std::size_t i) { return std::round(64 * s.normal(i)) / 64; },
      [](const RandomStream&, std::size_t) { return -0.25; },
  };
  for (const std::string& target : simd_targets())
    for (std::uint64_t kind = 0; kind < distributions.size(); ++kind)
      for (const std::size_t n : {0, 1, 2, 63, 64, 100, 1000, 5000}) {
        pin_simd_target(target);
        SCOPED_TRACE(cat(target, " ", kind));
        const RandomStream stream({.seed = n, .purpose = "test.ranked", .input = kind});
        std::vector<float> narrow(n);
        std::vector<double> wide(n);
        for (std::size_t i = 0; i < n; ++i)
          narrow[i] = static_cast<float>(wide[i] = distributions[static_cast<std::size_t>(kind)](stream, i));
        for (const double epsilon : {0.01, 0.15, 0.4}) {
          expect_mask(narrow, stream, 0.5, epsilon);
          expect_mask(wide, stream, 0.5, epsilon);
        }
      }
  pin_simd_target("");
}

}  // namespace
}  // namespace solera::weights
