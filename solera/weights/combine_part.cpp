#include "solera/weights/combine_part.h"

#include <algorithm>
#include <cstring>

#include "solera/base/error.h"
#include "solera/weights/vector.h"

namespace solera::weights {

namespace {

using checkpoint::Delta;
using checkpoint::DeltaEntry;

void own(CombineChunk& chunk, std::int64_t i) {
  std::uint8_t& owners = chunk.owners[static_cast<std::size_t>(i)];
  if (owners < 255) ++owners;
}

void own_changed(CombineChunk& chunk, const double* change) {
  for (std::int64_t i = 0; i < chunk.count; ++i)
    if (change[i] != 0) own(chunk, i);
}

std::span<const std::byte> read_mask(const Delta& delta, const DeltaEntry& entry, std::int64_t first,
                                     std::int64_t count) {
  static thread_local std::vector<std::byte> scratch;
  return delta.file().read(*entry.mask, static_cast<std::uint64_t>(first / 8),
                           static_cast<std::uint64_t>((count + 7) / 8), scratch);
}

// The values that belong to entries [first, first + count).
std::span<const std::byte> read_values(const Delta& delta, const DeltaEntry& entry, const MaskIndex* index,
                                       std::int64_t number, std::int64_t first, std::int64_t count) {
  static thread_local std::vector<std::byte> scratch;
  const auto width = static_cast<std::uint64_t>(checkpoint::bits(entry.values->dtype) / 8);
  const std::int64_t at = index ? index->before(number) : first, n = index ? index->in(number) : count;
  return delta.file().read(*entry.values, static_cast<std::uint64_t>(at) * width, static_cast<std::uint64_t>(n) * width,
                           scratch);
}

class DifferencePart final : public CombinePart {
 public:
  DifferencePart(const Engine& engine, const Delta& delta, const DeltaEntry& entry, double c)
      : delta_(delta), entry_(entry), c_(c) {
    if (entry.sparse) index_ = std::make_unique<MaskIndex>(engine, delta, entry, kCombineChunk);
  }

  void add(CombineChunk& chunk) const override {
    const auto bytes = read_values(delta_, entry_, index_.get(), chunk.number, chunk.first, chunk.count);
    const std::int64_t n = index_ ? index_->in(chunk.number) : chunk.count;
    chunk.numbers.resize(static_cast<std::size_t>(n));
    if (!load(entry_.values->dtype, bytes.data(), n, chunk.numbers.data()))
      throw input_error(cat(entry_.values->name, " holds a value that is not finite"), delta_.path());
    if (!index_) {
      own_changed(chunk, chunk.numbers.data());
      return add_scaled(c_, chunk.numbers.data(), n, chunk.sum.data());
    }
    for_ones(read_mask(delta_, entry_, chunk.first, chunk.count), [&](std::int64_t i, std::int64_t k) {
      chunk.sum[static_cast<std::size_t>(i)] += c_ * chunk.numbers[static_cast<std::size_t>(k)];
      own(chunk, i);
    });
  }

 private:
  const Delta& delta_;
  const DeltaEntry& entry_;
  double c_;
  std::unique_ptr<MaskIndex> index_;
};

class LowRankPart final : public CombinePart {
 public:
  LowRankPart(LowRank factors, double c) : factors_(std::move(factors)), c_(c) {}
  void add(CombineChunk& chunk) const override {
    chunk.numbers.assign(static_cast<std::size_t>(chunk.count), 0);
    factors_.add(chunk.first, chunk.count, c_, chunk.numbers.data());
    own_changed(chunk, chunk.numbers.data());
    add_scaled(1.0, chunk.numbers.data(), chunk.count, chunk.sum.data());
  }

 private:
  LowRank factors_;
  double c_;
};

}  // namespace

XorPart::XorPart(const Engine& engine, const Delta& delta, const DeltaEntry& entry, double c)
    : delta_(delta), entry_(entry), c_(c) {
  if (entry.sparse) index_ = std::make_unique<MaskIndex>(engine, delta, entry, kCombineChunk);
}

std::span<const std::byte> XorPart::values(std::int64_t number, std::int64_t first, std::int64_t count) const {
  return read_values(delta_, entry_, index_.get(), number, first, count);
}
std::span<const std::byte> XorPart::mask(std::int64_t first, std::int64_t count) const {
  return read_mask(delta_, entry_, first, count);
}

void XorPart::flip(std::int64_t number, std::int64_t first, std::int64_t count, std::byte* target) const {
  const auto bits = values(number, first, count);
  if (!index_) {
    for (std::size_t i = 0; i < bits.size(); ++i) target[i] ^= bits[i];
    return;
  }
  const auto width = checkpoint::bits(entry_.base.dtype) / 8;
  for_ones(mask(first, count), [&](std::int64_t i, std::int64_t k) {
    for (std::int64_t b = 0; b < width; ++b) target[i * width + b] ^= bits[static_cast<std::size_t>(k * width + b)];
  });
}

void XorPart::add(CombineChunk& chunk) const {
  const std::int64_t width = checkpoint::bits(chunk.dtype) / 8;
  chunk.buffer.assign(chunk.bytes.begin(), chunk.bytes.end());
  flip(chunk.number, chunk.first, chunk.count, chunk.buffer.data());
  chunk.numbers.resize(static_cast<std::size_t>(chunk.count));
  load(chunk.dtype, chunk.buffer.data(), chunk.count, chunk.numbers.data());
  const auto moved = [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i * width);
    return std::memcmp(chunk.buffer.data() + at, chunk.bytes.data() + at, static_cast<std::size_t>(width)) != 0;
  };
  const auto take = [&](std::int64_t i) {
    const auto k = static_cast<std::size_t>(i), at = static_cast<std::size_t>(i * width);
    chunk.sum[k] += c_ * (chunk.numbers[k] - chunk.base[k]);
    own(chunk, i);
    if (c_ != 1) return;
    chunk.whole[k] = 1;
    std::memcpy(chunk.tuned.data() + at, chunk.buffer.data() + at, static_cast<std::size_t>(width));
  };
  if (index_) {
    for_ones(mask(chunk.first, chunk.count), [&](std::int64_t i, std::int64_t) { take(i); });
  } else {
    for (std::int64_t i = 0; i < chunk.count; ++i)
      if (moved(i)) take(i);
  }
}

std::unique_ptr<CombinePart> difference_part(const Engine& engine, const Delta& delta, const DeltaEntry& entry,
                                             double c) {
  return std::make_unique<DifferencePart>(engine, delta, entry, c);
}
std::unique_ptr<CombinePart> low_rank_part(LowRank factors, double c) {
  return std::make_unique<LowRankPart>(std::move(factors), c);
}

}  // namespace solera::weights
