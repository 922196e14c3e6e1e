#include "solera/weights/widths.h"

#include <bit>
#include <cmath>
#include <limits>

#include "solera/base/random.h"
#include "solera/weights/elements.h"
#include "tests/support/support.h"

namespace solera::weights {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Rounding to odd by its definition: the value itself, or that neighbour of it whose last bit is 1.
float odd_neighbour(double value) {
  const auto nearest = static_cast<float>(value);
  if (static_cast<double>(nearest) == value) return nearest;
  const float other = std::nextafter(nearest, static_cast<double>(nearest) < value ? kInfinity : -kInfinity);
  const float odd = std::bit_cast<std::uint32_t>(nearest) % 2 == 1 ? nearest : other;
  return std::isinf(odd) ? std::copysign(std::numeric_limits<float>::max(), odd) : odd;
}

// Of every size that a double has, the smallest and the largest of float32 among them.
std::vector<double> doubles() {
  const RandomStream stream({.seed = 7, .purpose = "test.widths"});
  std::vector<double> values = {0.0,     -0.0,   1.0,      1 + 0x1p-24, 1 + 0x1p-23, 0x1.fffffep127, 0x1.ffffff8p127,
                                0x1p128, -1e300, 0x1p-126, 0x1p-149,    0x1p-150,    -0x1.8p-149,    5e-324};
  for (std::uint64_t i = 0; i < 4000; ++i) {
    const double mantissa = 1 + stream.uniform(4 * i) + stream.uniform(4 * i + 1) * 0x1p-32;
    const int exponent = static_cast<int>(stream.below(4 * i + 2, 320)) - 170;
    values.push_back(std::ldexp(stream.bernoulli(4 * i + 3, 0.5) ? mantissa : -mantissa, exponent));
  }
  return values;
}

TEST(Widths, NarrowsToTheOddNeighbourOnEveryTarget) {
  const std::vector<double> values = doubles();
  std::vector<float> narrow(values.size());
  for (const std::string& target : simd_targets()) {
    pin_simd_target(target);
    narrow_to_odd(values.data(), std::ssize(values), narrow.data());
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(narrow[i], odd_neighbour(values[i])) << target << " " << values[i];
      ASSERT_EQ(std::signbit(narrow[i]), std::signbit(values[i])) << target << " " << values[i];
    }
  }
  pin_simd_target("");
  const double unusual[] = {std::nan(""), kInfinity, -kInfinity, 1, 2, 3, 4, 5};
  narrow_to_odd(unusual, 8, narrow.data());
  EXPECT_TRUE(std::isnan(narrow[0]));
  EXPECT_EQ(narrow[1], kInfinity);
  EXPECT_EQ(narrow[2], -kInfinity);
}

TEST(Widths, WidensExactly) {
  std::vector<float> values;
  for (const double value : doubles()) values.push_back(static_cast<float>(value));
  std::vector<double> wide(values.size()), change(values.size()), base(values.size(), 0.25);
  widen(values.data(), std::ssize(values), wide.data());
  widen_change(values.data(), base.data(), std::ssize(values), change.data());
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(wide[i], static_cast<double>(values[i]));
    EXPECT_EQ(change[i], static_cast<double>(values[i]) - 0.25);
  }
}

}  // namespace
}  // namespace solera::weights
