#include "solera/checkpoint/gguf_blocks.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "solera/base/error.h"

namespace solera::checkpoint {
namespace {

using Byte = std::uint8_t;

// Exact; NaN stays NaN.
float from_half(const Byte* at) {
  const std::uint32_t half = at[0] | static_cast<std::uint32_t>(at[1]) << 8;
  const std::uint32_t sign = (half & 0x8000) << 16, rest = (half & 0x7fff) << 13;
  if ((half & 0x7c00) == 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | rest);
  // The exponent's bias is mended by a power of two, which makes subnormal halves come out right, too.
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(std::bit_cast<float>(rest) * 0x1p112f));
}

// Rounds a finite number >= 0 to nearest even.
std::uint16_t to_half(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if (value < 0x1p-14f) return static_cast<std::uint16_t>(std::nearbyint(value * 0x1p24f));  // subnormal
  const std::uint32_t rounded = bits + 0xfff + (bits >> 13 & 1);
  return static_cast<std::uint16_t>((rounded >> 13) - (112u << 10));
}

// Blocks of 32 -------------------------------------------------------------------------------------------------------

void decode_q4_0(const Byte* b, float* x) {
  const float d = from_half(b);
  for (int i = 0; i < 16; ++i) {
    x[i] = d * static_cast<float>((b[2 + i] & 15) - 8);
    x[i + 16] = d * static_cast<float>((b[2 + i] >> 4) - 8);
  }
}

void decode_q4_1(const Byte* b, float* x) {
  const float d = from_half(b), m = from_half(b + 2);
  for (int i = 0; i < 16; ++i) {
    x[i] = d * static_cast<float>(b[4 + i] & 15) + m;
    x[i + 16] = d * static_cast<float>(b[4 + i] >> 4) + m;
  }
}

// The fifth bits of 32 values, four bytes little-endian.
std::uint32_t high_bits(const Byte* b) {
  return b[0] | static_cast<std::uint32_t>(b[1]) << 8 | static_cast<std::uint32_t>(b[2]) << 16 |
         static_cast<std::uint32_t>(b[3]) << 24;
}

void decode_q5_0(const Byte* b, float* x) {
  const float d = from_half(b);
  const std::uint32_t high = high_bits(b + 2);
  for (int i = 0; i < 16; ++i) {
    x[i] = d * static_cast<float>(static_cast<int>((b[6 + i] & 15) | (high >> i & 1) << 4) - 16);
    x[i + 16] = d * static_cast<float>(static_cast<int>((b[6 + i] >> 4) | (high >> (i + 16) & 1) << 4) - 16);
  }
}

void decode_q5_1(const Byte* b, float* x) {
  const float d = from_half(b), m = from_half(b + 2);
  const std::uint32_t high = high_bits(b + 4);
  for (int i = 0; i < 16; ++i) {
    x[i] = d * static_cast<float>(static_cast<int>((b[8 + i] & 15) | (high >> i & 1) << 4)) + m;
    x[i + 16] = d * static_cast<float>(static_cast<int>((b[8 + i] >> 4) | (high >> (i + 16) & 1) << 4)) + m;
  }
}

void decode_q8_0(const Byte* b, float* x) {
  const float d = from_half(b);
  for (int i = 0; i < 32; ++i) x[i] = d * static_cast<float>(static_cast<std::int8_t>(b[2 + i]));
}

// Blocks of 256 ------------------------------------------------------------------------------------------------------

// 16 bytes of scale and minimum, 64 of quants, d, e. A run of 128 values is 32 bytes, two bits of each in turn.
void decode_q2_k(const Byte* b, float* x) {
  const float d = from_half(b + 80), e = from_half(b + 82);
  for (int group = 0; group < 16; ++group) {
    const float scale = d * static_cast<float>(b[group] & 15), minimum = e * static_cast<float>(b[group] >> 4);
    const Byte* q = b + 16 + group / 8 * 32 + group % 2 * 16;
    const int shift = group % 8 / 2 * 2;
    for (int i = 0; i < 16; ++i) x[group * 16 + i] = scale * static_cast<float>(q[i] >> shift & 3) - minimum;
  }
}

// 32 bytes of third bits, 64 of low pairs, 12 of six-bit scales, d. A third bit of 0 takes 4 away.
void decode_q3_k(const Byte* b, float* x) {
  const float d = from_half(b + 108);
  const Byte* scales = b + 96;
  for (int group = 0; group < 16; ++group) {
    const int low = scales[group % 8] >> (group / 8 * 4) & 15, high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
    const float scale = d * static_cast<float>((low | high << 4) - 32);
    const Byte *q = b + 32 + group / 8 * 32 + group % 2 * 16, *third = b + group % 2 * 16;
    const int shift = group % 8 / 2 * 2, bit = group / 2;
    for (int i = 0; i < 16; ++i) {
      const int value = (q[i] >> shift & 3) - ((third[i] >> bit & 1) ^ 1) * 4;
      x[group * 16 + i] = scale * static_cast<float>(value);
    }
  }
}

// Scale and minimum of group 0 to 7, six bits each, from Q4_K's and Q5_K's 12 bytes.
std::pair<int, int> scale_and_minimum(const Byte* s, int group) {
  if (group < 4) return {s[group] & 63, s[group + 4] & 63};
  return {(s[group + 4] & 15) | s[group - 4] >> 6 << 4, s[group + 4] >> 4 | s[group] >> 6 << 4};
}

// d, e, 12 bytes of scales, 128 of quants: 32 bytes are two groups, low halves first.
void decode_q4_k(const Byte* b, float* x) {
  const float d = from_half(b), e = from_half(b + 2);
  for (int group = 0; group < 8; ++group) {
    const auto [s, m] = scale_and_minimum(b + 4, group);
    const float scale = d * static_cast<float>(s), minimum = e * static_cast<float>(m);
    const Byte* q = b + 16 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) x[group * 32 + i] = scale * static_cast<float>(q[i] >> shift & 15) - minimum;
  }
}

// As Q4_K, with 32 bytes of fifth bits before the quants: bit g of byte i belongs to value i of group g.
void decode_q5_k(const Byte* b, float* x) {
  const float d = from_half(b), e = from_half(b + 2);
  const Byte* fifth = b + 16;
  for (int group = 0; group < 8; ++group) {
    const auto [s, m] = scale_and_minimum(b + 4, group);
    const float scale = d * static_cast<float>(s), minimum = e * static_cast<float>(m);
    const Byte* q = b + 48 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int value = (q[i] >> shift & 15) | (fifth[i] >> group & 1) << 4;
      x[group * 32 + i] = scale * static_cast<float>(value) - minimum;
    }
  }
}

// 128 bytes of low halves, 64 of high pairs, 16 signed scales, d. A run of 128 values is 64 and 32 bytes of these.
void decode_q6_k(const Byte* b, float* x) {
  const float d = from_half(b + 208);
  for (int group = 0; group < 16; ++group) {
    const float scale = d * static_cast<float>(static_cast<std::int8_t>(b[192 + group]));
    const int quarter = group % 8 / 2, half = group % 2 * 16;
    const Byte *low = b + group / 8 * 64 + quarter % 2 * 32 + half, *high = b + 128 + group / 8 * 32 + half;
    const int low_shift = quarter / 2 * 4, high_shift = quarter * 2;
    for (int i = 0; i < 16; ++i) {
      const int value = (low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
      x[group * 16 + i] = scale * static_cast<float>(value - 32);
    }
  }
}

template <void (*kDecode)(const Byte*, float*), int kBytes, int kValues>
void decode_all(const std::byte* blocks, std::int64_t count, float* values) {
  const auto* bytes = reinterpret_cast<const Byte*>(blocks);
  for (std::int64_t i = 0; i < count; ++i) kDecode(bytes + i * kBytes, values + i * kValues);
}

template <void (*kDecode)(const Byte*, float*), int kBytes, int kValues>
constexpr GgufType packed(std::uint32_t number, std::string_view name) {
  return {number, name, kValues, kBytes, std::nullopt, decode_all<kDecode, kBytes, kValues>};
}

constexpr GgufType plain(std::uint32_t number, std::string_view name, std::uint64_t bytes, DType dtype) {
  return {number, name, 1, bytes, dtype, nullptr};
}

constexpr std::array kTypes = {
    plain(0, "F32", 4, DType::kF32),
    plain(1, "F16", 2, DType::kF16),
    packed<decode_q4_0, 18, 32>(2, "Q4_0"),
    packed<decode_q4_1, 20, 32>(3, "Q4_1"),
    GgufType{4, "Q4_2"},
    GgufType{5, "Q4_3"},
    packed<decode_q5_0, 22, 32>(6, "Q5_0"),
    packed<decode_q5_1, 24, 32>(7, "Q5_1"),
    packed<decode_q8_0, 34, 32>(8, "Q8_0"),
    GgufType{9, "Q8_1"},
    packed<decode_q2_k, 84, 256>(10, "Q2_K"),
    packed<decode_q3_k, 110, 256>(11, "Q3_K"),
    packed<decode_q4_k, 144, 256>(12, "Q4_K"),
    packed<decode_q5_k, 176, 256>(13, "Q5_K"),
    packed<decode_q6_k, 210, 256>(14, "Q6_K"),
    GgufType{15, "Q8_K"},
    GgufType{16, "IQ2_XXS"},
    GgufType{17, "IQ2_XS"},
    GgufType{18, "IQ3_XXS"},
    GgufType{19, "IQ1_S"},
    GgufType{20, "IQ4_NL"},
    GgufType{21, "IQ3_S"},
    GgufType{22, "IQ2_S"},
    GgufType{23, "IQ4_XS"},
    plain(24, "I8", 1, DType::kI8),
    plain(25, "I16", 2, DType::kI16),
    plain(26, "I32", 4, DType::kI32),
    plain(27, "I64", 8, DType::kI64),
    plain(28, "F64", 8, DType::kF64),
    GgufType{29, "IQ1_M"},
    plain(30, "BF16", 2, DType::kBF16),
    GgufType{34, "TQ1_0"},
    GgufType{35, "TQ2_0"},
    GgufType{39, "MXFP4"},
    GgufType{40, "NVFP4"},
    GgufType{41, "Q1_0"},
};

class Dequantized final : public Source {
 public:
  Dequantized(std::shared_ptr<const Source> source, std::uint64_t offset, const GgufType& type, std::int64_t values)
      : source_(std::move(source)), offset_(offset), type_(type), size_(static_cast<std::uint64_t>(values) * 4) {}

  const std::string& path() const override { return source_->path(); }
  std::uint64_t size() const override { return size_; }
  void check() const override { source_->check(); }

  std::span<const std::byte> view(std::uint64_t offset, std::uint64_t length,
                                  std::vector<std::byte>& scratch) const override {
    if (offset > size_ || length > size_ - offset) throw io_error("a read past the end of a tensor", path());
    if (length == 0) return {};
    const Blocks blocks = blocks_of(offset, length);
    const std::size_t needed = static_cast<std::size_t>(blocks.count * unpacked());
    if (scratch.size() < needed) scratch.resize(needed);
    static thread_local std::vector<std::byte> packed;  // used where the file is not mapped
    const auto bytes = source_->view(offset_ + blocks.first * type_.bytes, blocks.count * type_.bytes, packed);
    type_.decode(bytes.data(), static_cast<std::int64_t>(blocks.count), reinterpret_cast<float*>(scratch.data()));
    return std::span<const std::byte>(scratch).subspan(static_cast<std::size_t>(offset - blocks.first * unpacked()),
                                                       static_cast<std::size_t>(length));
  }

  void want(std::uint64_t offset, std::uint64_t length) const override {
    if (offset >= size_ || length == 0) return;
    const Blocks blocks = blocks_of(offset, std::min(length, size_ - offset));
    source_->want(offset_ + blocks.first * type_.bytes, blocks.count * type_.bytes);
  }
  void expect(std::uint64_t offset, std::uint64_t length) const override {
    if (offset >= size_ || length == 0) return;
    const Blocks blocks = blocks_of(offset, std::min(length, size_ - offset));
    source_->expect(offset_ + blocks.first * type_.bytes, blocks.count * type_.bytes);
  }
  void release(std::uint64_t offset, std::uint64_t length) const override {
    if (offset >= size_ || length == 0) return;
    const Blocks blocks = blocks_of(offset, std::min(length, size_ - offset));
    source_->release(offset_ + blocks.first * type_.bytes, blocks.count * type_.bytes);
  }

 private:
  struct Blocks {
    std::uint64_t first, count;
  };
  std::uint64_t unpacked() const { return static_cast<std::uint64_t>(type_.block) * 4; }
  Blocks blocks_of(std::uint64_t offset, std::uint64_t length) const {
    const std::uint64_t first = offset / unpacked();
    return {first, (offset + length - 1) / unpacked() - first + 1};
  }

  std::shared_ptr<const Source> source_;
  std::uint64_t offset_;
  const GgufType& type_;
  std::uint64_t size_;
};

}  // namespace

const GgufType* find_gguf_type(std::uint32_t number) {
  const auto row =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const GgufType& type) { return type.number == number; });
  return row == kTypes.end() ? nullptr : &*row;
}

const GgufType& gguf_type(std::string_view name) {
  const auto row = std::find_if(kTypes.begin(), kTypes.end(), [&](const GgufType& type) { return type.name == name; });
  if (row == kTypes.end()) throw internal_error(cat("GGUF has no type ", name));
  return *row;
}

std::shared_ptr<const Source> dequantized_source(std::shared_ptr<const Source> source, std::uint64_t offset,
                                                 const GgufType& type, std::int64_t values) {
  if (type.decode == nullptr || values % type.block != 0) {
    throw internal_error(cat(values, " values of ", type.name, " are no whole blocks"), source->path());
  }
  return std::make_shared<Dequantized>(std::move(source), offset, type, values);
}

bool quantize_q8_0(const float* values, std::int64_t blocks, std::byte* target) {
  constexpr float kOverflow = 65520.0f;  // from here on float16 rounds to infinity
  for (std::int64_t k = 0; k < blocks; ++k, values += 32, target += 34) {
    float largest = 0;
    for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(values[i]));
    const float d = largest / 127.0f;
    if (!(d < kOverflow)) return false;
    // Below this, d is 0 as a float16 and 1 / d may overflow.
    const float inverse = d < std::numeric_limits<float>::min() ? 0.0f : 1.0f / d;
    const std::uint16_t half = to_half(d);
    target[0] = static_cast<std::byte>(half & 255);
    target[1] = static_cast<std::byte>(half >> 8);
    for (int i = 0; i < 32; ++i) {
      const float x = values[i] * inverse;
      // |x| is at most 127 and a little; adding a half and cutting rounds halves away from zero, save just below one.
      const float whole = std::trunc(x), rest = x - whole;
      const float rounded = std::fabs(rest) >= 0.5f ? whole + std::copysign(1.0f, x) : whole;
      target[2 + i] = static_cast<std::byte>(static_cast<std::int8_t>(rounded));
    }
  }
  return true;
}

}  // namespace solera::checkpoint
