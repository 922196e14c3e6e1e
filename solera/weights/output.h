// From numbers to stored tensors of an output under construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "solera/checkpoint/writer.h"
#include "solera/weights/pass.h"

namespace solera::weights {

// What stored elements look like: numbers of a type, or GGUF's blocks of 32 (checkpoint/gguf_blocks.h).
enum class Packing { kPlain, kQ8_0 };

// One tensor of a layout as a Sink: results are converted to its type and gathered to writes of about a megabyte.
// Thread-safe as a Sink is. Q8_0 takes float32 in whole blocks.
class TensorSink final : public Sink {
 public:
  TensorSink(checkpoint::ShardWriter& writer, std::size_t index, DType dtype, Packing packing = Packing::kPlain)
      : writer_(writer), index_(index), dtype_(dtype), packing_(packing) {}

  void write(std::int64_t first, std::span<const float> values, bool last) override { gather(first, values, last); }
  void write(std::int64_t first, std::span<const double> values, bool last) override { gather(first, values, last); }

 private:
  template <class T>
  void gather(std::int64_t first, std::span<const T> values, bool last);
  template <class T>
  void pack(std::span<const T> values, std::byte* target) const;
  std::uint64_t packed_bytes(std::int64_t elements) const;

  checkpoint::ShardWriter& writer_;
  std::size_t index_;
  DType dtype_;
  Packing packing_;
};

// The operand as tensor `index` of the layout, of type `dtype`: byte for byte where that is its type and nothing is
// cast, else value by value. Integer types are only copied.
void copy_tensor(const Engine& engine, const Operand& operand, DType dtype, checkpoint::ShardWriter& writer,
                 std::size_t index);
// The operand as Q8_0; its last dimension is a multiple of 32. Throws Error (input) for a value that is not finite or
// too large.
void quantize_tensor(const Engine& engine, const Operand& operand, checkpoint::ShardWriter& writer, std::size_t index);

}  // namespace solera::weights
