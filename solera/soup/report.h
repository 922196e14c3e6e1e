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

}  // namespace solera::soup
