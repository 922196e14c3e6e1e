// From numbers to stored tensors of an output under construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "solera/checkpoint/writer.h"
#include "solera/weights/pass.h"

namespace solera::weights {

// One tensor of a layout as a Sink: results are converted to its type and gathered to writes of about a megabyte.
// Thread-safe as a Sink is.
class TensorSink final : public Sink {
 public:
  TensorSink(checkpoint::ShardWriter& writer, std::size_t index, DType dtype)
      : writer_(writer), index_(index), dtype_(dtype) {}

  void write(std::int64_t first, std::span<const float> values, bool last) override { gather(first, values, last); }
  void write(std::int64_t first, std::span<const double> values, bool last) override { gather(first, values, last); }

 private:
  template <class T>
  void gather(std::int64_t first, std::span<const T> values, bool last);

  checkpoint::ShardWriter& writer_;
  std::size_t index_;
  DType dtype_;
};

// The operand as tensor `index` of the layout, of type `dtype`: byte for byte where that is its type and nothing is
// cast, else value by value. Integer types are only copied.
void copy_tensor(const Engine& engine, const Operand& operand, DType dtype, checkpoint::ShardWriter& writer,
                 std::size_t index);

}  // namespace solera::weights
