// The tensor types of GGUF: plain numbers, and blocks of small integers with scales. docs/formats/gguf.md
//
//   Q4_0 Q5_0 Q8_0    32 values a block    x = d q
//   Q4_1 Q5_1         32 values a block    x = d q + m
//   Q3_K Q6_K        256 values a block    x = (d s) q             with a small scale s for every 16 values
//   Q2_K             256 values a block    x = (d s) q - (e m)     with s and m for every 16 values
//   Q4_K Q5_K        256 values a block    x = (d s) q - (e m)     with s and m for every 32 values
//
// d, m and e are float16; everything is computed in float32 with one rounding an operation, in this order, as ggml's
// reference code does, so that values agree with it bit for bit on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "solera/checkpoint/dtype.h"
#include "solera/checkpoint/source.h"

namespace solera::checkpoint {

struct GgufType {
  std::uint32_t number;
  std::string_view name;       // ggml's: "Q4_K"
  std::int64_t block = 0;      // values of a block, 1 for plain numbers; 0: known by name alone, not read
  std::uint64_t bytes = 0;     // of a block
  std::optional<DType> plain;  // the same type under our name
  void (*decode)(const std::byte* blocks, std::int64_t count, float* values) = nullptr;  // of blocks
};

// Null for a number that is no type.
const GgufType* find_gguf_type(std::uint32_t number);
const GgufType& gguf_type(std::string_view name);  // Error (internal) if there is none

// Float32 values from blocks on demand. `offset` is the first block's byte in `source`; the values are a multiple of
// the block's. A view unpacks the blocks that it touches and no more.
std::shared_ptr<const Source> dequantized_source(std::shared_ptr<const Source> source, std::uint64_t offset,
                                                 const GgufType& type, std::int64_t values);

// Blocks of Q8_0 from 32 finite values each: d = max |x| / 127, q = x / d rounded to nearest, halves away from zero.
// Returns false, with the blocks not all written, where d is larger than float16 holds.
bool quantize_q8_0(const float* values, std::int64_t blocks, std::byte* target);

}  // namespace solera::checkpoint
