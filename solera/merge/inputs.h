// The models of a merge, open and in order, and which of them make which layers of the output.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "solera/checkpoint/checkpoint.h"
#include "solera/merge/config.h"
#include "solera/merge/method.h"

namespace solera::merge {

// Models that are merged with each other: those of a slice, or of the whole model where the file has no slices. Models
// are numbers into Inputs::models.
struct Slice {
  std::optional<std::size_t> base;       // that changes are taken from; empty for methods without one
  std::vector<std::size_t> merged;       // in the order of the file, the base of `base` left out
  std::vector<Node> parameters;          // of each of `merged`: a map, or null
  std::size_t reference = 0;             // whose tensors count where the models differ: the base, else the first model
  std::size_t entry = 0;                 // its place among the file's slices
  const Node* own_parameters = nullptr;  // of the slice in the file

  // What it makes of the output. Without stacking: everything, and `from` is empty.
  bool before = true, after = true;  // embeddings; final norm and heads
  int first = 0, count = 0;          // output layers [first, first + count)
  std::vector<int> from;             // entry i: the first layer that model i gives; for models that take part

  std::vector<std::size_t> taking_part() const;  // base, then merged
};

struct Inputs {
  std::vector<std::unique_ptr<checkpoint::Checkpoint>> models;  // the base first where the file names one
  std::vector<std::string> labels;                              // as the file writes them
  std::vector<std::string> hub_names;                           // "org/name" of models from the hub's cache, else ""
  std::vector<Slice> slices;                                    // at least one
  bool stacked = false;   // layers are chosen and renumbered; else the one slice is the whole model
  std::size_t donor = 0;  // whose config.json and tokenizer the output gets: the base, else the first reference

  std::vector<std::size_t> taking_part() const;  // in any slice, each once, in their order
};

// Opens every model once and checks that they fit the method and each other. Throws Error (usage, io, input).
Inputs open_inputs(const MergeConfig& config, const Method& method, std::vector<std::string>& warnings);

}  // namespace solera::merge
