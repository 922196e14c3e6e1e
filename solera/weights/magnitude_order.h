// The order of a group's entries by magnitude, largest first, equal ones by index: exact ranks in linear time.
//
// The bits of a magnitude order it. Buckets of equal width in those bits, over the sixteen powers of two below the
// largest, hold a few entries each for any distribution that weights have; a counting sort puts entries into them, and
// each bucket is sorted by itself. Zeros, and whatever else lies further below, share the last bucket.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace solera::weights {

template <class T>
class MagnitudeOrder {
 public:
  // The index at each rank, of up to 2^32 values that are numbers. Valid until the next call.
  std::span<const std::uint32_t> sort(std::span<const T> values);

  static std::uint64_t bytes(std::int64_t n);  // of memory, for groups of up to n entries

 private:
  // The largest magnitude's bits less these, and the index: one number where both have room in it.
  using Entry = std::conditional_t<sizeof(T) == 4, std::uint64_t, std::pair<std::uint64_t, std::uint32_t>>;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> starts_, order_;
};

}  // namespace solera::weights
