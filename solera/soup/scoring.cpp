#include "solera/soup/scoring.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <optional>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"

namespace solera::soup {

void score_in_order(int count, int jobs, const std::function<Evaluation(int)>& evaluate,
                    const std::function<void(int, const Evaluation&)>& told) {
  std::vector<std::optional<Evaluation>> done(static_cast<std::size_t>(count));
  std::size_t next = 0;
  std::mutex mutex;
  Pool pool(std::clamp(jobs, 1, std::max(1, count)));
  pool.for_each(count, [&](std::int64_t at, int) {
    const Evaluation evaluation = evaluate(static_cast<int>(at));
    const std::lock_guard lock(mutex);
    done[static_cast<std::size_t>(at)] = evaluation;
    for (; next < done.size() && done[next]; ++next) told(static_cast<int>(next), *done[next]);
  });
}

void require_finite(const Evaluation& evaluation, const std::string& who) {
  if (!std::isfinite(evaluation.score))
    throw input_error(cat("the score is ", exact_text(evaluation.score), ", not a finite number"), who);
}

}  // namespace solera::soup
