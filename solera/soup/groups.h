// Weights that differ over the model: tensors in groups, and a mix for each group.
//
//   out[tensor] = sum_i w[g][i] x_i[tensor] / sum_i w[g][i]          g: the group of the tensor
//
// Only floating tensors have a group; integers and side files are those of the first ingredient that has a weight.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "solera/base/pattern.h"
#include "solera/soup/greedy.h"

namespace solera::soup {

struct Groups {
  struct Member {
    std::string tensor;
    int group = 0;
  };
  std::vector<std::string> names;
  std::vector<Member> members;  // each tensor once, as given

  int count() const { return static_cast<int>(names.size()); }
  int size_of(int group) const;  // its tensors
  std::string hash() const;      // of who is with whom, whatever the groups' names
};

Groups whole_model(std::span<const std::string> tensors);
Groups each_tensor(std::span<const std::string> tensors);
// The numbered blocks, sorted by stack and number ("layer1.0" of layer1.0.conv1.weight is number 0 of the stack
// layer1), cut into `count` runs of equal length, give or take one. Tensors outside of blocks are a last group "rest".
// Throws Error (usage): no blocks, fewer blocks than groups.
Groups even_layers(std::span<const std::string> tensors, int count);
// A tensor belongs to the first pattern that matches; those that none matches are a last group "rest". Throws Error
// (usage) for a pattern that gets no tensor.
Groups by_patterns(std::span<const std::string> tensors, std::span<const Pattern> patterns);

// A mix for each group, all over the same ingredients; one mix for all groups if there is only one.
struct Blend {
  std::vector<Mix> rows;

  Blend simplest() const;  // one row if all are equal
  Mix reach() const;       // 1 for the ingredients that have a weight somewhere, else 0
};

}  // namespace solera::soup
