#include "solera/cli/delta_report.h"

#include <algorithm>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::cli {

std::string advice_name(weights::Advice advice) {
  switch (advice) {
    case weights::Advice::kRescale:
      return "q";
    case weights::Advice::kTryBoth:
      return "both";
    case weights::Advice::kImportance:
      break;
  }
  return "wanda";
}

std::string advice_text(const weights::ChangeSize& size, weights::Advice advice) {
  const std::string mean = cat("mean |change| ", number_text(size.mean, 3), " over ", size.entries, " entries");
  switch (advice) {
    case weights::Advice::kRescale:
      return cat(mean, ": small (up to ", weights::kSmallChange,
                 "); --sparsify q with --search labels, or change without labels, should do; --per-layer analytic is "
                 "better where there are statistics");
    case weights::Advice::kTryBoth:
      return cat(mean, ": between ", weights::kSmallChange, " and ", weights::kLargeChange,
                 "; try both --sparsify q with --search, and --sparsify wanda or magnitude");
    case weights::Advice::kImportance:
      break;
  }
  return cat(mean, ": large (above ", weights::kLargeChange,
             "); --sparsify wanda, or magnitude without statistics; a training that decays the change would help more");
}

std::string divisor_line(const weights::Sparsity& sparsity, const soup::RescaleReport* searched) {
  std::string line = cat("q ", number_text(sparsity.q, 4), " (changes times ", number_text(1 / sparsity.q, 4), ")");
  if (!sparsity.divisors.empty()) {
    const auto [least, most] = std::minmax_element(sparsity.divisors.begin(), sparsity.divisors.end(),
                                                   [](const auto& a, const auto& b) { return a.second < b.second; });
    line = cat("q ", number_text(least->second, 4), " to ", number_text(most->second, 4), " by layer, mean ",
               number_text(sparsity.q, 4));
  }
  if (!searched) return line;
  if (searched->per_layer) line += cat(", eta ", number_text(searched->value, 4));
  return cat(line, ": score ", number_text(searched->score), "; base ", number_text(searched->base_score), ", tuned ",
             number_text(searched->tuned_score), "; ", searched->evaluations,
             searched->evaluations == 1 ? " evaluation, " : " evaluations, ", searched->cached, " cached");
}

void add_divisors(Node& object, const weights::Sparsity& sparsity, const soup::RescaleReport* searched) {
  object.set("q", Node::number(sparsity.q));
  object.set("rescale", Node::number(1 / sparsity.q));
  if (!sparsity.divisors.empty()) {
    Node each = Node::map();
    for (const auto& [tensor, q] : sparsity.divisors) each.set(tensor, Node::number(q));
    object.set("q_by_tensor", std::move(each));
  }
  if (!searched) return;
  const char* name = searched->per_layer ? "eta" : "q";
  const double sign = searched->lower_is_better ? -1 : 1;
  if (searched->per_layer) object.set("eta", Node::number(searched->value));
  object.set("score", Node::number(searched->score));
  object.set("base_score", Node::number(searched->base_score));
  object.set("tuned_score", Node::number(searched->tuned_score));
  object.set("direction", Node::text(searched->lower_is_better ? "minimize" : "maximize"));
  Node trials = Node::list();
  for (const search::ScanTrial& trial : searched->scan.trials)
    trials.push(Node::map({{name, Node::number(trial.value)},
                           {"score", Node::number(sign * trial.score)},
                           {"stage", Node::text(trial.fine ? "fine" : "coarse")}}));
  object.set("trials", std::move(trials));
  object.set("evaluations", Node::integer(searched->evaluations));
  object.set("cached", Node::integer(searched->cached));
  object.set("cache", Node::text(searched->cache));
}

}  // namespace solera::cli
