// What an instance of a step runs: its command with every placeholder filled.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "solera/base/process.h"
#include "solera/recipe/recipe.h"

namespace solera::recipe {

// Where a run takes place.
struct Scene {
  const Recipe& recipe;
  const std::vector<Instance>& instances;
  std::string out;       // the folder of all results
  std::string programs;  // goes first on PATH; may be empty

  const Step& step_of(std::size_t i) const { return recipe.steps[instances[i].step]; }
  std::string folder_of(std::size_t i) const;
};

// Ready to run in `folder`. What is put into a shell line is quoted where the shell would take it apart; Error (input)
// where that cannot be done, since the placeholder stands in quotes already.
Command command_of(const Scene& scene, std::size_t i, const std::string& folder);

// The same words wherever the recipe and its results lie.
std::vector<std::string> portable_words(const Scene& scene, std::size_t i);

// The paths of its inputs, absolute.
std::vector<std::string> inputs_of(const Scene& scene, std::size_t i);

}  // namespace solera::recipe
