// A merge configuration as the file says it: mergekit's YAML (0.1.5) and our additions, positions kept.
//
//   merge_method: ties
//   base_model: base
//   models: [{model: fine-a, parameters: {density: 0.5, weight: [0.2, 0.8]}}, {model: fine-b, ...}]
//   parameters: {normalize: true, lambda: [{filter: mlp, value: 0.5}, {value: 1.0}]}
//   dtype: float32        # inputs are cast to it before any arithmetic
//   out_dtype: bfloat16   # and the result is stored as this
//   rules: paper          # ours: the papers' rules instead of mergekit's
//
// What a value may be (gradients, filters, patterns, roles) is values.h. One slice that covers every layer of its
// sources, and `modules` with the single entry `default`, are read as `models`; other slices are refused by name, as
// layers are not stacked here. The user's guide is docs/merging.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "solera/base/document.h"
#include "solera/checkpoint/dtype.h"
#include "solera/merge/parameter.h"
#include "solera/merge/tokenizer_wish.h"

namespace solera::merge {

struct ModelEntry {
  std::string path;
  Node parameters;                                              // a map, or null
  std::string where;                                            // position of the entry
  std::optional<std::pair<std::int64_t, std::int64_t>> layers;  // layer_range of a slice; must be all layers
};

struct MergeConfig {
  std::string method;
  std::string method_where;
  Rules rules = Rules::kMergekit;
  std::vector<ModelEntry> models;  // in file order; may list the base
  std::string base_model;          // empty if none
  std::string base_where;
  bool sliced = false;                 // the file said `slices`: an unlisted base is then not added to the models
  std::vector<Node> inner_parameters;  // maps between a model's own and the whole file's, nearest first: slice, module
  Node parameters;                     // of the whole file: a map, or null
  std::optional<checkpoint::DType> dtype, out_dtype;
  std::optional<TokenizerWish> tokenizer;
  std::optional<ChatTemplateWish> chat_template;
  std::string file;  // in messages
  std::string folder =
      ".";  // relative model paths are tried from here only if they do not exist from the working folder
  std::vector<std::string> notes;  // keys that are accepted and do nothing here
};

// Throws Error (usage) with file:line:column: missing merge_method or models, wrong types, an unknown method, parameter
// or dtype (nearest known), the same model twice, what is not supported yet.
MergeConfig parse_merge_config(const Node& document);
MergeConfig read_merge_config(const std::string& path);

}  // namespace solera::merge
