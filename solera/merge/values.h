// What a parameter's setting says for one tensor: gradients over the layers, filters over names.
//
//   0.5                                    everywhere
//   [0, 0.5, 1]                            a gradient: between its values by t = layer / (layers - 1), layers counted
//                                          in the slice; at least two values
//   [{filter: mlp, value: 0.5}, {pattern: "*norm*", value: [0, 1]}, {role: head, value: 1}, {value: 0}]
//
// The first entry that matches the tensor counts; with none, the next level of the file is asked. `filter` is
// mergekit's plain substring ("*" or none matches all), `pattern` a glob or re:, `tensor` one whole name, `role` is
// embedding or head. Tensors outside the layers (embeddings, final norm, head) have t = 0 and take a gradient's FIRST
// value; the only layer of a one-layer model has t = 1. Truth values and names are picked, at int(t (n - 1)), not
// mixed.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "solera/base/document.h"
#include "solera/merge/names.h"

namespace solera::merge {

struct TensorPlace {
  std::string_view name;
  double t = 0;
  Role role = Role::kBody;
};

// The scalar of a setting, or empty if nothing in it matches. `discrete` picks from a gradient. The node keeps its
// position where the value stands in the file as it is. Throws Error (usage) with the position of what is no number.
std::optional<Node> evaluate(const Node& setting, const TensorPlace& place, bool discrete, std::string_view parameter);

// Does a {filter, pattern, tensor or role, value} entry fit the tensor?
bool entry_matches(const Node& entry, const TensorPlace& place);

// Checks the form of a setting without a tensor: every entry, every pattern. Throws Error (usage).
void require_setting(const Node& setting, std::string_view parameter);

// layer / (layers - 1), 1 for a single layer.
double gradient_position(int layer, int layers);

}  // namespace solera::merge
