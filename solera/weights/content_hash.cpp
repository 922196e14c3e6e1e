#include "solera/weights/content_hash.h"

#include <algorithm>
#include <vector>

#include "solera/base/files.h"
#include "solera/base/hash.h"

namespace solera::weights {

std::string content_hash(const checkpoint::TensorInfo& info, std::span<const std::string> pieces) {
  Hasher hasher;
  hasher.add(checkpoint::name(info.dtype)).add(static_cast<std::uint64_t>(info.shape.size()));
  for (const std::int64_t extent : info.shape) hasher.add(static_cast<std::uint64_t>(extent));
  for (const std::string& piece : pieces) hasher.add(piece);
  return hasher.hex();
}

std::string content_hash(const Engine& engine, const checkpoint::Checkpoint& model, const checkpoint::Tensor& tensor) {
  const std::uint64_t bytes = tensor.bytes();
  std::vector<std::string> pieces((bytes + kHashPiece - 1) / kHashPiece);
  engine.pool->for_each(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t i, int) {
    throw_if_stopped();
    static thread_local std::vector<std::byte> scratch;
    const std::uint64_t first = static_cast<std::uint64_t>(i) * kHashPiece, count = std::min(kHashPiece, bytes - first);
    pieces[static_cast<std::size_t>(i)] = hash_bytes(model.read(tensor, first, count, scratch));
    if (engine.on_bytes_read) engine.on_bytes_read(count);
  });
  tensor.source->check();
  return content_hash(tensor, pieces);
}

}  // namespace solera::weights
