// From one format, type or sharding to another: every tensor, in bounded memory, whole or not at all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "solera/base/progress.h"
#include "solera/base/threads.h"
#include "solera/checkpoint/checkpoint.h"

namespace solera::weights {

struct ConvertOptions {
  std::string out;                         // *.safetensors, *.pt, *.pth, *.bin, *.npz, *.gguf, else a model folder
  std::optional<checkpoint::DType> dtype;  // of the floating-point tensors; integers keep theirs
  bool q8_0 = false;                       // GGUF alone: blocks of eight-bit integers, in place of `dtype`
  std::uint64_t shard_bytes = 5'000'000'000;
  bool force = false;
};

// Side files go along into a folder, config.json with its type mended. Tied tensors of a PyTorch file are written once
// each. Throws Error (usage) for an output that exists or is the input, for a type that the format lacks ("--dtype
// float32"), and for a change of type in a quantized model. What a format cannot take along is a warning.
void convert_checkpoint(const checkpoint::Checkpoint& in, const ConvertOptions& options, Pool& pool,
                        Progress& progress);

}  // namespace solera::weights
