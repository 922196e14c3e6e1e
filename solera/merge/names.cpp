#include "solera/merge/names.h"

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::merge {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Tensor;
using Names = std::span<const std::string_view>;

constexpr std::string_view kStacks[] = {
    "layers", "layer", "h", "blocks", "block", "resblocks", "transformer_blocks", "encoder_layers", "decoder_layers"};
constexpr std::string_view kTokenTables[] = {"embed_tokens.weight",       "wte.weight",      "word_embeddings.weight",
                                             "tok_embeddings.weight",     "embed_in.weight", "shared.weight",
                                             "backbone.embeddings.weight"};
constexpr std::string_view kOtherTables[] = {"wpe.weight", "position_embeddings.weight", "token_type_embeddings.weight",
                                             "embed_positions.weight", "position_embedding.weight"};
constexpr std::string_view kTiedHeads[] = {
    "lm_head.weight",         "lm_head.decoder.weight", "cls.predictions.decoder.weight",
    "vocab_projector.weight", "output.weight",          "embed_out.weight"};
constexpr std::string_view kHeadModules[] = {
    "lm_head",          "cls",       "classifier", "score",  "qa_outputs",          "vocab_projector",
    "vocab_transform",  "embed_out", "output",     "v_head", "classification_head", "pre_classifier",
    "seq_relationship", "head"};
constexpr std::string_view kLayerCounts[] = {"num_hidden_layers", "n_layer", "num_layers", "n_layers"};
constexpr std::string_view kEntrances[] = {"wte", "wpe", "shared", "project_in"};  // besides embed*, *embeddings*
constexpr std::string_view kBareGpt2[] = {"h.", "wte.", "wpe.", "ln_f."};

bool one_of(std::string_view text, Names names) { return std::find(names.begin(), names.end(), text) != names.end(); }

// Does the name end with one of these, at a component?
bool ends_with_one_of(std::string_view name, Names endings) {
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view ending) {
    return name.ends_with(ending) && (name.size() == ending.size() || name[name.size() - ending.size() - 1] == '.');
  });
}

bool is_config_class(const Checkpoint& model, std::string_view name) {
  const Node* classes = model.config().find("architectures");
  if (!classes || !classes->is_list()) return false;
  return std::any_of(classes->items().begin(), classes->items().end(),
                     [&](const Node& one) { return one.is_scalar() && one.as_text() == name; });
}

const Node* config_value(const Checkpoint& model, std::string_view key) {
  if (const Node* value = model.config().find(key); value && value->is_scalar()) return value;
  if (const Node* text = model.config().find("text_config"); text && text->is_map())
    if (const Node* value = text->find(key); value && value->is_scalar()) return value;
  return nullptr;
}

}  // namespace

NameFacts name_facts(std::string_view name) {
  NameFacts facts;
  std::string_view before;
  for (std::size_t start = 0; start <= name.size();) {
    const std::size_t end = std::min(name.find('.', start), name.size());
    const std::string_view piece = name.substr(start, end - start);
    const auto number = one_of(before, kStacks) && piece.size() < 7 ? parse_int(piece) : std::nullopt;
    if (number && *number >= 0 && end < name.size()) {
      facts.layer = static_cast<int>(*number);
      facts.stack = std::string(name.substr(0, start - 1));
      return facts;
    }
    before = piece;
    start = end + 1;
  }
  if (ends_with_one_of(name, kTokenTables) || ends_with_one_of(name, kOtherTables))
    facts.role = Role::kEmbedding;
  else if (!head_module(name).empty())
    facts.role = Role::kHead;
  return facts;
}

bool may_span_vocabulary(std::string_view name) {
  return name_facts(name).role != Role::kBody && !ends_with_one_of(name, kOtherTables);
}

std::string canonical_name(std::string_view name, const Checkpoint& model) {
  std::string result(name);
  constexpr std::pair<std::string_view, std::string_view> kNorms[] = {{"LayerNorm.gamma", "weight"},
                                                                      {"LayerNorm.beta", "bias"}};
  for (const auto& [old, modern] : kNorms) {
    if (!ends_with_one_of(result, std::span(&old, 1))) continue;
    result.resize(result.rfind('.') + 1);
    result += modern;
  }
  const bool bare = std::any_of(std::begin(kBareGpt2), std::end(kBareGpt2),
                                [&](std::string_view start) { return result.starts_with(start); });
  if (bare && !is_config_class(model, "GPT2Model")) result.insert(0, "transformer.");
  return result;
}

std::string in_layer(std::string_view name, int layer) {
  const std::size_t start = name_facts(name).stack.size() + 1;
  return cat(name.substr(0, start), layer, name.substr(name.find('.', start)));
}

bool is_before_layers(std::string_view name) {
  if (name_facts(name).role == Role::kHead) return false;
  const std::vector<std::string> pieces = split(name, '.');
  return std::any_of(pieces.begin(), pieces.end(), [](const std::string& piece) {
    return one_of(piece, kEntrances) || piece.find("embed") != std::string::npos;
  });
}

std::span<const std::string_view> layer_count_keys() { return kLayerCounts; }

int layer_count(const Checkpoint& model) {
  for (const std::string_view key : kLayerCounts)
    if (const Node* value = config_value(model, key))
      if (const auto count = value->try_double(); count && *count >= 0 && *count < 1e6) return static_cast<int>(*count);
  int count = 0;
  for (const Tensor& tensor : model.tensors())
    if (const auto layer = name_facts(tensor.name).layer) count = std::max(count, *layer + 1);
  return count;
}

bool is_derived_buffer(std::string_view name, const Checkpoint& model) {
  constexpr std::string_view kAlways[] = {"attn.masked_bias", "attention.masked_bias", "rotary_emb.inv_freq",
                                          "rotary_pos_emb.inv_freq"};
  constexpr std::string_view kMasks[] = {"attn.bias", "attention.bias"};
  if (ends_with_one_of(name, kAlways)) return true;
  if (!ends_with_one_of(name, kMasks)) return false;
  // A causal mask is [1, 1, n, n] or holds integers; anything else of that name is a bias.
  const Tensor* tensor = model.find(name);
  return tensor && (checkpoint::is_integer(tensor->dtype) ||
                    (tensor->shape.size() == 4 && tensor->shape[0] == 1 && tensor->shape[1] == 1));
}

bool is_optional(std::string_view name) {
  constexpr std::string_view kBuffers[] = {"position_ids", "token_type_ids"};
  if (ends_with_one_of(name, kBuffers)) return true;
  return name.starts_with("pooler.") || name.find(".pooler.") != std::string_view::npos;
}

std::string_view head_module(std::string_view name) {
  const std::string_view first = name.substr(0, name.find('.'));
  return first.size() < name.size() && one_of(first, kHeadModules) ? first : std::string_view();
}

bool is_tied_head(std::string_view name) { return one_of(name, kTiedHeads); }

const Tensor* tied_partner(std::string_view name, const Checkpoint& model) {
  if (const Node* tied = config_value(model, "tie_word_embeddings"); tied && tied->try_bool() == false) return nullptr;
  if (name == "encoder.embed_tokens.weight" || name == "decoder.embed_tokens.weight")
    return model.find("shared.weight");
  if (!is_tied_head(name)) return nullptr;
  if (const Tensor* shared = model.find("shared.weight")) return shared;
  const Tensor* found = nullptr;
  for (const Tensor& tensor : model.tensors()) {
    if (!ends_with_one_of(tensor.name, kTokenTables)) continue;
    if (found) return nullptr;  // two tables: which one is meant cannot be told
    found = &tensor;
  }
  return found;
}

}  // namespace solera::merge
