#include "solera/weights/output.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/checkpoint/gguf_blocks.h"

namespace solera::weights {

namespace {

constexpr std::uint64_t kWriteBytes = 1 << 20;

// What one thread has gathered. Calls of a chunk follow one another, and the last one empties it; what an aborted chunk
// left is dropped by whoever comes next.
struct Gathered {
  const TensorSink* owner = nullptr;
  std::int64_t first = 0, count = 0;
  std::vector<std::byte> bytes;
};
thread_local Gathered gathered;

void copy_bytes(const Engine& engine, const Operand& operand, checkpoint::ShardWriter& writer, std::size_t index) {
  const std::uint64_t total = operand.tensor->bytes();
  engine.pool->for_each(static_cast<std::int64_t>((total + kWriteBytes - 1) / kWriteBytes), [&](std::int64_t i, int) {
    throw_if_stopped();
    static thread_local std::vector<std::byte> scratch;
    const std::uint64_t first = static_cast<std::uint64_t>(i) * kWriteBytes;
    const std::uint64_t count = std::min(kWriteBytes, total - first);
    writer.write(index, first, operand.model->read(*operand.tensor, first, count, scratch));
    operand.tensor->source->check();
    if (engine.on_bytes_read) engine.on_bytes_read(count);
  });
}

template <class T>
void copy_values(const Engine& engine, const Operand& operand, Sink& sink) {
  map<T>(engine, std::span(&operand, 1), sink,
         [](const Tile<T>& tile, T* out) { std::copy_n(tile[0], tile.count, out); });
}

}  // namespace

std::uint64_t TensorSink::packed_bytes(std::int64_t elements) const {
  return packing_ == Packing::kPlain ? checkpoint::byte_count(dtype_, elements)
                                     : static_cast<std::uint64_t>(elements) / 32 * 34;
}

template <class T>
void TensorSink::pack(std::span<const T> values, std::byte* target) const {
  const auto n = static_cast<std::int64_t>(values.size());
  if (packing_ == Packing::kPlain) return store(dtype_, values.data(), n, target);
  if constexpr (std::is_same_v<T, float>) {
    if (checkpoint::quantize_q8_0(values.data(), n / 32, target)) return;
    throw input_error("values are too large for Q8_0, whose scale is a float16", "", "choose another --dtype");
  } else {
    throw internal_error("Q8_0 is made from float32");
  }
}

template <class T>
void TensorSink::gather(std::int64_t first, std::span<const T> values, bool last) {
  Gathered& own = gathered;
  if (own.owner != this || own.first + own.count != first) {
    own.owner = this;
    own.first = first;
    own.count = 0;
  }
  const auto n = static_cast<std::int64_t>(values.size());
  const std::uint64_t used = packed_bytes(own.count);
  const std::uint64_t needed = used + packed_bytes(n);
  if (own.bytes.size() < needed) own.bytes.resize(needed);
  pack(values, own.bytes.data() + used);
  own.count += n;
  if (!last && needed < kWriteBytes) return;
  writer_.write(index_, packed_bytes(own.first), {own.bytes.data(), needed});
  own.first += own.count;
  own.count = 0;
  if (last) own.owner = nullptr;
}

void copy_tensor(const Engine& engine, const Operand& operand, DType dtype, checkpoint::ShardWriter& writer,
                 std::size_t index) {
  if (dtype == operand.tensor->dtype && operand.cast.value_or(dtype) == dtype)
    return copy_bytes(engine, operand, writer, index);
  TensorSink sink(writer, index, dtype);
  needs_double(std::span(&operand, 1)) ? copy_values<double>(engine, operand, sink)
                                       : copy_values<float>(engine, operand, sink);
}

void quantize_tensor(const Engine& engine, const Operand& operand, checkpoint::ShardWriter& writer, std::size_t index) {
  Engine strict = engine;
  strict.allow_nonfinite = false;
  TensorSink sink(writer, index, DType::kF32, Packing::kQ8_0);
  try {
    copy_values<float>(strict, operand, sink);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInput) throw;
    // The engine's hint is a merge's option; the sink does not know the tensor.
    const bool named = error.problem().find(operand.tensor->name) != std::string::npos;
    throw input_error(named ? error.problem() : cat(operand.tensor->name, ": ", error.problem()),
                      operand.tensor->source->path(), "choose another --dtype");
  }
}

}  // namespace solera::weights
