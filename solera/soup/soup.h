// From checkpoints and an evaluation command to one model: check, score, choose, write.
//
//   SoupReport report = make_soup({.checkpoints = {"run0", "run1", "run2"},
//                                  .out = "soup",
//                                  .evaluator = {.shell = "./eval.sh {checkpoint}"}}, progress);
//
// The output appears whole or not at all; every score is cached as soon as it is known, so that the same call after a
// failure or a stop goes on where it was. The log has one JSON object a trial, in the order in which one job would make
// them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "solera/base/progress.h"
#include "solera/base/table.h"
#include "solera/soup/evaluator.h"
#include "solera/soup/greedy.h"

namespace solera::soup {

enum class Recipe { kGreedy, kUniform };

struct SoupOptions {
  std::vector<std::string> checkpoints;
  std::string out;  // a folder or *.safetensors
  Recipe recipe = Recipe::kGreedy;
  std::string base;            // what the checkpoints were tuned from, for the ancestor check; may be empty
  EvaluatorOptions evaluator;  // no command: allowed for the uniform soup, which is then not scored; threads and memory
                               // there are for all jobs together
  SearchOptions search;
  std::string cache;   // folder; empty: .solera-cache beside the output
  std::string log;     // file; empty: OUT.trials.jsonl (soup.trials.jsonl for soup.safetensors)
  std::string plot;    // an SVG of the scores; empty: none
  bool force = false;  // replace an existing output
};

struct SoupReport {
  std::string out;
  Recipe recipe = Recipe::kGreedy;
  bool scored = false;
  bool minimize = false;
  std::vector<std::string> paths, labels, hashes;  // of all checkpoints; hashes are empty if nothing was scored
  SearchResult search;                             // without trials if nothing was scored
  std::string log, cache;                          // as used; empty if nothing was scored
  int evaluations = 0, cached = 0;                 // commands run, speculative ones included; scores from the cache
  double seconds = 0;
};

// Throws Error before the first evaluation for all that can be known by then. Warnings, trials as notes, and the best
// score as status go to `progress`.
SoupReport make_soup(const SoupOptions& options, Progress& progress);

// What people read: the trials, ingredients by label. One object for programs, schema 1. A picture.
Table trial_table(const SoupReport& report);
std::string summary_line(const SoupReport& report);
Node report_json(const SoupReport& report);
std::string score_plot(const SoupReport& report);

// The word of a metric's name that says that less is better: "loss" of "eval_loss", "perplexity" of
// "/results/wiki/word_perplexity,none".
std::optional<std::string> loss_word(std::string_view metric);

// "soup.safetensors" gives "soup.trials.jsonl".
std::string default_log(const std::string& out);
std::string default_cache(const std::string& out);

}  // namespace solera::soup
