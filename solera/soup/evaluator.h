// The score of a mix of models (scorer.h).
//
// The mix is written as a model of the ingredients' form: a folder with its config and tokenizer files, or one
// .safetensors file. An ingredient alone is given as it is, unless it is a file of another format. Scores are cached
// under the content of the ingredients and their Fishers, their weights, and what a score depends on otherwise.
#pragma once

#include <string>
#include <vector>

#include "solera/base/progress.h"
#include "solera/merge/config.h"
#include "solera/merge/execute.h"
#include "solera/soup/cache.h"
#include "solera/soup/greedy.h"
#include "solera/soup/groups.h"
#include "solera/soup/ingredients.h"
#include "solera/soup/scorer.h"

namespace solera::soup {

// The merge that a blend is: a mean of the ingredients that have a weight, or the Fisher merge of all of them, whose
// target is the first. `weights` are settings (merge/values.h), one an ingredient.
merge::MergeConfig blend_config(const Ingredients& ingredients, std::vector<Node> weights);

// Writes the blend to `out`, a *.safetensors or a folder. Integer tensors and side files are those of the first
// ingredient in it. `groups` may be empty where the blend has one row.
merge::ExecuteReport write_blend(const Ingredients& ingredients, const Groups& groups, const Blend& blend,
                                 const merge::ExecuteOptions& options, Progress& progress);

class Evaluator {
 public:
  // Reads ingredients and data for their hashes. The references outlive it. Throws Error (usage) for a command that is
  // empty, has unknown placeholders, or names no checkpoint where it could not get it otherwise.
  Evaluator(const Ingredients& ingredients, Cache& cache, EvaluatorOptions options, Progress& progress,
            Groups groups = {});

  // Thread-safe. Throws Error (input) naming the models and the command: it failed, took too long, printed no finite
  // score.
  Evaluation operator()(const Mix& mix) { return (*this)(Blend{{mix}}); }
  // Equal rows are one mix, and share its score. More rows are those of the groups given.
  Evaluation operator()(const Blend& blend);

  const std::string& command() const { return scorer_.command(); }    // as people write it
  const std::vector<std::string>& hashes() const { return hashes_; }  // of the ingredients
  int ran() const { return scorer_.ran(); }
  int cached() const { return scorer_.cached(); }

 private:
  std::string key_of(const Blend& blend) const;

  const Ingredients& ingredients_;
  Groups groups_;
  Scorer scorer_;
  std::vector<std::string> hashes_, fisher_hashes_;
};

}  // namespace solera::soup
