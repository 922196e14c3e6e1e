// Running a recipe: steps in parallel where they are independent, each once for what it depends on, resumable at any
// instant.
//
// A step's folder is out/STEP, out/STEP/VARIABLE=VALUE for each value; make.h says what lies there and when it counts.
// Its keys are hashes of the command, of the contents of its inputs, of what the needed steps left, and of the programs
// beside ours that it calls; a folder with these keys is not made again. One run at a time holds out/.lock.
#pragma once

#include <string>
#include <vector>

#include "solera/base/document.h"
#include "solera/base/progress.h"
#include "solera/recipe/recipe.h"

namespace solera::recipe {

struct RunOptions {
  std::string out;                 // the folder of the results
  int jobs = 0;                    // 0: hardware_threads()
  std::vector<std::string> only;   // these steps and what they need; empty: all
  std::vector<std::string> rerun;  // these steps again, or "all"
  bool explain = false;            // say why a step runs
  std::string programs;            // a folder that goes first on PATH: the running binary's
};

struct StepResult {
  bool done = false, cached = false;
  double seconds = 0;  // that its command took when it ran
  Node result;         // null where the step has none or did not run
};

struct RunReport {
  std::vector<Instance> instances;
  std::vector<StepResult> results;  // of each instance
};

// Throws Error (input) when a step fails, naming it, its status, its last line, its log and its command; steps that do
// not depend on it have been finished first, and further failures are warnings. Throws Error (interrupted) after
// ending the running commands; what was finished stays.
RunReport run_steps(const Recipe& recipe, const RunOptions& options, Progress& progress);

}  // namespace solera::recipe
