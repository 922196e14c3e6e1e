#include "solera/checkpoint/gguf_blocks.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>

#include "tests/checkpoint/archives.h"
#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using test::message_of;

// Where the float16 scales of a block lie.
const std::map<std::string, std::vector<std::size_t>> kScales = {
    {"Q4_0", {0}},      {"Q4_1", {0, 2}}, {"Q5_0", {0}},    {"Q5_1", {0, 2}}, {"Q8_0", {0}},
    {"Q2_K", {80, 82}}, {"Q3_K", {108}},  {"Q4_K", {0, 2}}, {"Q5_K", {0, 2}}, {"Q6_K", {208}}};

// Byte i is 7 i^2 + 13 i + 5; the first scale is 1, the second -0.5.
std::string block_of(const std::string& type) {
  std::string bytes(gguf_type(type).bytes, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>((i * i * 7 + i * 13 + 5) & 255);
  const std::vector<std::size_t>& scales = kScales.at(type);
  for (std::size_t k = 0; k < scales.size(); ++k) bytes.replace(scales[k], 2, k == 0 ? "\x00\x3c" : "\x00\xb8", 2);
  return bytes;
}

std::vector<float> values_of(const std::string& type, const std::string& bytes) {
  const GgufType& row = gguf_type(type);
  std::vector<float> values(bytes.size() / row.bytes * static_cast<std::size_t>(row.block));
  row.decode(reinterpret_cast<const std::byte*>(bytes.data()), static_cast<std::int64_t>(bytes.size() / row.bytes),
             values.data());
  return values;
}

// Bytes 2, 3, 4 of the block are 59, 107, 169 = 0x3b, 0x6b, 0xa9: Q8_0 reads them as 59, 107, -87; Q4_0 takes the low
// halves 11, 11, 9 less 8 for values 0, 1, 2 and the high halves 3, 6, 10 less 8 for values 16, 17, 18; and so on. The
// values below are those that the Python package gguf gives for the same bytes.
TEST(GgufBlocksTest, BlocksOf32) {
  const std::map<std::string, std::vector<float>> expected = {
      {"Q4_0",
       {3, 3, 1, -3, 7, -1, 5, -7, -5, -5, -7, 5, -1, 7, -3, 1, -5, -2, 2, 7, -4, 3, -6, 3, -4, 6, 1, -4, -7, 6, 5, 4}},
      {"Q4_1", {8.5, 4.5,  14.5, 6.5,  12.5, 0.5,  2.5, 2.5,  0.5, 12.5, 6.5, 14.5, 4.5,  8.5,  10.5, 10.5,
                9.5, 14.5, 3.5,  10.5, 1.5,  10.5, 3.5, 13.5, 8.5, 3.5,  0.5, 13.5, 12.5, 11.5, 11.5, 12.5}},
      {"Q5_0", {15, 7,  -3,  1,  3,   3,  -15, -3, 7, 15, -11, 9,  -5, 11, 9,  -11,
                4,  -5, -14, 11, -12, 14, -7,  4,  1, -2, 13,  -4, 12, 13, 15, 2}},
      {"Q5_1", {28.5, 0.5,  2.5,  18.5, 0.5, 28.5, 6.5,  30.5, 20.5, 8.5,  26.5, 10.5, 24.5, 20.5, 30.5, 22.5,
                17.5, 26.5, 19.5, 29.5, 8.5, 3.5,  16.5, 13.5, 28.5, 27.5, 27.5, 12.5, 30.5, 17.5, 4.5,  25.5}},
      {"Q8_0", {59,  107, -87, -11, 79, -73, 45, -79, 67,  -29, -111, 77,  23, -17, -43, -55,
                -53, -37, -7,  37,  95, -89, -3, 97,  -45, 83,  -31,  125, 39, -33, -91, 121}}};
  for (const auto& [type, values] : expected) EXPECT_EQ(values_of(type, block_of(type)), values) << type;
}

// The first value of Q4_K by hand: bytes 4 and 8 are 169 and 45, so s = 169 & 63 = 41 and m = 45; byte 16 is 0xd5, and
// 5 * 41 + 0.5 * 45 = 227.5. Values, their sum and the sum of (i + 1) x_i are the gguf
// package's; all are multiples of a half, so the sums are exact and no two values can have changed places.
TEST(GgufBlocksTest, BlocksOf256) {
  struct Row {
    std::string type;
    std::vector<float> some;  // values 0, 17, 100, 129, 255
    double sum, weighted;
  };
  const std::vector<Row> expected = {{"Q2_K", {5, 9.5, 47, 14, 37}, 4347, 559721},
                                     {"Q3_K", {-11, -7, -17, -18, 10}, -289, 98878},
                                     {"Q4_K", {227.5, 391.5, 512.5, 301.5, 313}, 85344, 10777824},
                                     {"Q5_K", {883.5, 1047.5, 1062.5, 301.5, 971}, 181888, 22491984},
                                     {"Q6_K", {649, -623, -420, 133, -1175}, -6664, -2033672}};
  for (const Row& row : expected) {
    const std::vector<float> values = values_of(row.type, block_of(row.type));
    double sum = 0, weighted = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      sum += values[i];
      weighted += static_cast<double>(i + 1) * values[i];
    }
    EXPECT_EQ((std::vector<float>{values[0], values[17], values[100], values[129], values[255]}), row.some) << row.type;
    EXPECT_EQ(sum, row.sum) << row.type;
    EXPECT_EQ(weighted, row.weighted) << row.type;
  }
}

TEST(GgufBlocksTest, ScalesAreHalvesOfEveryKind) {
  const auto scale = [](const char* half) {
    std::string bytes = block_of("Q8_0");
    bytes.replace(0, 2, half, 2);
    bytes[2] = 1;
    return values_of("Q8_0", bytes)[0];
  };
  EXPECT_EQ(scale("\x01\x00"), 0x1p-24f);
  EXPECT_EQ(scale("\xff\x83"), -1023 * 0x1p-24f);
  EXPECT_EQ(scale("\x00\x04"), 0x1p-14f);
  EXPECT_EQ(scale("\xff\x7b"), 65504.0f);
  EXPECT_EQ(scale("\x00\x7c"), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(scale("\x01\x7e")));
  EXPECT_TRUE(std::signbit(scale("\x00\x80")));
}

TEST(GgufBlocksTest, AnyPieceOfATensorIsThatPieceOfTheWhole) {
  for (const auto& [type, scales] : kScales) {
    std::string bytes = "prefix";
    for (int k = 0; k < 3; ++k) {
      std::string block = block_of(type);
      block[block.size() / 2] = static_cast<char>(block[block.size() / 2] + k);
      bytes += block;
    }
    const std::vector<float> all = values_of(type, bytes.substr(6));
    const std::string whole = text_of(std::as_bytes(std::span(all)));
    const auto count = static_cast<std::int64_t>(all.size());
    for (const auto& source :
         {source_of(bytes), std::static_pointer_cast<const Source>(std::make_shared<CopyingSource>(bytes))}) {
      const auto values = dequantized_source(source, 6, gguf_type(type), count);
      ASSERT_EQ(values->size(), whole.size());
      std::vector<std::byte> scratch;
      for (std::size_t first = 0; first <= whole.size(); first += 61)
        for (std::size_t n = 0; first + n <= whole.size(); n += 97)
          ASSERT_EQ(text_of(values->view(first, n, scratch)), whole.substr(first, n)) << type << " " << first;
      EXPECT_EQ(message_of([&] { values->view(whole.size(), 1, scratch); }),
                "a read past the end of a tensor (" + source->path() + ")");
    }
  }
}

TEST(GgufBlocksTest, AViewReadsTheBlocksItTouchesAndNoMore) {
  std::string bytes;
  for (int k = 0; k < 100; ++k) bytes += block_of("Q6_K");
  const auto file = std::make_shared<CopyingSource>(bytes);
  const auto values = dequantized_source(file, 0, gguf_type("Q6_K"), 25600);
  std::vector<std::byte> scratch;
  values->view(50 * 1024 - 4, 8, scratch);  // the last value of a block and the first of the next
  EXPECT_EQ(file->largest, 420u);
}

// 32 values of 1, ..., 32 times 0.25: d = 8 / 127 = 0.062992 is 0x2c08 (0.062988) as a float16, and value k becomes
// round(k 127 / 32).
TEST(GgufBlocksTest, QuantizesToQ80) {
  std::vector<float> values(64);
  for (int i = 0; i < 32; ++i) values[static_cast<std::size_t>(i)] = 0.25f * static_cast<float>(i + 1);
  std::vector<std::byte> blocks(68);
  ASSERT_TRUE(quantize_q8_0(values.data(), 2, blocks.data()));
  EXPECT_EQ(text_of(std::span(blocks).first(2)), "\x08\x2c");
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(static_cast<int>(blocks[static_cast<std::size_t>(2 + i)]), (2 * (i + 1) * 127 + 32) / 64) << i;
  EXPECT_EQ(text_of(std::span(blocks).subspan(34)), std::string(34, '\0'));
}

// The gguf package's bytes for x_i = 0.37 ((37 i mod 64) - 31), x_40 = 0.
TEST(GgufBlocksTest, QuantizesAsTheReferenceDoes) {
  std::vector<float> values(64);
  for (int i = 0; i < 64; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>((i * 37 % 64 - 31) * 0.37);
  values[40] = 0;
  const std::vector<int> expected = {
      247, 45, 133, 24,  173, 63,  212, 103, 252, 145, 36,  185, 75,  224, 115, 8,   157, 48,  196, 87,  236, 127, 20,
      169, 60, 208, 99,  248, 141, 32,  181, 71,  220, 111, 200, 45,  4,   149, 45,  190, 86,  231, 127, 16,  0,   57,
      203, 98, 244, 133, 29,  174, 70,  215, 111, 0,   145, 41,  186, 82,  227, 123, 12,  158, 53,  199, 94,  240};
  std::vector<std::byte> blocks(68);
  ASSERT_TRUE(quantize_q8_0(values.data(), 2, blocks.data()));
  for (std::size_t i = 0; i < blocks.size(); ++i) EXPECT_EQ(static_cast<int>(blocks[i]), expected[i]) << i;
}

TEST(GgufBlocksTest, HalvesRoundAwayFromZeroAndLimitsHold) {
  std::vector<float> values(32, 0.0f);
  std::vector<std::byte> block(34);
  values[0] = 127;  // d = 1
  values[1] = 0.5f;
  values[2] = -0.5f;
  values[3] = std::nextafter(0.5f, 0.0f);
  values[4] = -2.5f;
  ASSERT_TRUE(quantize_q8_0(values.data(), 1, block.data()));
  EXPECT_EQ(text_of(std::span(block).first(7)), std::string("\x00\x3c\x7f\x01\xff\x00\xfd", 7));
  values.assign(32, 1e-42f);  // d is below the least normal number
  ASSERT_TRUE(quantize_q8_0(values.data(), 1, block.data()));
  EXPECT_EQ(text_of(block), std::string(34, '\0'));
  values.assign(32, 127 * 65504.0f);
  ASSERT_TRUE(quantize_q8_0(values.data(), 1, block.data()));
  EXPECT_EQ(text_of(std::span(block).first(3)), "\xff\x7b\x7f");
  values.assign(32, 127 * 65520.0f);
  EXPECT_FALSE(quantize_q8_0(values.data(), 1, block.data()));
}

// Every float16 but the sign comes back from its own value as a scale.
TEST(GgufBlocksTest, ScalesRoundTrip) {
  for (std::uint32_t half = 0; half < 0x7c00; ++half) {
    std::string bytes(34, '\0');
    bytes[0] = static_cast<char>(half & 255);
    bytes[1] = static_cast<char>(half >> 8);
    bytes[2] = 127;
    const std::vector<float> values = values_of("Q8_0", bytes);
    std::string back(34, '\0');
    ASSERT_TRUE(quantize_q8_0(values.data(), 1, reinterpret_cast<std::byte*>(back.data())));
    ASSERT_EQ(back.substr(0, half == 0 ? 2 : 34), bytes.substr(0, half == 0 ? 2 : 34)) << half;
  }
}

TEST(GgufTypesTest, NumbersAndNames) {
  for (const auto& [number, name] : std::map<std::uint32_t, std::string>{
           {0, "F32"}, {1, "F16"}, {8, "Q8_0"}, {14, "Q6_K"}, {16, "IQ2_XXS"}, {30, "BF16"}, {39, "MXFP4"}}) {
    ASSERT_NE(find_gguf_type(number), nullptr);
    EXPECT_EQ(find_gguf_type(number)->name, name);
    EXPECT_EQ(gguf_type(name).number, number);
  }
  EXPECT_EQ(find_gguf_type(31), nullptr);
  EXPECT_EQ(find_gguf_type(0xffffffff), nullptr);
}

}  // namespace
}  // namespace solera::checkpoint
