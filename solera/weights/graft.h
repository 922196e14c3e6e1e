// Grafting: copy only the regions in which fine-tuned models moved onto their base.
//
//   region_t = the first s entries of |x_t - base| over the whole model, or the entries that a sparse delta stores
//   out_i    = base_i                                   in no region
//            = x_t,i (its bits)                         in the region of t alone
//            = base_i + mean or sum of (x_t,i - base_i) in several
//
// Panigrahi, Saunshi, Zhao and Arora, ICML 2023, arXiv 2302.06600 (the region by movement, which needs no training); He
// et al., TMLR 2025 (averaging where regions meet); Ansell et al., ACL 2022, arXiv 2110.07560 (summing). With `from`,
// the values in the union of the regions are those of one model, say one that was tuned on all tasks.
#pragma once

#include <string>
#include <vector>

#include "solera/base/pattern.h"
#include "solera/weights/combine.h"
#include "solera/weights/keep_rule.h"
#include "solera/weights/overlap.h"

namespace solera::weights {

struct GraftOptions {
  std::string out;  // a folder or *.safetensors; "": only the regions are compared
  bool force = false;
  std::vector<Pattern> include, exclude;  // tensors that the regions of models are looked for in
  Sparsity region = {.how = Sparsify::kMagnitude, .density = 0.01, .whole_model = true};  // of models
  Shared shared = Shared::kMean;
  std::string from;  // a model; "": each region brings its own values
  std::uint64_t shard_bytes = 5'000'000'000;
};

struct GraftReport {
  Overlap overlap;         // of the inputs, in their order
  CombineReport combined;  // of the output, if there is one
  std::vector<std::string> warnings;
};

// `inputs`: models and delta files, mixed. Throws Error (input) for a model that equals the base, for adapters, and as
// make_delta() and combine() do.
GraftReport graft(const checkpoint::Checkpoint& base, const std::vector<std::string>& inputs,
                  const GraftOptions& options, Pool& pool, Progress& progress);

}  // namespace solera::weights
