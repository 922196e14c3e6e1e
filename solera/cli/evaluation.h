// The options of verbs that score models by a command: soup, and delta with --search.
#pragma once

#include <string>
#include <vector>

#include "solera/cli/options.h"
#include "solera/soup/scorer.h"

namespace solera::cli {

struct EvaluationTarget {
  soup::EvaluatorOptions evaluator;
  std::string cache;
  bool minimize = false, maximize = false;

  bool any() const;  // is any of these options given?
};

// --eval and COMMAND behind --, --metric, --minimize, --maximize, --timeout, --data, --cache, --echo.
void declare_evaluation(OptionList& options, EvaluationTarget& target, const std::string& group = "");

// The options with the command behind `--`. Throws Error (usage): two commands, both directions, a metric that sounds
// like a loss without a direction.
soup::EvaluatorOptions resolved_evaluation(const EvaluationTarget& target, const std::vector<std::string>& command);

}  // namespace solera::cli
