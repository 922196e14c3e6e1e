// A GGUF file as a Hugging Face model and back: names, order of rows, config.json and metadata.
// Architectures: llama (mistral too, which GGUF calls llama) and qwen2; others are refused by name.
#pragma once

#include <string>
#include <vector>

#include "solera/base/document.h"
#include "solera/checkpoint/checkpoint.h"
#include "solera/checkpoint/gguf.h"

namespace solera::checkpoint {

struct HuggingFaceModel {
  std::vector<Tensor> tensors;
  Node config;                        // config.json from the metadata
  std::vector<std::string> warnings;  // what it cannot say, a line each
};

// Throws Error (input) for another architecture, a tensor that has no name there, and metadata that is not there or
// does not fit the tensors.
HuggingFaceModel to_hugging_face(GgufFile file, const std::string& path);

struct GgufModel {
  std::vector<Tensor> tensors;        // under GGUF's names, in the order of the file
  GgufMetadata metadata;              // all but the type of the file, which the writer chooses
  std::vector<std::string> warnings;  // what could not be made, a line each
};

// Throws Error (input) for a model without a config.json, of another type, or with a tensor that GGUF has no name for.
GgufModel to_gguf(const Checkpoint& model);

}  // namespace solera::checkpoint
