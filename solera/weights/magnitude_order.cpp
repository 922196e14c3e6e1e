#include "solera/weights/magnitude_order.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>

namespace solera::weights {

namespace {

template <class T>
std::uint64_t bits_of(T value) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  return std::bit_cast<Bits>(std::abs(value));
}

constexpr int kBinades = 4;         // log2 of the powers of two that have buckets of their own
constexpr int kMostBuckets = 12;    // log2
constexpr std::size_t kShort = 32;  // a bucket of this size is sorted by insertion

void set_entry(std::uint64_t& entry, std::uint64_t below, std::uint32_t index) { entry = below << 32 | index; }
void set_entry(std::pair<std::uint64_t, std::uint32_t>& entry, std::uint64_t below, std::uint32_t index) {
  entry = {below, index};
}
std::uint32_t index_of(std::uint64_t entry) { return static_cast<std::uint32_t>(entry); }
std::uint32_t index_of(const std::pair<std::uint64_t, std::uint32_t>& entry) { return entry.second; }

template <class Entry>
void sort_by_insertion(std::span<Entry> entries) {
  for (std::size_t i = 1; i < entries.size(); ++i) {
    const Entry one = entries[i];
    std::size_t at = i;
    for (; at > 0 && one < entries[at - 1]; --at) entries[at] = entries[at - 1];
    entries[at] = one;
  }
}

}  // namespace

template <class T>
std::span<const std::uint32_t> MagnitudeOrder<T>::sort(std::span<const T> values) {
  const std::size_t n = values.size();
  std::uint64_t top = 0;
  for (const T value : values) top = std::max(top, bits_of(value));
  const int width = std::clamp(static_cast<int>(std::bit_width(n)), 4, kMostBuckets);
  const int shift = (sizeof(T) == 4 ? 23 : 52) + kBinades - width;
  const std::uint64_t last = (std::uint64_t{1} << width) - 1;
  const auto bucket = [&](T value) {
    return static_cast<std::size_t>(std::min((top - bits_of(value)) >> shift, last));
  };
  starts_.assign(last + 2, 0);
  for (const T value : values) ++starts_[bucket(value) + 1];
  for (std::size_t b = 1; b < starts_.size(); ++b) starts_[b] += starts_[b - 1];
  entries_.resize(n);
  for (std::size_t i = 0; i < n; ++i)  // afterwards starts_[b] is where bucket b ends
    set_entry(entries_[starts_[bucket(values[i])]++], top - bits_of(values[i]), static_cast<std::uint32_t>(i));
  std::size_t begin = 0;
  for (std::size_t b = 0; b <= last; ++b) {
    const std::span<Entry> entries(entries_.data() + begin, starts_[b] - begin);
    begin = starts_[b];
    if (entries.size() <= kShort)
      sort_by_insertion(entries);
    else if (!std::is_sorted(entries.begin(), entries.end()))
      std::sort(entries.begin(), entries.end());
  }
  order_.resize(n);
  for (std::size_t i = 0; i < n; ++i) order_[i] = index_of(entries_[i]);
  return order_;
}

template <class T>
std::uint64_t MagnitudeOrder<T>::bytes(std::int64_t n) {
  return static_cast<std::uint64_t>(n) * (sizeof(Entry) + 4) + ((1u << kMostBuckets) + 1) * 4;
}

template class MagnitudeOrder<float>;
template class MagnitudeOrder<double>;

}  // namespace solera::weights
