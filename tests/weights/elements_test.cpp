#include "solera/weights/elements.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "tests/support/support.h"

namespace solera::weights {
namespace {

// Every test of this file runs on every SIMD target.
class Elements : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { pin_simd_target(GetParam()); }
  void TearDown() override { pin_simd_target(""); }
};

template <class Code>
std::vector<float> loaded(DType dtype, const std::vector<Code>& codes) {
  std::vector<float> values(codes.size());
  load(dtype, reinterpret_cast<const std::byte*>(codes.data()), static_cast<std::int64_t>(codes.size()), values.data());
  return values;
}

template <class Code, class T>
std::vector<Code> stored(DType dtype, const std::vector<T>& values) {
  std::vector<Code> codes(values.size());
  store(dtype, values.data(), static_cast<std::int64_t>(values.size()), reinterpret_cast<std::byte*>(codes.data()));
  return codes;
}

// The value of a floating-point code by its definition.
double by_definition(unsigned code, int exponent_bits, int fraction_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const unsigned fraction = code & ((1u << fraction_bits) - 1);
  const unsigned exponent = (code >> fraction_bits) & ((1u << exponent_bits) - 1);
  const double sign = (code >> (exponent_bits + fraction_bits)) & 1 ? -1 : 1;
  if (exponent == (1u << exponent_bits) - 1)
    return fraction ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  const double scale = std::ldexp(1.0, fraction_bits);
  return exponent ? sign * std::ldexp(1 + fraction / scale, static_cast<int>(exponent) - bias)
                  : sign * std::ldexp(fraction / scale, 1 - bias);
}

void expect_all_codes(DType dtype, int exponent_bits, int fraction_bits) {
  std::vector<std::uint16_t> codes(65536);
  for (unsigned i = 0; i < 65536; ++i) codes[i] = static_cast<std::uint16_t>(i);
  const auto values = loaded(dtype, codes);
  for (unsigned i = 0; i < 65536; ++i) {
    const double expected = by_definition(i, exponent_bits, fraction_bits);
    if (std::isnan(expected))
      ASSERT_TRUE(std::isnan(values[i])) << i;
    else
      ASSERT_EQ(values[i], expected) << i;
    ASSERT_EQ(std::signbit(values[i]), i >= 32768) << i;
  }
  const auto back = stored<std::uint16_t>(dtype, values);
  for (unsigned i = 0; i < 65536; ++i)
    if (!std::isnan(values[i]))
      ASSERT_EQ(back[i], i);
    else
      ASSERT_TRUE(std::isnan(loaded(dtype, std::vector<std::uint16_t>{back[i]})[0]));
}

TEST_P(Elements, EveryBfloat16IsItsDefinitionAndComesBack) { expect_all_codes(DType::kBF16, 8, 7); }
TEST_P(Elements, EveryHalfIsItsDefinitionAndComesBack) { expect_all_codes(DType::kF16, 5, 10); }

// Between neighbours a and b: below the middle goes to a, above to b, the middle to the even code.
void expect_nearest_even(DType dtype, unsigned last_finite) {
  for (unsigned code = 0; code < last_finite; code += 7) {
    const std::vector<std::uint16_t> pair = {static_cast<std::uint16_t>(code), static_cast<std::uint16_t>(code + 1)};
    const auto ends = loaded(dtype, pair);
    const double middle = (static_cast<double>(ends[0]) + ends[1]) / 2;
    const auto exact = static_cast<float>(middle);
    ASSERT_EQ(exact, middle);
    const std::vector<float> probes = {std::nextafter(exact, 0.0f), exact, std::nextafter(exact, 3e38f)};
    const auto codes = stored<std::uint16_t>(dtype, probes);
    ASSERT_EQ(codes[0], code);
    ASSERT_EQ(codes[1], code % 2 ? code + 1 : code);
    ASSERT_EQ(codes[2], code + 1);
    // A double just off the middle must not be rounded twice.
    const std::vector<double> fine = {std::nextafter(middle, 0.0), middle, std::nextafter(middle, 1e300)};
    ASSERT_EQ((stored<std::uint16_t>(dtype, fine)), codes);
  }
}

TEST_P(Elements, Bfloat16RoundsToNearestEven) { expect_nearest_even(DType::kBF16, 0x7F60); }
TEST_P(Elements, HalfRoundsToNearestEven) { expect_nearest_even(DType::kF16, 0x7BFF); }

TEST_P(Elements, OverflowFollowsPyTorch) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ((stored<std::uint16_t>(DType::kF16, std::vector<float>{65519.0f, 65520.0f, -1e30f, inf})),
            (std::vector<std::uint16_t>{0x7BFF, 0x7C00, 0xFC00, 0x7C00}));
  EXPECT_EQ((stored<std::uint16_t>(DType::kBF16, std::vector<float>{3.4e38f, -inf})),
            (std::vector<std::uint16_t>{0x7F80, 0xFF80}));
  EXPECT_EQ((stored<std::uint8_t>(DType::kF8E5M2, std::vector<float>{57344, 61439, 61440, inf})),
            (std::vector<std::uint8_t>{0x7B, 0x7B, 0x7C, 0x7C}));
  EXPECT_EQ((stored<std::uint8_t>(DType::kF8E4M3, std::vector<float>{448, 464, 465, -inf})),
            (std::vector<std::uint8_t>{0x7E, 0x7E, 0x7F, 0xFF}));
}

TEST_P(Elements, EveryF8ComesBack) {
  for (const DType dtype : {DType::kF8E4M3, DType::kF8E5M2}) {
    std::vector<std::uint8_t> codes(256);
    for (unsigned i = 0; i < 256; ++i) codes[i] = static_cast<std::uint8_t>(i);
    const auto values = loaded(dtype, codes);
    const auto back = stored<std::uint8_t>(dtype, values);
    for (unsigned i = 0; i < 256; ++i)
      if (!std::isnan(values[i])) {
        EXPECT_EQ(back[i], i);
      }
  }
  EXPECT_EQ(loaded(DType::kF8E4M3, std::vector<std::uint8_t>{0x38, 0x01, 0x7E})[0], 1.0f);
  EXPECT_EQ(loaded(DType::kF8E4M3, std::vector<std::uint8_t>{0x01})[0], std::ldexp(1.0f, -9));
  EXPECT_EQ(loaded(DType::kF8E5M2, std::vector<std::uint8_t>{0x7B})[0], 57344.0f);
}

TEST_P(Elements, FinitenessIsReportedWhereverTheBadValueIs) {
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16, DType::kF8E5M2})
    for (int n = 1; n < 40; ++n)
      for (const double bad : {std::nan(""), -std::numeric_limits<double>::infinity()}) {
        std::vector<double> values(static_cast<std::size_t>(n), 1.5);
        std::vector<std::byte> bytes(static_cast<std::size_t>(n) * 8);
        std::vector<float> out(values.size());
        store(dtype, values.data(), n, bytes.data());
        ASSERT_TRUE(load(dtype, bytes.data(), n, out.data()));
        values[static_cast<std::size_t>(n / 2)] = bad;
        store(dtype, values.data(), n, bytes.data());
        ASSERT_FALSE(load(dtype, bytes.data(), n, out.data())) << n;
      }
}

TEST_P(Elements, UnalignedBytesLoadAndStore) {
  std::vector<std::byte> bytes(1 + 2 * 37);
  std::vector<float> values(37), back(37);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) - 18.5f;
  store(DType::kBF16, values.data(), 37, bytes.data() + 1);
  load(DType::kBF16, bytes.data() + 1, 37, back.data());
  EXPECT_EQ(back, values);
}

TEST_P(Elements, CastRoundsInPlace) {
  std::vector<float> values = {1.0f / 3, 0.1f, -2.7f};
  std::vector<double> wide(values.begin(), values.end());
  round_to(DType::kBF16, values.data(), 3);
  EXPECT_EQ(values[0], 0.333984375f);
  round_to(DType::kBF16, wide.data(), 3);
  EXPECT_EQ(wide[0], 0.333984375);
  std::vector<double> third = {1.0 / 3};
  round_to(DType::kF32, third.data(), 1);
  EXPECT_EQ(third[0], static_cast<double>(1.0f / 3));
}

TEST(ElementTargets, ThereIsMoreThanOneAndAnUnknownOneIsRefused) {
  EXPECT_GE(simd_targets().size(), 2u);  // the portable one, and what the CPU adds
  EXPECT_EQ(test::message_of([] { pin_simd_target("AVX9"); }), "no SIMD target AVX9 on this CPU");
  pin_simd_target("");
}

// Lengths around every vector's, from any address; NaN and infinity are told wherever they stand.
template <class T>
void expect_changes_are_differences(DType dtype) {
  const auto width = static_cast<std::int64_t>(checkpoint::byte_count(dtype, 1));
  for (std::int64_t n = 0; n < 70; ++n) {
    std::vector<T> values(static_cast<std::size_t>(n)), base(values.size()), loaded(values.size()),
        change(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<T>(i) / 8 - 3;
      base[i] = static_cast<T>(i % 5) / 3;
    }
    std::vector<std::byte> bytes(static_cast<std::size_t>(n * width + 1));
    store(dtype, values.data(), n, bytes.data() + 1);
    EXPECT_TRUE(load(dtype, bytes.data() + 1, n, loaded.data()));
    EXPECT_TRUE(load_change(dtype, bytes.data() + 1, base.data(), n, change.data()));
    for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(change[i], loaded[i] - base[i]) << n << " " << i;
    for (std::int64_t bad = 0; bad < n; ++bad)
      for (const T special : {std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()}) {
        const T negative = -special;
        std::vector<std::byte> spoilt = bytes;
        store(dtype, &negative, 1, spoilt.data() + 1 + bad * width);
        ASSERT_FALSE(load(dtype, spoilt.data() + 1, n, loaded.data())) << n << " " << bad;
        ASSERT_FALSE(load_change(dtype, spoilt.data() + 1, base.data(), n, change.data())) << n << " " << bad;
      }
  }
}

TEST_P(Elements, ChangesAreDifferences) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32, DType::kF64, DType::kF8E5M2}) {
    expect_changes_are_differences<float>(dtype);
    expect_changes_are_differences<double>(dtype);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Elements, testing::ValuesIn(simd_targets()),
                         [](const auto& target) { return target.param; });

}  // namespace
}  // namespace solera::weights
