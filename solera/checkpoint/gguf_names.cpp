#include "solera/checkpoint/gguf_names.h"

#include <algorithm>
#include <array>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/checkpoint/strided.h"

namespace solera::checkpoint {
namespace {

constexpr std::array kFamilies = {
    GgufFamily{"llama", "LlamaForCausalLM", true},
    GgufFamily{"qwen2", "Qwen2ForCausalLM", false},
};

struct Pair {
  std::string_view hugging_face, gguf;
};
constexpr std::array kGlobal = {
    Pair{"model.embed_tokens", "token_embd"},
    Pair{"model.norm", "output_norm"},
    Pair{"lm_head", "output"},
};
constexpr std::array kLayer = {
    Pair{"input_layernorm", "attn_norm"},    Pair{"self_attn.q_proj", "attn_q"},
    Pair{"self_attn.k_proj", "attn_k"},      Pair{"self_attn.v_proj", "attn_v"},
    Pair{"self_attn.o_proj", "attn_output"}, Pair{"post_attention_layernorm", "ffn_norm"},
    Pair{"mlp.gate_proj", "ffn_gate"},       Pair{"mlp.up_proj", "ffn_up"},
    Pair{"mlp.down_proj", "ffn_down"},
};
constexpr Pair kLayerPrefix = {"model.layers.", "blk."};

std::optional<std::string> translated(std::string_view name, std::string_view Pair::* from,
                                      std::string_view Pair::* to) {
  const std::size_t dot = name.rfind('.');
  const std::string_view suffix = dot == name.npos ? "" : name.substr(dot);
  if (suffix != ".weight" && suffix != ".bias") return std::nullopt;
  std::string_view stem = name.substr(0, dot);
  const auto find = [&](const auto& table) -> std::optional<std::string> {
    const auto row = std::find_if(table.begin(), table.end(), [&](const Pair& pair) { return pair.*from == stem; });
    return row == table.end() ? std::nullopt : std::optional(cat((*row).*to, suffix));
  };
  if (!stem.starts_with(kLayerPrefix.*from)) return find(kGlobal);
  stem.remove_prefix((kLayerPrefix.*from).size());
  const std::size_t digits = std::min(stem.find('.'), stem.size());
  const std::string_view layer = stem.substr(0, digits);
  if (layer.empty() || layer.size() > 6 || layer.find_first_not_of("0123456789") != layer.npos) return std::nullopt;
  stem.remove_prefix(std::min(digits + 1, stem.size()));
  const auto rest = find(kLayer);
  return rest ? std::optional(cat(kLayerPrefix.*to, layer, ".", *rest)) : std::nullopt;
}

}  // namespace

const GgufFamily* find_family(std::string_view architecture) {
  const auto row = std::find_if(kFamilies.begin(), kFamilies.end(),
                                [&](const GgufFamily& family) { return family.architecture == architecture; });
  return row == kFamilies.end() ? nullptr : &*row;
}

const GgufFamily& family_of(const Node& config, const std::string& where) {
  const Node* type = config.find("model_type");
  if (type == nullptr || !type->is_scalar()) throw input_error("no model_type", where, "GGUF needs to know what it is");
  const std::string& text = type->as_text();
  const GgufFamily* family = find_family(text == "mistral" ? "llama" : text);  // the same network
  if (family == nullptr)
    throw input_error(cat("models of type ", text, " are not written as GGUF"), where, "llama, mistral and qwen2 are");
  return *family;
}

std::string known_architectures() {
  std::string text;
  for (const GgufFamily& family : kFamilies) text += cat(text.empty() ? "" : ", ", family.architecture);
  return text;
}

std::optional<std::string> gguf_name(std::string_view name) {
  return translated(name, &Pair::hugging_face, &Pair::gguf);
}
std::optional<std::string> hugging_face_name(std::string_view name) {
  return translated(name, &Pair::gguf, &Pair::hugging_face);
}

Tensor in_order(Tensor tensor, std::string_view gguf, const Heads& heads, RowOrder to) {
  const bool query = gguf.find(".attn_q.") != gguf.npos;
  if (!query && gguf.find(".attn_k.") == gguf.npos) return tensor;
  const std::int64_t count = query ? heads.query : heads.key;
  const std::int64_t rows = tensor.shape.empty() ? 0 : tensor.shape[0];
  if (tensor.shape.size() > 2 || count <= 0 || heads.size <= 0 || rows % count != 0 || rows / count != heads.size)
    throw input_error(
        cat(tensor.name, " is ", shape_text(tensor.shape), ", but has ", count, " heads of ", heads.size, " rows"),
        tensor.source->path());
  if (heads.size % 2 != 0)
    throw input_error(cat(tensor.name, ": heads of ", heads.size, " rows make no pairs"), tensor.source->path());
  const std::int64_t half = heads.size / 2, width = tensor.shape.size() == 2 ? tensor.shape[1] : 1;
  const bool pairs = to == RowOrder::kPairs;
  const Shape shape = pairs ? Shape{count, half, 2, width} : Shape{count, 2, half, width};
  const Shape strides =
      pairs ? Shape{half * 2 * width, width, half * width, 1} : Shape{half * 2 * width, width, 2 * width, 1};
  tensor.source = strided_source(tensor.source, tensor.offset, bits(tensor.dtype) / 8, shape, strides);
  tensor.offset = 0;
  return tensor;
}

}  // namespace solera::checkpoint
