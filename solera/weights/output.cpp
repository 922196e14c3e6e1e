#include "solera/weights/output.h"

#include <algorithm>
#include <vector>

#include "solera/base/files.h"

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

template <class T>
void TensorSink::gather(std::int64_t first, std::span<const T> values, bool last) {
  Gathered& own = gathered;
  if (own.owner != this || own.first + own.count != first) {
    own.owner = this;
    own.first = first;
    own.count = 0;
  }
  const auto n = static_cast<std::int64_t>(values.size());
  const std::uint64_t used = checkpoint::byte_count(dtype_, own.count);
  const std::uint64_t needed = used + checkpoint::byte_count(dtype_, n);
  if (own.bytes.size() < needed) own.bytes.resize(needed);
  store(dtype_, values.data(), n, own.bytes.data() + used);
  own.count += n;
  if (!last && needed < kWriteBytes) return;
  writer_.write(index_, checkpoint::byte_count(dtype_, own.first), {own.bytes.data(), needed});
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

}  // namespace solera::weights
