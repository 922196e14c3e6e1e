// Which files of a Hugging Face folder make up a model, and what an index says. docs/formats/model-folder.md
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "solera/checkpoint/checkpoint.h"

namespace solera::checkpoint {

// The one file to open for a folder: an index or a file of weights. In this order: model.safetensors, its index, a
// single other *.safetensors or its index, pytorch_model.bin, its index, a single *.gguf. Throws Error (input) if there
// is none or more than one, and for adapters.
std::string find_weights(const std::string& folder);
std::string find_weights(const std::string& folder, const std::vector<std::string>& names);  // sorted

bool is_plain_path(std::string_view name);  // relative, without empty parts, "." and ".."

// An index file ("weight_map": {tensor: shard}), checked: every shard is a plain name inside the folder and is there.
struct ShardIndex {
  std::string path;
  std::string text_hash;
  std::vector<std::string> shards;                          // names, sorted
  std::vector<std::pair<std::string, std::size_t>> places;  // tensor and number of its shard, sorted by tensor
};
ShardIndex read_index(const std::string& path);
ShardIndex parse_index(std::string_view text, const std::string& path);

// Throws Error (input) unless every tensor of the index is in the shard it names. `tensors` are sorted by name; shard
// i's source has the path join_path(folder of the index, shards[i]).
void require_agreement(const ShardIndex& index, std::span<const Tensor> tensors);

// Names, relative to the folder, of the files that travel with a model: config, tokenizer, chat template, the model's
// own code, licence. Sorted.
std::vector<std::string> find_side_files(const std::string& folder);
bool is_side_file(const std::string& name);
std::span<const std::string_view> side_file_patterns();  // the globs behind it; *.jinja in chat_templates/ comes on top

}  // namespace solera::checkpoint
