// The change between two models as a LoRA adapter in PEFT's format: truncated factors of every matrix that changes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "solera/base/pattern.h"
#include "solera/base/progress.h"
#include "solera/checkpoint/checkpoint.h"
#include "solera/weights/low_rank.h"

namespace solera::weights {

struct AdapterOptions {
  std::string out;  // a folder
  bool force = false;
  std::vector<Pattern> include, exclude;
  RankOptions rank;
  bool fan_in_fan_out = false;                           // matrices are stored [in, out]: GPT-2
  std::function<bool(const std::string&)> is_embedding;  // PEFT names the factors of a table differently
};

struct AdapterReport {
  std::size_t matrices = 0, left_out = 0;  // stored; changed, but no matrices
  double kept = 1;                         // share of the squared norm of all changes, those left out included
  std::uint64_t bytes = 0;
  std::vector<std::string> warnings;
};

// Throws Error (usage) for a rank below 1, Error (input) if no matrix changes or the models do not match. A matrix
// whose smaller side is below the rank gets factors padded with zeros.
AdapterReport make_adapter(const checkpoint::Checkpoint& base, const checkpoint::Checkpoint& tuned,
                           const AdapterOptions& options, Pool& pool, Progress& progress);

}  // namespace solera::weights
