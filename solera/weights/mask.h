// Masks over values in place: the largest magnitudes, or a random share.
#pragma once

#include <cstdint>
#include <span>

#include "solera/base/random.h"
#include "solera/weights/select.h"

namespace solera::weights {

// Keeps the k entries of largest magnitude (equal ones by index, the lower first) and zeroes the rest. For tensors that
// are not in memory: select_cuts() and keep_between() of select.h.
template <class T>
void keep_top(std::span<T> values, std::int64_t k);

// Keeps each entry with probability p: entry i of `values` is element first + i of its tensor and takes that draw of
// the stream, so a mask does not depend on tiles or threads.
template <class T>
void keep_random(const RandomStream& stream, double p, std::int64_t first, std::span<T> values);

}  // namespace solera::weights
