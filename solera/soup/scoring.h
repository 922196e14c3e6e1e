// Scoring several candidates at once, told of in their order.
#pragma once

#include <functional>
#include <string>

#include "solera/soup/greedy.h"

namespace solera::soup {

// Evaluates candidates 0..count-1 by `jobs` workers; `told` hears of each in order, one call at a time, maybe from
// another thread. The first failure in that order is the one thrown.
void score_in_order(int count, int jobs, const std::function<Evaluation(int candidate)>& evaluate,
                    const std::function<void(int candidate, const Evaluation& evaluation)>& told);

// Throws Error (input) for a score that is not finite; `who` names the candidate.
void require_finite(const Evaluation& evaluation, const std::string& who);

}  // namespace solera::soup
