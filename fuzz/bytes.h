// What the fuzz targets of file formats share.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "solera/checkpoint/checkpoint.h"
#include "solera/checkpoint/source.h"

namespace fuzz {

inline std::shared_ptr<const solera::checkpoint::Source> source_of(const void* data, std::size_t size,
                                                                   const std::string& name) {
  std::vector<std::byte> bytes(size);
  if (size > 0) std::memcpy(bytes.data(), data, size);
  return solera::checkpoint::memory_source(name, std::move(bytes));
}

// Reads what a table promises: bytes that are there, or an Error.
inline void read_all(std::span<const solera::checkpoint::Tensor> tensors) {
  constexpr std::uint64_t kPiece = 1 << 16;  // an expanded tensor may be far larger than its file
  std::vector<std::byte> scratch;
  for (const auto& tensor : tensors) {
    const std::uint64_t bytes = tensor.bytes();
    if (bytes > 0) tensor.source->view(tensor.offset, bytes < kPiece ? bytes : kPiece, scratch);
  }
}

}  // namespace fuzz
