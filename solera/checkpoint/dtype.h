// Element types of stored tensors, by the names that safetensors and PyTorch give them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace solera::checkpoint {

// Numbers are written to journals and caches: never reuse one.
enum class DType : std::uint8_t {
  kF64 = 0,
  kF32 = 1,
  kF16 = 2,
  kBF16 = 3,
  kF8E4M3 = 4,
  kF8E5M2 = 5,
  kF8E8M0 = 6,
  kF4 = 7,  // recognised, never computed with: they are codes or block scales
  kI64 = 8,
  kI32 = 9,
  kI16 = 10,
  kI8 = 11,
  kU64 = 12,
  kU32 = 13,
  kU16 = 14,
  kU8 = 15,
  kBool = 16,
};

int bits(DType dtype);                     // 4 for kF4
bool is_float(DType dtype);                // F64 F32 F16 BF16 F8_E4M3 F8_E5M2: can be averaged
bool is_integer(DType dtype);              // integers and BOOL: carried, never averaged
std::string_view name(DType dtype);        // safetensors: "BF16", "F8_E4M3"
std::string_view torch_name(DType dtype);  // PyTorch: "bfloat16", "float8_e4m3fn"

// Either spelling, with or without "torch."; empty if it is none of them.
std::optional<DType> parse_dtype(std::string_view text);

// The type PyTorch promotes two floating types to: the wider; bf16 with f16 is f32. Both must be is_float.
DType promote(DType a, DType b);

}  // namespace solera::checkpoint
