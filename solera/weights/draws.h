// Draws of random masks: 32 bits for every element, of which the lower half is rarely looked at.
//
//   draw(i) = 65536 h(i) + h(2^63 + i)        h(j): half-word j of the stream, the low half of a word before its high
//   one
//
// A draw is compared with a threshold, and but for one in 65,536 its upper half decides. A stream's block then serves
// eight elements.
#pragma once

#include <cstdint>
#include <span>

#include "solera/base/random.h"

namespace solera::weights {

std::uint32_t draw_of(const RandomStream& stream, std::int64_t element);

// The draws below it are kept: floor(p 2^32); p of 1 and more cannot be said, and is 2^32 - 1.
std::uint32_t draw_threshold(double p);

// The upper halves of the draws of elements [first, first + out.size()).
void upper_halves(const RandomStream& stream, std::int64_t first, std::span<std::uint16_t> out);

// Is the element's draw, of which this is the upper half, below the threshold?
inline bool is_below(const RandomStream& stream, std::int64_t element, std::uint16_t upper, std::uint32_t threshold) {
  const std::uint32_t first = threshold >> 16;
  return upper < first || (upper == first && draw_of(stream, element) < threshold);
}

}  // namespace solera::weights
