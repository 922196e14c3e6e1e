// The difference of two models as a delta file (checkpoint/delta.h): dense, sparse or as low-rank factors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "solera/base/pattern.h"
#include "solera/base/progress.h"
#include "solera/weights/keep_rule.h"

namespace solera::weights {

// What a delta stores of an entry. kExact: the bits that change, so that applying gives the tuned model's bits and
// reverting the base's. kDifference: numbers, which may also be added to another base.
enum class DeltaValues { kExact, kDifference };

struct DeltaOptions {
  std::string out;  // *.safetensors
  bool force = false;
  std::vector<Pattern> include, exclude;  // tensors that are compared
  std::vector<Pattern> whole;             // beside a sparsity, tensors whose changes are all stored: a task's head
  Sparsity sparsity;
  std::optional<DeltaValues> values;  // none: exact, but for the random kinds, which multiply what they keep
};

struct DeltaReport {
  std::size_t tensors = 0, changed = 0;  // compared, stored
  std::int64_t entries = 0, kept = 0;    // of the compared tensors; chosen to be stored
  std::int64_t moved = 0;                // of those chosen, those whose bits differ (all, for differences)
  std::uint64_t bytes = 0;               // of the file
  std::vector<std::string> warnings;
};

// The tensors of two models that are compared, and what must hold: the same names, shapes and, for exact values, types.
// Throws Error (input) naming the tensor.
struct TensorPair {
  const checkpoint::Tensor* base = nullptr;
  const checkpoint::Tensor* tuned = nullptr;
};
std::vector<TensorPair> match_pairs(const checkpoint::Checkpoint& base, const checkpoint::Checkpoint& tuned,
                                    std::span<const Pattern> include, std::span<const Pattern> exclude,
                                    bool same_types);

// Refuses an output that is no single file or not writable, as make_delta() does.
void require_delta_output(const DeltaOptions& options, std::span<const std::string> inputs);

// Reads both models twice, and once or twice more where ranks are to be found. Integer tensors that change are stored
// by their bits, except beside a sparsity that is not kChanged: they stay the base's then, with a warning.
DeltaReport make_delta(const checkpoint::Checkpoint& base, const checkpoint::Checkpoint& tuned,
                       const DeltaOptions& options, Pool& pool, Progress& progress);

}  // namespace solera::weights
