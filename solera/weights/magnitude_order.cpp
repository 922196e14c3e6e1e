#include "solera/weights/magnitude_order.h"

#include <algorithm>
#include <type_traits>

namespace solera::weights {

namespace {

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
  const MagnitudeBuckets<T> buckets(values);
  starts_.assign(buckets.count + 1, 0);
  for (const T value : values) ++starts_[buckets.of(value) + 1];
  for (std::size_t b = 1; b < starts_.size(); ++b) starts_[b] += starts_[b - 1];
  entries_.resize(n);
  for (std::size_t i = 0; i < n; ++i)  // afterwards starts_[b] is where bucket b ends
    set_entry(entries_[starts_[buckets.of(values[i])]++], buckets.top - buckets.bits(values[i]),
              static_cast<std::uint32_t>(i));
  std::size_t begin = 0;
  for (std::size_t b = 0; b < buckets.count; ++b) {
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
  return static_cast<std::uint64_t>(n) * (sizeof(Entry) + 4) + (BucketWidth::kMost + 1) * 4;
}

template class MagnitudeOrder<float>;
template class MagnitudeOrder<double>;

}  // namespace solera::weights
