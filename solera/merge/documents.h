// A file of several YAML documents: those with a `name` make models that the others may use by it, the one without a
// name makes the output.
//
//   name: first
//   merge_method: linear
//   models: [...]
//   ---
//   merge_method: slerp
//   base_model: first
//   models: [fine-c]
//
// All documents are planned before any is carried out: a mistake in the last one costs nothing. Where the named ones
// lie, PARTS/first, is the caller's choice; beside each, PARTS/first.plan holds the hash of its plan, so that a second
// call after a kill finds it made. A model without that file is not ours and never replaced.
#pragma once

#include <string>
#include <vector>

#include "solera/merge/execute.h"

namespace solera::merge {

// In the order in which they can be made; the last is the output. A single document is the output whatever its name.
// Throws Error (usage) with file:line:column, also for names that are used twice, are no file names, or need each
// other.
std::vector<MergeConfig> read_merge_configs(const std::string& path);

// Where an output's named documents go unless the caller says otherwise: "OUT.parts".
std::string parts_of(const std::string& out);

// A plan for each, as make_plan() does; models that are made later in PARTS stand in as planned. `options.single_file`
// counts for the last.
std::vector<Plan> plan_documents(const std::vector<MergeConfig>& configs, const PlanOptions& options,
                                 const std::string& parts);

// Carries out the plans of plan_documents(). Named models are left in `parts` if `keep`, else they and the folder, if
// nothing else is in it, are removed when the output is there. The report is that of the output.
ExecuteReport execute_documents(std::vector<Plan> plans, const PlanOptions& plan_options, const ExecuteOptions& options,
                                const std::string& parts, bool keep, Progress& progress);

}  // namespace solera::merge
