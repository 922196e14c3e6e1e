// Where the values of a bit-packed sparse tensor begin: how many of its entries are kept before each chunk.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "solera/checkpoint/delta.h"
#include "solera/weights/pass.h"

namespace solera::weights {

class MaskIndex {
 public:
  // Reads the mask. `chunk` is a multiple of 8. Throws Error (input) if the mask has another number of ones than there
  // are values, or ones past its end.
  MaskIndex(const Engine& engine, const checkpoint::Delta& delta, const checkpoint::DeltaEntry& entry,
            std::int64_t chunk);
  std::int64_t before(std::int64_t number) const { return before_[static_cast<std::size_t>(number)]; }  // of a chunk
  std::int64_t in(std::int64_t number) const { return before(number + 1) - before(number); }

 private:
  std::vector<std::int64_t> before_;  // one more than chunks
};

// f(i, k) for the k-th one of a bitmap, which is entry i.
template <class F>
void for_ones(std::span<const std::byte> mask, F f) {
  std::int64_t k = 0;
  for (std::size_t byte = 0; byte < mask.size(); ++byte)
    for (auto bits = static_cast<unsigned>(mask[byte]); bits != 0; bits &= bits - 1)
      f(static_cast<std::int64_t>(byte) * 8 + std::countr_zero(bits), k++);
}

std::int64_t count_ones(std::span<const std::byte> mask);

}  // namespace solera::weights
