#include "solera/weights/magnitude_order.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include <gtest/gtest.h>

#include "solera/base/random.h"

namespace solera::weights {
namespace {

template <class T>
void expect_order(const std::vector<T>& values) {
  std::vector<std::uint32_t> expected(values.size());
  std::iota(expected.begin(), expected.end(), 0u);
  std::stable_sort(expected.begin(), expected.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return std::abs(values[a]) > std::abs(values[b]); });
  static MagnitudeOrder<T> order;  // its memory is used again
  const auto got = order.sort(values);
  ASSERT_EQ(std::vector<std::uint32_t>(got.begin(), got.end()), expected) << values.size();
}

TEST(MagnitudeOrder, IsAStableSortOfAnyDistribution) {
  const std::vector<std::function<double(const RandomStream&, std::size_t)>> distributions = {
      [](const RandomStream& s, std::size_t i) { return s.normal(i); },
      [](const RandomStream& s, std::size_t i) { return std::exp(20 * s.normal(i)); },  // many powers of two
      [](const RandomStream& s, std::size_t i) { return static_cast<double>(s.below(i, 5)) - 2; },  // ties and zeros
      [](const RandomStream& s, std::size_t i) { return i % 3 ? 0 : 1e-30 * s.normal(i); },
      [](const RandomStream& s, std::size_t i) { return i == 7 ? 1e6 : s.normal(i); },  // all but one far below
      [](const RandomStream& s, std::size_t i) { return 1 + 1e-4 * s.normal(i); },      // all in one bucket
      [](const RandomStream&, std::size_t) { return -0.25; },
  };
  for (std::uint64_t kind = 0; kind < distributions.size(); ++kind)
    for (const std::size_t n : {0, 1, 2, 3, 7, 16, 33, 100, 1000, 5000}) {
      SCOPED_TRACE(kind);
      const RandomStream stream({.seed = n, .purpose = "test.order", .input = kind});
      std::vector<float> narrow(n);
      std::vector<double> wide(n);
      for (std::size_t i = 0; i < n; ++i)
        narrow[i] = static_cast<float>(wide[i] = distributions[static_cast<std::size_t>(kind)](stream, i));
      expect_order(narrow);
      expect_order(wide);
    }
}

}  // namespace
}  // namespace solera::weights
