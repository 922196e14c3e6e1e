// Random masks whose probabilities fall with the rank of a magnitude in its group, without sorting the group.
//
// An entry is kept where its draw lies below the threshold of its rank. Buckets of the magnitudes' bits bound every
// rank from both sides, and for nearly all entries the draw lies outside what the two bounds leave open. Only for the
// others is the rank counted out; groups in which those are many are sorted.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "solera/weights/magnitude_order.h"

namespace solera::weights {

template <class T>
class RankedMask {
 public:
  // Zeroes the entries whose draws are not below thresholds[rank]; rank 0 is the largest magnitude, equal ones go by
  // index, the lower first. `thresholds` do not rise; all spans have one length.
  void keep(std::span<const std::uint32_t> draws, std::span<const std::uint32_t> thresholds, std::span<T> values);

  static std::uint64_t bytes(std::int64_t n);  // of memory, for groups of up to n entries

 private:
  void keep_sorted(std::span<const std::uint32_t> draws, std::span<const std::uint32_t> thresholds,
                   std::span<T> values);

  struct Bounds {
    std::uint32_t surely = 0, possibly = 0;  // draws below: kept whatever the rank, kept for some rank
  };
  MagnitudeOrder<T> order_;
  std::vector<std::uint16_t> buckets_;       // of each entry
  std::vector<std::uint32_t> starts_;        // of each bucket: entries of larger buckets
  std::vector<Bounds> bounds_;               // of each bucket
  std::vector<std::uint32_t> open_, ranks_;  // undecided entries, and their ranks
};

}  // namespace solera::weights
