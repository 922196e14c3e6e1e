#include "solera/weights/mask_index.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "solera/base/error.h"

namespace solera::weights {

std::int64_t count_ones(std::span<const std::byte> mask) {
  std::int64_t count = 0;
  std::size_t i = 0;
  for (; i + 8 <= mask.size(); i += 8) {
    std::uint64_t word;
    std::memcpy(&word, mask.data() + i, 8);
    count += std::popcount(word);
  }
  for (; i < mask.size(); ++i) count += std::popcount(static_cast<unsigned>(mask[i]));
  return count;
}

MaskIndex::MaskIndex(const Engine& engine, const checkpoint::Delta& delta, const checkpoint::DeltaEntry& entry,
                     std::int64_t chunk) {
  const std::int64_t n = entry.base.elements(), chunks = (n + chunk - 1) / chunk;
  before_.resize(static_cast<std::size_t>(chunks) + 1);
  std::byte last{0};
  engine.pool->for_each(chunks, [&](std::int64_t i, int) {
    static thread_local std::vector<std::byte> scratch;
    const std::int64_t first = i * chunk, count = std::min(chunk, n - first);
    const auto bytes = delta.file().read(*entry.mask, static_cast<std::uint64_t>(first / 8),
                                         static_cast<std::uint64_t>((count + 7) / 8), scratch);
    before_[static_cast<std::size_t>(i)] = count_ones(bytes);
    if (i + 1 == chunks) last = bytes.back();
  });
  std::exclusive_scan(before_.begin(), before_.end(), before_.begin(), std::int64_t{0});
  if (n % 8 != 0 && (last >> (n % 8)) != std::byte{0})
    throw input_error(cat(entry.mask->name, " has ones past the last of ", n, " entries"), delta.path());
  if (before_.back() != entry.kept)
    throw input_error(cat(entry.mask->name, " has ", before_.back(), " ones for ", entry.kept, " values"),
                      delta.path());
  entry.mask->source->check();
}

}  // namespace solera::weights
