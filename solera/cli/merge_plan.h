// Plans of merges in words and numbers: the line before the work, and all that --dry-run prints.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "solera/base/document.h"
#include "solera/base/launcher.h"
#include "solera/cli/verb.h"
#include "solera/merge/plan.h"

namespace solera::cli {

// "merge ties: base + 2 models, 291 tensors; reads 20.2 GB a pass, writes 6.7 GB"; of one among several documents
// "first: merge ties: ..."
std::string opening_line(const merge::Plan& plan, bool named);

// "rank 1 of 4 (srun): 3 of 12 files, 1.7 GB"
std::string rank_line(const merge::Plan& plan, const Rank& rank);

// What every JSON object of a merge begins with: schema, method, warnings.
Node merge_summary(const merge::Plan& plan);

// Where the layers come from, what each tensor gets, bytes and memory: of each plan, the output's last.
void print_dry_run(std::span<const merge::Plan> plans, int threads, std::uint64_t memory, Context& context);

}  // namespace solera::cli
