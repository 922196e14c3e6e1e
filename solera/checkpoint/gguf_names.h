// What GGUF and Hugging Face call the tensors of a model, and the order of rows in which they differ.
//
// The rotary embedding of llama's attention turns pairs of a head's rows. Hugging Face keeps row i of a pair in the
// head's first half and its partner in the second; GGUF keeps partners side by side:
//
//   row (h, b, a) of GGUF = row (h, a, b) of Hugging Face      h head, b pair of d/2, a = 0, 1 of the pair
//
// in the query and key projections, weights and biases. qwen2 has the same order in both.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "solera/base/document.h"
#include "solera/checkpoint/checkpoint.h"

namespace solera::checkpoint {

struct GgufFamily {
  std::string_view architecture;  // general.architecture
  std::string_view model_class;   // config.json: architectures
  bool paired_rows;
};

// Null where it is none of ours.
const GgufFamily* find_family(std::string_view architecture);
// The family of a config.json, by its model_type; Error (input) naming what it is and what is known.
const GgufFamily& family_of(const Node& config, const std::string& where);
std::string known_architectures();  // "llama, qwen2"

// "model.layers.3.self_attn.q_proj.weight" and "blk.3.attn_q.weight"; empty where there is no such name.
std::optional<std::string> gguf_name(std::string_view hugging_face);
std::optional<std::string> hugging_face_name(std::string_view gguf);

// The heads of the query and key projections, and the rows of each.
struct Heads {
  std::int64_t query = 0, key = 0, size = 0;
};

enum class RowOrder { kHalves, kPairs };  // of Hugging Face, of GGUF

// The tensor with its rows in the other order if it is a query or key projection (by its GGUF name), else as it is.
// Throws Error (input) where its rows are not those of so many heads.
Tensor in_order(Tensor tensor, std::string_view gguf, const Heads& heads, RowOrder to);

}  // namespace solera::checkpoint
