// Where fine-tunes of one base pull apart: lengths, angles and sign conflicts of their changes, layer by layer.
//
//   change_i = model_i - base
//   cosine(i, j)   <change_i, change_j> / (||change_i|| ||change_j||)
//   opposed(i, j)  of the entries that both change, the part where they change them to opposite sides
//   conflicts      of the entries that any changes, the part where two change them to opposite sides: what a vote on
//                  signs has to settle (Yadav et al. 2023, arXiv 2306.01708, section 3)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "solera/base/plot.h"
#include "solera/base/progress.h"
#include "solera/weights/pass.h"

namespace solera::merge {

// Of one layer, of what lies outside the layers, or of everything.
struct Interference {
  std::string name;
  std::int64_t elements = 0, touched = 0, conflicting = 0;
  double base = 0;                           // ||base||
  std::vector<double> norms;                 // ||change_i||
  std::vector<std::vector<double>> cosines;  // 0 where one does not change
  std::vector<std::vector<double>> opposed;  // likewise
  double conflicts() const {
    return touched == 0 ? 0 : static_cast<double>(conflicting) / static_cast<double>(touched);
  }
};

struct InterferenceReport {
  std::vector<std::string> models;
  std::vector<Interference> layers;  // "model.layers.0" and so on, "embeddings", "head", then other modules
  Interference total;
  std::vector<std::string> left_out;  // names that not all have with one shape, integers, running statistics
};

InterferenceReport measure_interference(const weights::Engine& engine, const checkpoint::Checkpoint& base,
                                        const std::vector<checkpoint::Checkpoint>& models, Progress& progress);

// Two models or more: the opposed part of every pair in every layer as a heat map. One: relative lengths as bars.
Plot interference_plot(const InterferenceReport& report);

}  // namespace solera::merge
