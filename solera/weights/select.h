// The exact k-th largest magnitude among many, out of core: where a top-k mask or a band of ranks begins and ends.
//
// Entries are ordered by magnitude, largest first, equal ones by position: earlier segment first, then lower flat
// index. So "the first k" is a set of exactly k entries, whatever ties there are. A Cut after rank k says which entries
// those are.
//
// One pass in the common case: order statistics of a sample bracket the rank, one pass counts what lies above the
// bracket and collects what lies inside (a percent or so), a selection among those is exact. A bracket that misses,
// which data with an order of its own can cause, falls back to a histogram of the magnitudes' bits (two passes). Small
// inputs are selected in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "solera/weights/pass.h"

namespace solera::weights {

// The entries before it: those of larger magnitude, and of equal magnitude up to position (segment, last).
template <class T>
struct Cut {
  T value = std::numeric_limits<T>::infinity();
  std::size_t segment = 0;
  std::int64_t last = -1;

  // Where the tie ends within a segment: entries of magnitude `value` at indices below the result are before the cut.
  std::int64_t ties_end(std::size_t of_segment) const {
    if (of_segment != segment) return of_segment < segment ? std::numeric_limits<std::int64_t>::max() : 0;
    return last + 1;
  }
};

// One tensor whose magnitudes take part. Read for its changes, stream t is what operand t+1 changes of operand 0; read
// for its values, stream t is operand t. All segments have the same streams.
struct Segment {
  std::span<const Operand> operands;
};

struct RankRequest {
  std::size_t stream = 0;
  std::int64_t rank = 0;  // entries before the cut: 0 gives an empty set, at least all entries gives everything
  bool least = false;     // after all entries, too, the cut's value is the smallest magnitude (else 0, for no reading)
};

// A cut per request, over all segments together. T as for map(): double where an operand needs it.
template <class T>
std::vector<Cut<T>> select_cuts(const Engine& engine, std::span<const Segment> segments, Reading reading,
                                std::span<const RankRequest> requests);

// Magnitudes made of all operands of a segment: `write` turns elements [first, first + count) of rows[k], which are the
// operand's values or, for k > 0, its changes, into as many streams of scores, stream t in rows[t].
template <class T>
struct Score {
  std::size_t streams = 1;
  std::function<void(std::size_t segment, std::int64_t first, std::int64_t count, std::span<T* const> rows)> write;
};

// A cut per request, over the scores of all segments together.
template <class T>
std::vector<Cut<T>> select_score_cuts(const Engine& engine, std::span<const Segment> segments, Reading reading,
                                      const Score<T>& score, std::span<const RankRequest> requests);

// The cut before everything, for a rank of 0 or less, or after it.
template <class T>
Cut<T> end_cut(std::int64_t rank);

// The same for values in memory.
template <class T>
Cut<T> select_cut(std::span<const T> values, std::int64_t rank);

// Zeroes, in place, every entry of `values` (elements [first, first + n) of `segment`) that is not after `upper` and
// before `lower`: the band of ranks between two cuts.
template <class T>
void keep_between(const Cut<T>& upper, const Cut<T>& lower, std::size_t segment, std::int64_t first, std::int64_t n,
                  T* values);

// sum = sum + c times those that would be kept, in one sweep.
template <class T>
void add_between(const Cut<T>& upper, const Cut<T>& lower, std::size_t segment, std::int64_t first, std::int64_t n, T c,
                 const T* values, T* sum);

namespace detail {
// Tests: brackets that end where they begin, and the size below which memory is used.
struct SelectTuning {
  bool miss = false;
  std::int64_t in_memory = 65536;
};
SelectTuning& select_tuning();
}  // namespace detail

}  // namespace solera::weights
