// The order of a group's entries by magnitude, largest first, equal ones by index: exact ranks in linear time.
//
// The bits of a magnitude order it. Buckets of equal width in those bits, over the sixteen powers of two below the
// largest, hold a few entries each for any distribution that weights have; a counting sort puts entries into them, and
// each bucket is sorted by itself. Zeros, and whatever else lies further below, share the last bucket.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace solera::weights {

// How many buckets of what width for so many entries, whose type has so many bits of mantissa.
struct BucketWidth {
  static constexpr int kBinades = 4;              // log2 of the powers of two that have buckets of their own
  static constexpr std::size_t kMost = 1u << 12;  // buckets

  BucketWidth(std::size_t entries, int mantissa) {
    const int width = std::clamp(static_cast<int>(std::bit_width(entries)) - 1, 4, std::countr_zero(kMost));
    shift = mantissa + kBinades - width;
    count = std::size_t{1} << width;
  }
  std::size_t of(std::uint64_t below_top) const {  // the bucket of a magnitude whose bits are so far below the top's
    return static_cast<std::size_t>(std::min<std::uint64_t>(below_top >> shift, count - 1));
  }
  int shift;
  std::size_t count;
};

// Which of those buckets a magnitude is in, the largest ones in bucket 0.
template <class T>
struct MagnitudeBuckets : BucketWidth {
  explicit MagnitudeBuckets(std::span<const T> values) : BucketWidth(values.size(), sizeof(T) == 4 ? 23 : 52) {
    for (const T value : values) top = std::max(top, bits(value));
  }

  static std::uint64_t bits(T value) {
    return std::bit_cast<std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>(std::abs(value));
  }
  std::size_t of(T value) const { return BucketWidth::of(top - bits(value)); }

  std::uint64_t top = 0;  // the largest magnitude's bits
};

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
