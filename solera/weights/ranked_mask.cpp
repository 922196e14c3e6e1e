#include "solera/weights/ranked_mask.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>

namespace solera::weights {

namespace {
constexpr std::size_t kMostOpen = 48;  // counting out more ranks than these costs more than a sort

// The value or 0 without a branch, which no predictor would foresee.
template <class T>
T kept(T value, bool keeps) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  return std::bit_cast<T>(static_cast<Bits>(std::bit_cast<Bits>(value) & (Bits{0} - Bits{keeps})));
}
}  // namespace

template <class T>
void RankedMask<T>::keep_sorted(std::span<const std::uint32_t> draws, std::span<const std::uint32_t> thresholds,
                                std::span<T> values) {
  const auto order = order_.sort(values);
  for (std::size_t rank = 0; rank < values.size(); ++rank)
    if (draws[order[rank]] >= thresholds[rank]) values[order[rank]] = 0;
}

template <class T>
void RankedMask<T>::keep(std::span<const std::uint32_t> draws, std::span<const std::uint32_t> thresholds,
                         std::span<T> values) {
  const std::size_t n = values.size();
  if (n < 64) return keep_sorted(draws, thresholds, values);
  const MagnitudeBuckets<T> buckets(values);
  buckets_.resize(n);
  starts_.assign(buckets.count + 1, 0);
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t bucket = buckets.of(values[i]);
    buckets_[i] = static_cast<std::uint16_t>(bucket);
    ++starts_[bucket + 1];
  }
  for (std::size_t b = 1; b <= buckets.count; ++b) starts_[b] += starts_[b - 1];
  bounds_.resize(buckets.count);
  for (std::size_t b = 0; b < buckets.count; ++b)
    if (starts_[b] < starts_[b + 1]) bounds_[b] = {thresholds[starts_[b + 1] - 1], thresholds[starts_[b]]};
  open_.resize(n);
  std::size_t open = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const Bounds bounds = bounds_[buckets_[i]];
    open_[open] = static_cast<std::uint32_t>(i);
    open += static_cast<std::size_t>(draws[i] >= bounds.surely) & static_cast<std::size_t>(draws[i] < bounds.possibly) &
            static_cast<std::size_t>(values[i] != 0);
  }
  if (open > kMostOpen) return keep_sorted(draws, thresholds, values);
  ranks_.resize(kMostOpen);
  for (std::size_t k = 0; k < open; ++k) {
    const std::size_t at = open_[k];
    const std::uint16_t bucket = buckets_[at];
    const T magnitude = std::abs(values[at]);
    std::uint32_t rank = starts_[bucket];
    for (std::size_t i = 0; i < n; ++i) {
      if (buckets_[i] != bucket) continue;
      const T other = std::abs(values[i]);
      rank += other > magnitude || (other == magnitude && i < at);
    }
    ranks_[k] = rank;
  }
  for (std::size_t i = 0; i < n; ++i) values[i] = kept(values[i], draws[i] < bounds_[buckets_[i]].possibly);
  for (std::size_t k = 0; k < open; ++k)
    if (draws[open_[k]] >= thresholds[ranks_[k]]) values[open_[k]] = 0;
}

template <class T>
std::uint64_t RankedMask<T>::bytes(std::int64_t n) {
  constexpr std::uint64_t kPerBucket = sizeof(std::uint32_t) + sizeof(Bounds), kPerEntry = 6;
  return MagnitudeOrder<T>::bytes(n) + static_cast<std::uint64_t>(n) * kPerEntry +
         MagnitudeBuckets<T>::kMost * kPerBucket;
}

template class RankedMask<float>;
template class RankedMask<double>;

}  // namespace solera::weights
