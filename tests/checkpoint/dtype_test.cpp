#include "solera/checkpoint/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace solera::checkpoint {
namespace {

constexpr int kCount = 17;

TEST(DTypeTest, EverySpellingLeadsBack) {
  for (int i = 0; i < kCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    const std::string torch(torch_name(dtype));
    EXPECT_EQ(parse_dtype(name(dtype)), dtype);
    EXPECT_EQ(parse_dtype(torch), dtype);
    EXPECT_EQ(parse_dtype("torch." + torch), dtype);
  }
  for (const char* text : {"", "torch.", "bf16", "F6_E2M3", "float", "f32"}) EXPECT_FALSE(parse_dtype(text)) << text;
}

TEST(DTypeTest, NumbersInJournalsDoNotMove) {
  EXPECT_EQ(name(static_cast<DType>(3)), "BF16");
  EXPECT_EQ(name(static_cast<DType>(5)), "F8_E5M2");
  EXPECT_EQ(name(static_cast<DType>(7)), "F4");
  EXPECT_EQ(name(static_cast<DType>(8)), "I64");
  EXPECT_EQ(name(static_cast<DType>(16)), "BOOL");
}

TEST(DTypeTest, CodesAreNeitherFloatNorInteger) {
  for (int i = 0; i < kCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(is_float(dtype), i <= 5) << name(dtype);
    EXPECT_EQ(is_integer(dtype), i >= 8) << name(dtype);
  }
  EXPECT_EQ(bits(DType::kF4), 4);
  EXPECT_EQ(bits(DType::kBool), 8);
  EXPECT_EQ(bits(DType::kF64), 64);
}

TEST(DTypeTest, PromotionHoldsBothTypesExactly) {
  EXPECT_EQ(promote(DType::kF16, DType::kBF16), DType::kF32);
  EXPECT_EQ(promote(DType::kF8E4M3, DType::kF8E5M2), DType::kF16);
  EXPECT_EQ(promote(DType::kF8E4M3, DType::kBF16), DType::kBF16);
  for (int a = 0; a <= 5; ++a) {
    for (int b = 0; b <= 5; ++b) {
      const DType both = promote(static_cast<DType>(a), static_cast<DType>(b));
      EXPECT_EQ(both, promote(static_cast<DType>(b), static_cast<DType>(a)));
      EXPECT_GE(bits(both), std::max(bits(static_cast<DType>(a)), bits(static_cast<DType>(b))));
      if (a == b) {
        EXPECT_EQ(both, static_cast<DType>(a));
      }
    }
  }
}

}  // namespace
}  // namespace solera::checkpoint
