// Masks over values in place: the largest magnitudes, or a random share. A draw is the word of a stream at the
// element's index in its tensor (random.h), so a random mask does not depend on tiles, threads or the CPU.
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

// The draws below it are kept: floor(p 2^32); p of 1 and more cannot be said, and is 2^32 - 1.
std::uint32_t draw_threshold(double p);

// Keeps each entry with probability p, times c, and zeroes the rest: entry i of `values` is element first + i of its
// tensor and takes that draw of the stream. p >= 1 keeps all.
template <class T>
void keep_random(const RandomStream& stream, double p, std::int64_t first, std::span<T> values, T c = 1);

// sum = sum + c times those that would be kept, in one sweep.
template <class T>
void add_random(const RandomStream& stream, double p, std::int64_t first, T c, std::span<const T> values, T* sum);

// The same as keep_random() with a threshold for every entry.
template <class T>
void keep_below(const RandomStream& stream, std::span<const std::uint32_t> thresholds, std::int64_t first,
                std::span<T> values);

}  // namespace solera::weights
