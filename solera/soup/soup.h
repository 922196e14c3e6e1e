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

#include "solera/base/pattern.h"
#include "solera/base/progress.h"
#include "solera/base/table.h"
#include "solera/soup/coefficients.h"
#include "solera/soup/evaluator.h"
#include "solera/soup/greedy.h"
#include "solera/soup/groups.h"

namespace solera::soup {

enum class Recipe {
  kGreedy,
  kUniform,
  kCmaes,   // weights by search, from the uniform or the greedy soup on
  kLine,    // between two models
  kRandom,  // weights drawn evenly from the simplex
};
enum class Granularity { kModel, kGroup, kTensor };

struct CoefficientPlan {
  Granularity granularity = Granularity::kModel;
  int groups = 4;                 // even runs of layers, for kGroup
  std::vector<Pattern> patterns;  // or these, if there are any
  Domain domain = Domain::kSimplex;
  bool from_greedy = false;
  int budget = 100;  // trials, the start included; the greedy soup's own ones are not counted
  int alphas = 11;   // points of a line
};

struct SoupOptions {
  std::vector<std::string> checkpoints;
  std::string out;  // a folder or *.safetensors
  Recipe recipe = Recipe::kGreedy;
  std::string base;            // what the checkpoints were tuned from, for the ancestor check and the box; may be empty
  EvaluatorOptions evaluator;  // no command: allowed for the uniform soup, which is then not scored; threads and memory
                               // there are for all jobs together
  SearchOptions search;
  CoefficientPlan coefficients;      // of kCmaes, kLine and kRandom
  std::vector<std::string> fishers;  // of the same: a statistics file for each checkpoint, for Fisher merges
  std::string cache;                 // folder; empty: .solera-cache beside the output
  std::string log;                   // file; empty: OUT.trials.jsonl (soup.trials.jsonl for soup.safetensors)
  std::string plot;                  // an SVG of the scores; empty: none
  bool force = false;                // replace an existing output
  bool model_card = true;            // README.md and mergekit_config.yml in an output folder
};

struct SoupReport {
  std::string out;
  Recipe recipe = Recipe::kGreedy;
  bool scored = false;
  bool minimize = false;
  std::vector<std::string> paths, labels,
      hashes;            // of all ingredients, the base last if it is one; no hashes if nothing was scored
  SearchResult search;   // without trials if nothing was scored; of kCmaes the greedy soup, if it started there
  CoefficientPlan plan;  // as asked for
  std::vector<std::string> fishers;  // as given
  Groups groups;                     // of kCmaes
  BlendResult coefficients;          // of kCmaes, kLine and kRandom
  Blend blend;                       // what was written
  std::string log, cache;            // as used; empty if nothing was scored
  int evaluations = 0, cached = 0;   // commands run, speculative ones included; scores from the cache
  double seconds = 0;
};

// Throws Error before the first evaluation for all that can be known by then. Warnings, trials as notes, and the best
// score as status go to `progress`.
SoupReport make_soup(const SoupOptions& options, Progress& progress);

// What people read: the trials (of a search by CMA-ES those that were better than all before), ingredients by label.
// One object for programs, schema 1. A picture.
Table trial_table(const SoupReport& report);
Table weight_table(const SoupReport& report);  // of the result: ingredients by groups
std::string summary_line(const SoupReport& report);
Node report_json(const SoupReport& report);
std::string score_plot(const SoupReport& report);

// "soup" of "soup.safetensors" and of the folder "soup/"; "soup.trials.jsonl" of either; ".solera-cache" beside it.
std::string output_stem(const std::string& out);
std::string default_log(const std::string& out);
std::string default_cache(const std::string& out);

}  // namespace solera::soup
