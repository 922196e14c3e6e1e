// What tensor names say: layer numbers, embeddings and heads, older spellings of one name.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "solera/checkpoint/checkpoint.h"

namespace solera::merge {

enum class Role { kBody, kEmbedding, kHead };

struct NameFacts {
  std::optional<int> layer;   // "model.layers.7.mlp.up_proj.weight": 7
  Role role = Role::kBody;
};
NameFacts name_facts(std::string_view name);

// One spelling of a name for matching across models: LayerNorm.gamma and .beta as .weight and .bias, optional prefixes ("transformer.")
// as the base model has them, ... The rule list is in names.cpp.
std::string canonical_name(std::string_view name, const checkpoint::Checkpoint& model);

// Layers of a model: config.json's word (num_hidden_layers, n_layer, num_layers), else one more than the largest number seen.
int layer_count(const checkpoint::Checkpoint& model);

// Derived buffers that are never parameters (attn.bias masks of GPT-2, ...): dropped as mergekit's architecture maps drop them.
bool is_derived_buffer(std::string_view name, const checkpoint::Checkpoint& model);

}  // namespace solera::merge
