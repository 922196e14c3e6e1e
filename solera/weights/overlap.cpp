#include "solera/weights/overlap.h"

#include <algorithm>
#include <map>
#include <string>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/weights/mask_index.h"

namespace solera::weights {

namespace {

using checkpoint::Change;
using checkpoint::Delta;
using checkpoint::DeltaEntry;

constexpr std::int64_t kBytes = 1 << 16;  // of a mask, at a time

std::int64_t count_both(std::span<const std::byte> a, std::span<const std::byte> b, std::vector<std::byte>& scratch) {
  scratch.resize(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) scratch[i] = a[i] & b[i];
  return count_ones(scratch);
}

// Names and numbers of entries of all tensors that a delta speaks of.
std::map<std::string, std::int64_t> tensors_of(std::span<const Delta> deltas) {
  std::map<std::string, checkpoint::Shape> shapes;
  std::map<std::string, std::int64_t> counts;
  for (const Delta& delta : deltas)
    for (const DeltaEntry& entry : delta.entries()) {
      const auto [row, fresh] = shapes.emplace(entry.base.name, entry.base.shape);
      if (!fresh && row->second != entry.base.shape)
        throw input_error(cat(entry.base.name, " is ", shape_text(entry.base.shape), " here and ",
                              shape_text(row->second), " in a delta before it"),
                          delta.path(), "they were made for different bases");
      counts[entry.base.name] = entry.base.elements();
    }
  return counts;
}

}  // namespace

double Overlap::share(std::size_t i, std::size_t j) const {
  return sizes[j] == 0 ? 0 : static_cast<double>(shared[i][j]) / static_cast<double>(sizes[j]);
}

void read_region(const Delta& delta, std::string_view tensor, std::int64_t entries, std::int64_t first,
                 std::span<std::byte> target) {
  const DeltaEntry* entry = delta.find(tensor);
  if (entry == nullptr || entry->change == Change::kNone) {
    std::fill(target.begin(), target.end(), std::byte{0});
  } else if (entry->mask) {
    static thread_local std::vector<std::byte> scratch;
    const auto bytes = delta.file().read(*entry->mask, static_cast<std::uint64_t>(first), target.size(), scratch);
    std::copy(bytes.begin(), bytes.end(), target.begin());
  } else {
    std::fill(target.begin(), target.end(), std::byte{0xff});
    const bool has_last = first + static_cast<std::int64_t>(target.size()) == (entries + 7) / 8;
    if (has_last && entries % 8 != 0) target.back() = static_cast<std::byte>((1 << (entries % 8)) - 1);
  }
}

Overlap find_overlap(const Engine& engine, std::span<const Delta> deltas) {
  const std::size_t n = deltas.size();
  Overlap result{std::vector<std::int64_t>(n), std::vector<std::vector<std::int64_t>>(n, std::vector<std::int64_t>(n)),
                 0};
  for (const auto& [name, entries] : tensors_of(deltas)) {
    const std::int64_t bytes = (entries + 7) / 8, pieces = (bytes + kBytes - 1) / kBytes;
    std::vector<std::vector<std::int64_t>> counts(static_cast<std::size_t>(pieces));  // of pairs, then of all together
    engine.pool->for_each(pieces, [&, &tensor = name, total = entries](std::int64_t piece, int) {
      throw_if_stopped();
      std::vector<std::vector<std::byte>> masks(n);
      std::vector<std::byte> scratch, any;
      const std::int64_t first = piece * kBytes, count = std::min(kBytes, bytes - first);
      any.assign(static_cast<std::size_t>(count), std::byte{0});
      auto& here = counts[static_cast<std::size_t>(piece)];
      for (std::size_t i = 0; i < n; ++i) {
        masks[i].resize(static_cast<std::size_t>(count));
        read_region(deltas[i], tensor, total, first, masks[i]);
        for (std::size_t k = 0; k < any.size(); ++k) any[k] |= masks[i][k];
        for (std::size_t j = 0; j <= i; ++j) here.push_back(count_both(masks[i], masks[j], scratch));
      }
      here.push_back(count_ones(any));
    });
    for (const auto& here : counts) {
      std::size_t k = 0;
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j <= i; ++j) result.shared[i][j] += here[k++];
      result.together += here[k];
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    result.sizes[i] = result.shared[i][i];
    for (std::size_t j = 0; j < i; ++j) result.shared[j][i] = result.shared[i][j];
  }
  for (const Delta& delta : deltas) delta.file().check();
  return result;
}

}  // namespace solera::weights
