// The models of a merge, open and in order, and their tensors matched by name.
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

struct Inputs {
  std::vector<std::unique_ptr<checkpoint::Checkpoint>> models;  // the base first where the file names one
  std::vector<std::string> labels;                              // as the file writes them
  std::optional<std::size_t> base;  // that changes are taken from; empty for methods without one
  std::vector<std::size_t> merged;  // models in the order of the file, the base of `base` left out
  std::vector<Node> parameters;     // of each of `merged`: a map, or null
  std::size_t reference = 0;        // whose tensors count where the models differ: the base, else the first model

  std::vector<std::size_t> taking_part() const;  // base, then merged
};

// Opens every model and checks that they fit the method and each other. Relative paths are tried from the working
// folder, then from the configuration's. Throws Error (usage, io, input).
Inputs open_inputs(const MergeConfig& config, const Method& method);

// One name of the output, and each model's tensor of that name: entry i belongs to model i, null where it lacks it.
struct Match {
  std::string name;
  std::vector<const checkpoint::Tensor*> tensors;
};

// Sorted by name, older spellings joined, derived buffers and another class's heads left out with a warning, tied heads
// filled in. Models that take no part have null everywhere.
std::vector<Match> match_tensors(const Inputs& inputs, std::vector<std::string>& warnings);

}  // namespace solera::merge
