// A merge configuration whose numbers are searched by a score: the weights of its models, by CMA-ES in a box.
//
//   candidate(v) = the merge of the configuration with the values v, each within its range
//   trial 1      = the configuration as it is, so that the result is never worse
//
// PCB-Merging's search of a factor for each task is this (Du et al., NeurIPS 2024, arXiv 2410.02396: the masks do not
// depend on the weights), as are searches for task arithmetic, TIES and the others; mergekit calls the like evolution.
// What is written is the merge of the best values, and beside it the configuration that makes it again. Scores are
// cached under the content of all inputs and the configuration with its values, so that the same call goes on after a
// stop.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "solera/base/progress.h"
#include "solera/base/table.h"
#include "solera/soup/coefficients.h"
#include "solera/soup/scorer.h"
#include "solera/soup/varied_config.h"

namespace solera::soup {

struct ConfigSearchOptions {
  std::string config;                 // a file
  std::vector<Variation> variations;  // none: the weights from 0 to 2
  std::string out;                    // a folder or *.safetensors; candidates have its form
  EvaluatorOptions evaluator;         // threads and memory are for all jobs together
  int budget = 100;                   // trials, the first included
  std::uint64_t seed = 0;
  int jobs = 1;
  bool minimize = false;
  std::string cache;   // folder; empty: .solera-cache beside the output
  std::string log;     // file; empty: OUT.trials.jsonl
  std::string plot;    // an SVG of the scores; empty: none
  bool force = false;  // replace an existing output
  bool model_card = true;
};

struct ConfigSearchReport {
  std::string config, method, out;
  std::string best_config;  // the file that makes the output again
  bool minimize = false;
  std::vector<Coordinate> coordinates;
  std::vector<std::string> paths, hashes;  // of all inputs
  BlendResult result;                      // rows.front() of a trial's blend: its values
  std::string log, cache;
  int evaluations = 0, cached = 0;
  double seconds = 0;

  std::span<const double> values() const { return result.best_trial().blend.rows.front(); }
};

// Throws Error before the first evaluation for all that can be known by then.
ConfigSearchReport search_config(const ConfigSearchOptions& options, Progress& progress);

// "soup.safetensors" gives "soup.best.yaml".
std::string default_best_config(const std::string& out);

// What people read: the trials that were better than all before, the values. One object for programs, schema 1. A
// picture.
Table trial_table(const ConfigSearchReport& report);
Table value_table(const ConfigSearchReport& report);
std::string summary_line(const ConfigSearchReport& report);
Node report_json(const ConfigSearchReport& report);
std::string score_plot(const ConfigSearchReport& report);
// A line of the log.
Node config_trial_json(const BlendTrial& trial, int number, const ConfigSearchReport& report);

}  // namespace solera::soup
