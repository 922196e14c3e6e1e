#include "solera/checkpoint/dtype.h"

#include <array>

#include "solera/base/error.h"

namespace solera::checkpoint {
namespace {

enum class Family : std::uint8_t { kFloat, kInteger, kCode };

struct Row {
  int bits;
  Family family;
  std::string_view name, torch;
};

// Indexed by the enumerator.
constexpr std::array<Row, 17> kRows = {{
    {64, Family::kFloat, "F64", "float64"},
    {32, Family::kFloat, "F32", "float32"},
    {16, Family::kFloat, "F16", "float16"},
    {16, Family::kFloat, "BF16", "bfloat16"},
    {8, Family::kFloat, "F8_E4M3", "float8_e4m3fn"},
    {8, Family::kFloat, "F8_E5M2", "float8_e5m2"},
    {8, Family::kCode, "F8_E8M0", "float8_e8m0fnu"},
    {4, Family::kCode, "F4", "float4_e2m1fn_x2"},
    {64, Family::kInteger, "I64", "int64"},
    {32, Family::kInteger, "I32", "int32"},
    {16, Family::kInteger, "I16", "int16"},
    {8, Family::kInteger, "I8", "int8"},
    {64, Family::kInteger, "U64", "uint64"},
    {32, Family::kInteger, "U32", "uint32"},
    {16, Family::kInteger, "U16", "uint16"},
    {8, Family::kInteger, "U8", "uint8"},
    {8, Family::kInteger, "BOOL", "bool"},
}};

const Row& row(DType dtype) { return kRows.at(static_cast<std::size_t>(dtype)); }

}  // namespace

int bits(DType dtype) { return row(dtype).bits; }
bool is_float(DType dtype) { return row(dtype).family == Family::kFloat; }
bool is_integer(DType dtype) { return row(dtype).family == Family::kInteger; }
std::string_view name(DType dtype) { return row(dtype).name; }
std::string_view torch_name(DType dtype) { return row(dtype).torch; }

std::optional<DType> parse_dtype(std::string_view text) {
  constexpr std::string_view kTorch = "torch.";
  if (text.starts_with(kTorch)) text.remove_prefix(kTorch.size());
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (text == kRows[i].name || text == kRows[i].torch) return static_cast<DType>(i);
  }
  return std::nullopt;
}

DType promote(DType a, DType b) {
  if (!is_float(a) || !is_float(b)) {
    throw internal_error(cat("promote() of ", name(a), " and ", name(b), ", not two floating types"));
  }
  if (a == b) return a;
  // F16 is the least type that holds both F8s exactly; PyTorch does not promote these.
  if (bits(a) == bits(b)) return bits(a) == 16 ? DType::kF32 : DType::kF16;
  return bits(a) > bits(b) ? a : b;
}

}  // namespace solera::checkpoint
