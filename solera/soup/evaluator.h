// The score of a mix of models, by any program in any language.
//
// The mix is written as a model of the ingredients' form (a folder with its config and tokenizer files, or one
// .safetensors file), the program is run on it, and the last non-empty line that it prints is the score, or a JSON
// object holds it. An ingredient alone is given as it is, unless it is a file of another format. In the command
// {checkpoint} is the model and {scratch} a folder of its own; $SOLERA_CHECKPOINT and $SOLERA_SCRATCH say the same. All
// of it is removed afterwards.
//
// Scores are cached under the content of the ingredients, their weights, the command, the metric, the content of the
// data named, and the content of the programs and scripts that the command names. Failures are not cached.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "solera/base/progress.h"
#include "solera/merge/execute.h"
#include "solera/soup/cache.h"
#include "solera/soup/greedy.h"
#include "solera/soup/groups.h"
#include "solera/soup/ingredients.h"

namespace solera::soup {

struct EvaluatorOptions {
  std::string shell;              // a line for /bin/sh, or
  std::vector<std::string> argv;  // a program and its arguments
  std::string metric;             // a key or JSON pointer; empty: a number
  double timeout_seconds = 0;     // 0: none
  std::vector<std::string> data;  // files and folders that the score depends on
  bool echo = false;              // show what the program prints
  int threads = 1;                // to write one candidate
  std::uint64_t memory = 1ull << 30;
};

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
  ~Evaluator();

  // Thread-safe. Throws Error (input) naming the models and the command: it failed, took too long, printed no finite
  // score.
  Evaluation operator()(const Mix& mix) { return (*this)(Blend{{mix}}); }
  // Equal rows are one mix, and share its score. More rows are those of the groups given.
  Evaluation operator()(const Blend& blend);

  const std::string& command() const { return command_; }             // as people write it
  const std::vector<std::string>& hashes() const { return hashes_; }  // of the ingredients
  int ran() const { return ran_; }
  int cached() const { return cached_; }

 private:
  class Workplace;
  std::string key_of(const Blend& blend) const;
  double run_on(const std::string& checkpoint, const std::string& scratch, const std::string& name,
                double& seconds) const;

  const Ingredients& ingredients_;
  Groups groups_;
  Cache& cache_;
  EvaluatorOptions options_;
  std::string command_;
  std::string context_hash_;  // of all in the key but the mix
  std::vector<std::string> hashes_;
  std::atomic<int> ran_ = 0, cached_ = 0, workplaces_ = 0;
};

}  // namespace solera::soup
