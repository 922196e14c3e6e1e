// GGUF, the model file of llama.cpp and its family: metadata, a table of tensors, their bytes. docs/formats/gguf.md
//
// Read: versions 2 and 3, little-endian; plain numbers as they are, quantised blocks as float32 values that are
// unpacked on demand (gguf_blocks.h). Shapes are turned around to row-major order. Written: version 3. What the names
// mean and how they become those of a Hugging Face model is gguf_model.h's affair.
//
// Refused with one line: counts and lengths that pass the end of the file, names that appear twice, an alignment that
// is no power of two, types that are unknown or not read (by number and name), rows that are no whole blocks, offsets
// that are misaligned, overlap or pass the end.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "solera/checkpoint/checkpoint.h"
#include "solera/checkpoint/gguf_blocks.h"
#include "solera/checkpoint/writer.h"

namespace solera::checkpoint {

// Reading
// --------------------------------------------------------------------------------------------------------------

enum class GgufKind : std::uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kText, kArray, kU64, kI64, kF64 };

// A value of the metadata. Of arrays only kind and length are kept.
struct GgufValue {
  GgufKind kind = GgufKind::kU8;
  std::uint64_t bits = 0;  // of a number, zero-extended
  std::string text;
  GgufKind element = GgufKind::kU8;
  std::uint64_t count = 0;

  std::optional<std::int64_t> integer() const;  // of any kind of whole number that fits
  std::optional<double> number() const;         // of any number; an F32 as the shortest decimal that it is nearest to
  std::string summary() const;                  // "llama", "32", "[49152 strings]"
};

struct GgufFile {
  std::uint32_t version = 0;
  std::vector<std::pair<std::string, GgufValue>> metadata;  // in file order
  std::vector<Tensor> tensors;                              // in file order, under the file's names
  std::string header_hash;
  const GgufValue* find(std::string_view key) const;  // null if there is none
};

GgufFile parse_gguf(std::shared_ptr<const Source> source);

// Writing
// --------------------------------------------------------------------------------------------------------------

// Metadata as bytes, in the order of the calls. Keys differ.
class GgufMetadata {
 public:
  void text(std::string_view key, std::string_view value);
  void u32(std::string_view key, std::uint32_t value);
  void f32(std::string_view key, float value);
  void boolean(std::string_view key, bool value);
  void texts(std::string_view key, std::span<const std::string> values);
  void f32s(std::string_view key, std::span<const float> values);
  void i32s(std::string_view key, std::span<const std::int32_t> values);

  std::uint64_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void key(std::string_view key, GgufKind kind);
  void array(std::string_view key, GgufKind element, std::size_t count);

  std::uint64_t count_ = 0;
  std::string bytes_;
};

struct GgufTensor {
  std::string name;
  Shape shape;  // row-major
  const GgufType* type = nullptr;
  std::uint64_t bytes() const;
};

// One file "model.gguf" for a ShardWriter, in the given order. Tensor i of the layout is tensor i given; its type there
// is U8, its shape the number of its bytes. Throws Error (input) for a name that ggml cannot hold (63 bytes).
Layout plan_gguf(std::span<const GgufTensor> tensors, const GgufMetadata& metadata);

}  // namespace solera::checkpoint
