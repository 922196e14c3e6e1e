// Averages of the snapshots of training runs.
//
//   uniform   theta = 1/k sum_s theta_s                                  s = 1..k by step number, in one run
//   linear    theta = sum_s s theta_s / sum_s s
//   ema       m_1 = theta_1, m_s = d m_(s-1) + (1-d) theta_s             weights d^(k-1), then (1-d) d^(k-s)
//   runs      every snapshot of every run, pooled; or the last of each run
//
// Schmidt, Vulic and Glavas, "Free lunch", ACL 2023, arXiv 2305.16834. Every average here is a weighted mean, made by
// the merge method `linear` in one read of each snapshot and memory that does not grow with their number.
//
// Runs are pooled: a run weighs as many snapshots as it has, whatever the weights inside it. {1, 3} and {5} give 3, not
// 3.5. Integer tensors, config and tokenizer are those of the last snapshot of the last run.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "solera/base/pattern.h"
#include "solera/base/threads.h"
#include "solera/checkpoint/checkpoint.h"
#include "solera/merge/config.h"

namespace solera::merge {

// The weighted mean of models as a configuration: method linear, normalized, the papers' rules. The first model donates
// integer tensors and side files. Equal weights are best given as 1: k equal models then come back bit for bit.
MergeConfig mean_config(std::span<const std::string> paths, std::span<const double> weights);
// The same with weights as settings (values.h), so that they may differ between tensors.
MergeConfig mean_config(std::span<const std::string> paths, std::vector<Node> weights);

// Throws Error (input) unless all models have the same tensor names and shapes and agree on which of them are floating:
// naming the keys, or the key and both shapes.
void require_same_tensors(std::span<const checkpoint::Checkpoint* const> models, std::span<const std::string> labels);

struct Snapshot {
  std::string path;
  std::string label;  // in messages: the name in its folder, with the folder if there are several
  std::int64_t step = 0;
  int run = 0;
};

// The step that a name says: the number behind step, iter, update, checkpoint or epoch, the first of these words that
// has one, else the last whole number. "epoch=3-step=1500.ckpt" 1500, "checkpoint-500" 500, "run2_007.pt" 7, "best"
// none.
std::optional<std::int64_t> step_of(std::string_view name);

// The snapshots of one run, by step number: model folders if any of them has a number, else files (*.safetensors, *.pt,
// *.pth, *.ckpt,
// *.bin, *.npz; shards and optimizer states are none). Those without a number are left out with a warning. Throws Error
// (input): none there, two of one step; Error (usage) if it is no folder.
std::vector<Snapshot> find_snapshots(const std::string& folder, std::vector<std::string>& warnings);

// When to take k snapshots in T steps: round(i T / k), halves up. Throws Error (usage) for k < 1 and k > T.
std::vector<std::int64_t> snapshot_steps(std::int64_t total_steps, std::int64_t count);

enum class Weighting { kUniform, kLinear, kEma, kExplicit };

struct AverageOptions {
  std::vector<std::string> runs;  // folders
  bool last_of_each = false;      // the last snapshot of each run; excludes start, last and ema
  double start = 0;               // leave out the first floor(start n) of a run's n snapshots; [0, 1)
  int last = 0;                   // then keep the last so many; 0: all
  Weighting weighting = Weighting::kUniform;
  double decay = 0;              // of kEma: [0, 1)
  std::vector<double> weights;   // of kExplicit: one a chosen snapshot, of each run or of all runs in order; >= 0
  bool different_heads = false;  // average runs whose heads differ
  std::vector<Pattern> heads;    // tensors of the head; empty: known by their names
};

// Relative weights of runs with so many chosen snapshots each, in order. Throws Error (usage).
std::vector<double> average_weights(const AverageOptions& options, std::span<const int> counts);

struct Average {
  std::vector<Snapshot> snapshots;  // in order of run and step
  std::vector<double> weights;      // relative
  MergeConfig config;               // for make_plan
  std::vector<std::string> warnings;
};

// Chooses, weighs and checks. Throws Error: LoRA adapters (the average of A and of B is not that of BA), snapshots of
// different models, runs whose heads are unrelated at their first snapshots. Warns of duplicates and of a single
// snapshot.
Average plan_average(const AverageOptions& options, Pool& pool);

}  // namespace solera::merge
