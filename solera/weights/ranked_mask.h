// Random masks whose probabilities fall with the rank of a magnitude in its group, without sorting the group.
//
// An entry is kept where its draw lies below the threshold of its rank. Thresholds span a part of the draws only, so
// most entries are decided whatever their rank. For the others, buckets of the magnitudes' bits bound the rank from
// both sides; where the draw lies within what the bounds leave open, the rank is counted out. Groups in which those are
// many, and groups of doubles, are sorted.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "solera/weights/draws.h"
#include "solera/weights/magnitude_order.h"

namespace solera::weights {

template <class T>
class RankedMask {
 public:
  // Zeroes the entries whose draws are not below thresholds[rank]; rank 0 is the largest magnitude, equal ones go by
  // index, the lower first. Entry i is element first + i of the stream's draws. `thresholds` do not rise and are as
  // many as values.
  void keep(const RandomStream& stream, std::int64_t first, std::span<const std::uint32_t> thresholds,
            std::span<T> values);

  static std::uint64_t bytes(std::int64_t n);  // of memory, for groups of up to n entries

 private:
  void keep_sorted(const RandomStream& stream, std::int64_t first, std::span<const std::uint32_t> thresholds,
                   std::span<const T> magnitudes, std::span<T> values);
  void keep_bucketed(const RandomStream& stream, std::int64_t first, std::span<const std::uint32_t> thresholds,
                     std::span<T> values);

  MagnitudeOrder<T> order_;
  std::vector<std::uint16_t> halves_;             // upper halves of the draws
  std::vector<T> magnitudes_;                     // of all entries
  std::vector<std::uint32_t> bits_;               // those that are not 0, in order, with room for a vector more
  std::vector<std::uint32_t> buckets_, starts_;   // their buckets; of each bucket, entries of larger ones
  std::vector<std::uint32_t> candidates_, open_;  // entries whose rank counts; those of them that bounds leave open
};

}  // namespace solera::weights
