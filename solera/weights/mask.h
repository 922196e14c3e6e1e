// Masks over values in place: the largest magnitudes, or a random share. A draw (draws.h) is a function of a stream and
// the element's index in its tensor, so a random mask does not depend on tiles, threads or the CPU.
#pragma once

#include <cstdint>
#include <span>

#include "solera/weights/draws.h"
#include "solera/weights/select.h"

namespace solera::weights {

// Keeps the k entries of largest magnitude (equal ones by index, the lower first) and zeroes the rest. For tensors that
// are not in memory: select_cuts() and keep_between() of select.h.
template <class T>
void keep_top(std::span<T> values, std::int64_t k);

// Keeps each entry with probability p, times c, and zeroes the rest: entry i of `values` is element first + i of its
// tensor and takes that draw of the stream. p >= 1 keeps all.
template <class T>
void keep_random(const RandomStream& stream, double p, std::int64_t first, std::span<T> values, T c = 1);

// sum = sum + c times those that would be kept, in one sweep.
template <class T>
void add_random(const RandomStream& stream, double p, std::int64_t first, T c, std::span<const T> values, T* sum);

// A mask that is needed twice, one bit a value, from the lowest of a byte on: which values are not 0; and zeroing the
// values whose bits are not set, and multiplying the others by c. (n + 7) / 8 bytes for n values.
template <class T>
void note_nonzero(std::span<const T> values, std::uint8_t* bits);
template <class T>
void keep_noted(const std::uint8_t* bits, T c, std::span<T> values);

}  // namespace solera::weights
