// Running a recipe: steps in parallel where they are independent, each once for what it depends on, resumable at any
// instant.
//
// A step's folder is out/STEP/VARIABLES; it is made under a temporary name and renamed when the command has succeeded,
// with step.json (key, result, seconds), stdout.log and stderr.log beside its outputs. The key is a hash of the
// command, the contents of its inputs, what the needed steps left, and the program that it calls; a folder with that
// key is not made again.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "solera/base/document.h"
#include "solera/base/progress.h"
#include "solera/recipe/recipe.h"

namespace solera::recipe {

struct RunOptions {
  std::string out;                 // the recipe's folder
  int jobs = 0;                    // 0: hardware_threads()
  std::vector<std::string> only;   // these steps and what they need; empty: all
  std::vector<std::string> rerun;  // these steps again, or "all"
  bool explain = false;            // say why a step runs
  std::string programs;            // a folder that goes first on PATH: the running binary's
};

// What is known of every instance afterwards; null where it did not run.
struct StepResult {
  bool done = false, cached = false;
  double seconds = 0;
  Node result;
};

struct RunReport {
  std::vector<Instance> instances;
  std::vector<StepResult> results;  // of each instance
};

// Throws Error (input) when a step fails, naming it, its command, its last line and its log; steps that do not depend
// on it have been finished first.
RunReport run_steps(const Recipe& recipe, const RunOptions& options, Progress& progress);

}  // namespace solera::recipe
