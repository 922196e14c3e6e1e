// What tensor names say: layer numbers, embeddings and heads, older spellings of one name, which tensors a model may
// lack.
//
// No architecture files: a handful of rules over names (names.cpp) does what mergekit's maps do, for any model whose
// names follow the usual habits.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "solera/checkpoint/checkpoint.h"

namespace solera::merge {

enum class Role { kBody, kEmbedding, kHead };

struct NameFacts {
  std::optional<int> layer;  // "model.layers.7.mlp.up_proj.weight": 7
  std::string stack;         // what comes before the number: "model.layers"; an encoder and a decoder are two stacks
  Role role = Role::kBody;   // embedding tables (token, position, type) and output heads
};
NameFacts name_facts(std::string_view name);

// Tables of tokens and the heads behind them: may their first axis run over the vocabulary? Positions and types do not.
bool may_span_vocabulary(std::string_view name);

// The same tensor of another layer: "model.layers.7.mlp.w" in layer 3 is "model.layers.3.mlp.w". It has a layer.
std::string in_layer(std::string_view name, int layer);

// Of a tensor outside the layers: is it used before them (embeddings and what belongs to them), or after (the final
// norm, poolers, heads)?
bool is_before_layers(std::string_view name);

// The keys of config.json, or of its text_config, that hold the number of layers.
std::span<const std::string_view> layer_count_keys();

// One spelling of a name for matching across models, and that of the output: LayerNorm.gamma and .beta as .weight and
// .bias, "h.0." and "wte." of older GPT-2 files as "transformer.h.0." and "transformer.wte.".
std::string canonical_name(std::string_view name, const checkpoint::Checkpoint& model);

// Layers of a model: config.json's word (num_hidden_layers, n_layer, num_layers), else one more than the largest number
// seen.
int layer_count(const checkpoint::Checkpoint& model);

// Derived buffers that are never parameters (attn.bias masks of GPT-2, rotary inv_freq): dropped, as mergekit's maps
// drop them.
bool is_derived_buffer(std::string_view name, const checkpoint::Checkpoint& model);

// May a model lack this tensor while others have it? The pooler of an encoder, position_ids.
bool is_optional(std::string_view name);

// The module of a task head, "cls" or "classifier", if the name lies in one.
std::string_view head_module(std::string_view name);

// A head that some models tie to their embedding: "lm_head.weight".
bool is_tied_head(std::string_view name);

// The tensor that stands in for a missing one because the two are tied: the embedding for lm_head.weight. Null if the
// model has none or its config says tie_word_embeddings: false.
const checkpoint::Tensor* tied_partner(std::string_view name, const checkpoint::Checkpoint& model);

}  // namespace solera::merge
