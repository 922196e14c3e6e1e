// Claims checked against what the steps measured, and the report.
#pragma once

#include <string>
#include <vector>

#include "solera/base/table.h"
#include "solera/recipe/expression.h"
#include "solera/recipe/run.h"

namespace solera::recipe {

struct CheckedClaim {
  Claim claim;
  bool checked = false;  // false: a step that it needs did not run (--only)
  Verdict verdict;
  std::string measured;  // "0.964 ± 0.002 >= 0.963 ± 0.003"
};

// The value of a name over the results: STEP, then for a foreach step a part a variable (a value, or * for all), then
// the path in the step's JSON: keys, indices, * for every value, or one JSON pointer.
Value look_up(const Recipe& recipe, const RunReport& report, const Name& name);

// Throws Error (input) with the claim's place where an expression is wrong.
std::vector<CheckedClaim> check_claims(const Recipe& recipe, const RunReport& report);

bool all_hold(const std::vector<CheckedClaim>& claims);
Table claims_table(const std::vector<CheckedClaim>& claims);
// The whole run for machines: steps with their results and seconds, claims with both sides.
Node report_node(const Recipe& recipe, const RunReport& report, const std::vector<CheckedClaim>& claims);
std::string report_markdown(const Recipe& recipe, const RunReport& report, const std::vector<CheckedClaim>& claims);

}  // namespace solera::recipe
