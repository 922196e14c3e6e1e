// Pieces of a soup's report that the search prints and logs as it goes. The whole reports are declared in soup.h.
#pragma once

#include <string>

#include "solera/base/document.h"
#include "solera/soup/soup.h"

namespace solera::soup {

// A line of the log: {"trial": 9, "verdict": "accepted", "tried": "run5", "ingredients": [...], "weights": [...],
// "score": ...}
Node trial_json(const Trial& trial, int number, const SoupReport& report);
// "+ run5.safetensors: .8560, accepted (soup of 3)"
std::string trial_line(const Trial& trial, const SoupReport& report);

// The same of a search of coefficients: {"trial": 9, "generation": 2, "candidate": 3, "ingredients": [...], "weights":
// [...], "score": ...}, with a list of weights a group if there are several, in the report's order of groups.
Node blend_trial_json(const BlendTrial& trial, int number, const SoupReport& report);
// "generation 2, candidate 3: .8612, better"
std::string blend_trial_line(const BlendTrial& trial, const SoupReport& report);

// Pieces that searches share. The trials that were better than all before, counted from `before`; scores over the
// trials, with a level for the first one under the name `start` unless it is empty.
Table better_table(const BlendResult& result, std::size_t before);
std::string trials_plot(const BlendResult& result, const std::string& title, const std::string& start);
// In a report's JSON object: how many evaluations were run, and where they are remembered.
template <class Report>
void set_run(Node& object, const Report& report) {
  object.set("evaluations", Node::integer(report.evaluations));
  object.set("cached", Node::integer(report.cached));
  object.set("log", Node::text(report.log));
  object.set("cache", Node::text(report.cache));
}
std::string evaluations_text(int ran, int cached);   // "5 evaluations, 0 cached"
std::string trials_text(const BlendResult& result);  // "60 trials in 9 generations"

// What soup.h declares, for recipes that search coefficients.
bool searches_coefficients(Recipe recipe);
Table blend_table(const SoupReport& report);
std::string blend_summary(const SoupReport& report);
Node blend_json(const SoupReport& report);
std::string blend_plot(const SoupReport& report);

}  // namespace solera::soup
