// The tensors of a merge's models, matched by name, and under stacking moved to their layer of the output.
#pragma once

#include <string>
#include <vector>

#include "solera/checkpoint/checkpoint.h"
#include "solera/merge/inputs.h"

namespace solera::merge {

// One name of the output, and what each model gives to it: entry i belongs to model i, null and "" where it lacks it or
// takes no part.
struct Match {
  std::string name;
  std::vector<const checkpoint::Tensor*> tensors;
  std::vector<std::string> names;  // of the tensors, in the one spelling; differs from `name` in the layer's number
};

// Of each slice, sorted by name: older spellings joined, derived buffers and another class's heads left out with a
// warning, tied heads filled in. Throws Error (input).
std::vector<std::vector<Match>> match_tensors(const Inputs& inputs, const std::string& file,
                                              std::vector<std::string>& warnings);

}  // namespace solera::merge
