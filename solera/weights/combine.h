// Deltas applied to a base: any number of them, dense, sparse and LoRA adapters mixed, in one streamed pass.
//
//   out = base + sum_j c_j d_j          float64, rounded once to the base's type; to revert, the signs of c are turned
//
// d_j is what delta j adds: its numbers, or tuned - base where it stores the tuned model's bits, or s B A. Three things
// are exact. An entry that no delta changes keeps its bits. An entry that one delta alone changes, which stores bits
// and has the coefficient 1, gets the tuned model's bits (so one exact delta gives its tuned model, and regions that do
// not meet are put side by side). Reverting one exact delta gives the base's bits. Deltas are summed in the order of
// their contents' hashes, so the order of the command line never matters. Regions that meet may be averaged instead:
//
//   out_i = base_i + (1 / n_i) sum_j c_j d_j,i          n_i deltas change entry i (He et al., TMLR 2025)
//
// A delta says which base it was made from, tensor by tensor; another one is refused unless `any_base`, and always for
// bits, which mean nothing on other bits.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "solera/base/progress.h"
#include "solera/checkpoint/delta.h"
#include "solera/checkpoint/peft.h"
#include "solera/weights/pass.h"

namespace solera::weights {

// A delta with its coefficient.
struct Term {
  std::variant<checkpoint::Delta, checkpoint::Adapter> delta;
  double coefficient = 1;
  const std::string& path() const;
};
Term open_term(const std::string& path, double coefficient);  // an adapter's folder or a delta file

enum class Shared { kSum, kMean };

struct CombineOptions {
  std::string out;  // *.safetensors or a folder
  bool force = false, revert = false, any_base = false;
  Shared shared = Shared::kSum;
  std::uint64_t shard_bytes = 5'000'000'000;
};

struct CombineReport {
  std::size_t tensors = 0, changed_tensors = 0;
  std::int64_t entries = 0, changed = 0;  // of the output; those whose bits are not the base's
  std::int64_t lost = 0;                  // changes too small for the base's type: the entry keeps its bits
  std::uint64_t bytes = 0;
  std::vector<std::string> warnings;
};

// Throws before anything is written: Error (input) for another base (both hashes named), for tensors or shapes that the
// base lacks; Error (usage) for a coefficient that is not finite, for scaled or summed integer tensors, for reverting
// several exact deltas at once. Throws Error (input), leaving nothing, if a result is not finite where the base was.
CombineReport combine(const checkpoint::Checkpoint& base, std::vector<Term> terms, const CombineOptions& options,
                      Pool& pool, Progress& progress);

}  // namespace solera::weights
