// A strided tensor (transposed, sliced, expanded) as contiguous bytes made on demand.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "solera/checkpoint/checkpoint.h"

namespace solera::checkpoint {

// Do these strides (in elements) walk the tensor row by row without gaps? Dimensions of size 1 do not matter.
bool is_contiguous(std::span<const std::int64_t> shape, std::span<const std::int64_t> strides);

// The strides of a tensor stored column by column.
Shape column_strides(std::span<const std::int64_t> shape);

// How many elements of storage the tensor reaches over, from its first; 0 if it is empty. Throws Error (input) naming
// `where` for a negative stride, unequal lengths and overflow.
std::int64_t reach(std::span<const std::int64_t> shape, std::span<const std::int64_t> strides,
                   const std::string& where);

// Byte 0 of the result is the tensor's first byte in row-major order. `offset` is the byte in `source` of the element
// with all indices 0; `width` is 1, 2, 4 or 8 bytes. Requires that all elements lie inside the source. A view gathers
// only what it is asked for: over a mapped file it allocates the result alone, otherwise some MiB more.
std::shared_ptr<const Source> strided_source(std::shared_ptr<const Source> source, std::uint64_t offset, int width,
                                             Shape shape, Shape strides);

}  // namespace solera::checkpoint
