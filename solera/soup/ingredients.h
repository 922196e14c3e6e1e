// The models of a soup: opened, checked against each other, named.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "solera/base/threads.h"
#include "solera/checkpoint/checkpoint.h"
#include "solera/soup/greedy.h"

namespace solera::soup {

struct Ingredients {
  std::vector<std::string> paths;
  std::vector<std::string>
      labels;  // the shortest ends of the paths that tell them apart: "run3.safetensors", "b/final"
  std::vector<checkpoint::Checkpoint> models;
  bool folders = false;              // else single files
  std::vector<std::string> fishers;  // statistics files, one a model: mixes are Fisher merges; none: plain means

  int count() const { return static_cast<int>(paths.size()); }
  std::string name_of(const Mix& mix) const;  // "run3.safetensors", "run0.safetensors + run3.safetensors"
};

// Opens all. Throws Error: fewer than two (usage), one model twice (usage), folders and files mixed (usage), quantized
// or adapter models, different keys, shapes or sorts of a tensor (input: key and both sides).
Ingredients open_ingredients(std::span<const std::string> paths);

// Looks for models of another ancestor; `base` may be empty. A warning, or "".
std::string ancestry_warning(const Ingredients& ingredients, const std::string& base, Pool& pool);

// The shortest ends of paths that differ, at least the last component.
std::vector<std::string> short_names(std::span<const std::string> paths);

}  // namespace solera::soup
