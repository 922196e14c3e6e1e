// The score of a candidate model, by any program in any language, remembered.
//
// The program is run on the candidate; the last non-empty line that it prints is the score, or a JSON object holds it.
// In the command {checkpoint} is the model and {scratch} a folder of its own; $SOLERA_CHECKPOINT and $SOLERA_SCRATCH
// say the same. A candidate that is made for this lives beside {scratch}; both are removed afterwards.
//
// Scores are cached under what the candidate is made of, the command, the metric, the content of the data named, and
// the content of the programs and scripts that the command names. Failures are not cached.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "solera/base/progress.h"
#include "solera/checkpoint/checkpoint.h"
#include "solera/soup/cache.h"
#include "solera/soup/greedy.h"

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

  bool empty() const { return shell.empty() && argv.empty(); }
};

// Throws Error (usage) for a time limit or threads out of range, Error (input) for data that are not there.
void require_evaluator(const EvaluatorOptions& options);

// The threads and memory that one of `jobs` candidates has, made at the same time.
EvaluatorOptions share_of(EvaluatorOptions all, int jobs);
// Throws Error (usage) if one job has less than the `least` that a candidate, as `candidate` calls it, needs.
void require_share(const EvaluatorOptions& all, int jobs, std::uint64_t least, const std::string& candidate);

// The word of a metric's name that says that less is better: "loss" of "eval_loss", "perplexity" of
// "/results/wiki/word_perplexity,none".
std::optional<std::string> loss_word(std::string_view metric);

// The content of a model: its files, and the side files of a folder. Read once, then known by size and time of change.
std::string hash_of_model(const checkpoint::Checkpoint& model, Cache& cache);

class Scorer {
 public:
  // `folders`: whether candidates are folders or single files. Throws Error (usage) for a command that is empty or has
  // unknown placeholders, warns of one that names no checkpoint.
  Scorer(Cache& cache, EvaluatorOptions options, bool folders, Progress& progress);

  // A hash over all that a score depends on but the candidate: the beginning of every key.
  const std::string& context_hash() const { return context_hash_; }
  // The score under `key`, or that of the model `path` as it is. Thread-safe. Throws Error (input) naming `name` and
  // the command: it failed, took too long, printed no finite score.
  Evaluation existing(const std::string& key, const std::string& name, const std::string& path);
  // The same of a candidate that `write(path)` makes.
  Evaluation made(const std::string& key, const std::string& name,
                  const std::function<void(const std::string& path)>& write);

  const EvaluatorOptions& options() const { return options_; }
  const std::string& command() const { return command_; }  // as people write it
  int ran() const { return ran_; }
  int cached() const { return cached_; }

 private:
  class Workplace;
  Evaluation score(const std::string& key, const std::string& name,
                   const std::function<std::string(const Workplace& place)>& candidate);
  double run_on(const std::string& checkpoint, const std::string& scratch, const std::string& name,
                double& seconds) const;

  Cache& cache_;
  EvaluatorOptions options_;
  bool folders_;
  std::string command_, context_hash_;
  std::atomic<int> ran_ = 0, cached_ = 0, workplaces_ = 0;
};

}  // namespace solera::soup
