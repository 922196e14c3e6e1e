// One output by several processes on a file system that they share: each rank writes whole files, disjoint ones, and
// the last to end writes what lies beside them and gives the output its name. The bytes are those of one process.
//
// All ranks work in OUT.partial (docs/formats/journal.md). Which files a rank writes follows from the plan and the
// number of ranks alone. Each has a journal of its own there and compares the others' with it: a plan, program or
// number of ranks that differs is an error that names both. What a method must know of the whole model one rank finds
// out, whichever comes first, and leaves as a file (survey_state.h); the others take it from there. That duty and the
// naming of the output are claims (claim.h), which pass to another rank when their holder dies. A rank may be killed at
// any instant and started again with the same command; one that is started twice writes the same bytes twice, or is
// refused where the file system knows locks.
#pragma once

#include <vector>

#include "solera/merge/execute.h"

namespace solera::merge {

// The files of the layout that a rank writes: the largest first, each to the rank with the fewest bytes so far. With
// more ranks than files some write none.
std::vector<bool> files_of_rank(const checkpoint::Layout& layout, int rank, int of);

// execute() for options.of > 1. Throws Error (usage) for a method with a survey that only one process can use, and for
// `restart`, which would discard what other ranks have done. After an Error OUT.partial remains.
ExecuteReport execute_rank(Plan& plan, const ExecuteOptions& options, Progress& progress, int threads);

}  // namespace solera::merge
