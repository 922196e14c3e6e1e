// A merge configuration as the file says it: mergekit's YAML (0.1.5) and our additions, positions kept.
//
//   merge_method: ties
//   base_model: base
//   models: [{model: fine-a, parameters: {density: 0.5, weight: [0.2, 0.8]}}, {model: fine-b, ...}]
//   parameters: {normalize: true, lambda: [{filter: mlp, value: 0.5}, {value: 1.0}]}
//   dtype: float32        # inputs are cast to it before any arithmetic
//   out_dtype: bfloat16   # and the result is stored as this
//   rules: paper          # ours: the papers' rules instead of mergekit's
//   random_seed: 7        # ours: of random methods, 0 by default
//
// What a value may be (gradients, filters, patterns, roles) is values.h, how a model is named references.h. Instead of
// `models` the file may list `slices`, whose layers are stacked in the order of the file:
//
//   slices:
//     - sources: [{model: a, layer_range: [0, 24]}, {model: b, layer_range: [0, 24]}]
//     - sources: [{model: a, layer_range: [16, 32]}]
//       parameters: {weight: 0.7}   # before the whole file's, after the source's own
//       base_model: c               # in place of the whole file's
//
// and either of the two may stand below `modules: {default: ...}`. A stream of several documents is documents.h. The
// user's guide is docs/merging.md.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "solera/base/document.h"
#include "solera/checkpoint/checkpoint.h"
#include "solera/checkpoint/dtype.h"
#include "solera/merge/parameter.h"
#include "solera/merge/tokenizer_wish.h"

namespace solera::merge {

struct ModelEntry {
  std::string path;                                             // as references.h reads it
  Node parameters;                                              // a map, or null
  std::string where;                                            // position of the entry
  std::optional<std::pair<std::int64_t, std::int64_t>> layers;  // of a slice's source: [first, end)
};

struct SliceEntry {
  std::vector<ModelEntry> sources;  // never empty, ranges of one length
  std::string base_model;           // of its own; empty: the whole file's
  std::string base_where;
  Node parameters;  // a map, or null
  std::string where;
};

// What another document of the same stream makes: where it is or will be, and while it is not there its tensors as
// planned.
struct MadeModel {
  std::string path;
  std::shared_ptr<const checkpoint::Checkpoint> planned;
};

struct MergeConfig {
  std::string method;
  std::string method_where;
  Rules rules = Rules::kMergekit;
  std::uint64_t seed = 0;
  std::vector<ModelEntry> models;  // in file order; may list the base; empty where there are slices
  std::vector<SliceEntry> slices;  // in file order; the base must be a source of each, it is never added
  std::string base_model;          // empty if none
  std::string base_where;
  Node module_parameters;  // of the module `default`, asked before the whole file's: a map, or null
  Node parameters;         // of the whole file: a map, or null
  std::optional<checkpoint::DType> dtype, out_dtype;
  std::optional<TokenizerWish> tokenizer;
  std::optional<ChatTemplateWish> chat_template;
  std::map<std::string, MadeModel> made;  // by name; looked up before paths
  std::string name;                       // that other documents of the stream may use; usually empty
  std::string text;  // the file as it stands, for the output folder; empty if it was made in memory
  std::string file;  // in messages
  std::string folder =
      ".";  // relative model paths are tried from here only if they do not exist from the working folder
  std::vector<std::string> notes;  // keys that are accepted and do nothing here
};

// Throws Error (usage) with file:line:column: missing merge_method or models, wrong types, an unknown method, parameter
// or dtype (nearest known), the same model twice, slices whose sources differ in length, what is not supported yet.
MergeConfig parse_merge_config(const Node& document);
MergeConfig read_merge_config(const std::string& path);
// A configuration without slices that was made in memory, as a file: method, base, models, parameters, rules.
std::string config_yaml(const MergeConfig& config);

}  // namespace solera::merge
