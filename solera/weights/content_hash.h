// The identity of a tensor's content: type, shape and bytes, whatever file or format they are in.
//
//   hash = XXH3-128 over (dtype, shape, XXH3-128 of every piece of 1 MiB in order)      docs/formats/delta.md
//
// Pieces are hashed on all threads. An identity, not a signature.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "solera/weights/pass.h"

namespace solera::weights {

inline constexpr std::uint64_t kHashPiece = 1 << 20;

// From the hashes of the pieces.
std::string content_hash(const checkpoint::TensorInfo& info, std::span<const std::string> pieces);
std::string content_hash(const Engine& engine, const checkpoint::Checkpoint& model, const checkpoint::Tensor& tensor);

}  // namespace solera::weights
