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
// A value is a scalar, a gradient (list of numbers over the layers), or a list of {filter, value}, or {pattern, value} (ours: a
// glob or re:), first match wins. Ours too: {role: embedding | head, value}. `slices` whose single slice covers every layer
// of every source are read as `models`; any others are refused by name until layer stacking is here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "solera/base/document.h"
#include "solera/checkpoint/dtype.h"
#include "solera/merge/parameter.h"

namespace solera::merge {

struct ModelEntry {
  std::string path;
  Node parameters;     // a map, or null
  std::string where;   // position of the entry
};

struct MergeConfig {
  std::string method;
  std::string method_where;
  Rules rules = Rules::kMergekit;
  std::vector<ModelEntry> models;   // in file order; may list the base
  std::string base_model;           // empty if none
  Node parameters;                  // a map, or null
  std::optional<checkpoint::DType> dtype, out_dtype;
  std::string file;                 // in messages
  std::string folder = ".";         // relative model paths are tried from here only if they do not exist from the working folder
  std::vector<std::string> notes;   // keys that are accepted and do nothing here: tokenizer files are carried, ...
};

// Throws Error (usage) with file:line:column: unknown keys (nearest known), missing merge_method or models, wrong types, an
// unknown method or dtype, the same model twice.
MergeConfig parse_merge_config(const Node& document);
MergeConfig read_merge_config(const std::string& path);

}  // namespace solera::merge
