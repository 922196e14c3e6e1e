// Vocabulary tables of different lengths, cut to the rows that all models have: mergekit's
// --unsafe-truncate-embeddings.
//
// Unsafe because row i of two models need not be the same token. What aligns them by token is tokenizer_source
// (tokenizer.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "solera/merge/inputs.h"
#include "solera/merge/match.h"

namespace solera::merge {

struct TruncatedRows {
  std::vector<std::unique_ptr<checkpoint::Tensor>> tensors;  // the models' tables without their last rows
  std::optional<std::int64_t> rows;                          // of the shortest table that is now left, if any was cut
};

// Puts shorter tables in the matches of embeddings and heads whose shapes differ in the first dimension alone, with a
// warning for each. They must outlive the matches.
TruncatedRows truncate_rows(const Inputs& inputs, std::span<std::vector<Match>> slices,
                            std::vector<std::string>& warnings);

}  // namespace solera::merge
