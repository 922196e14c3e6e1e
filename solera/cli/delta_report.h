// What `solera delta` says of divisors and of the size of changes.
#pragma once

#include <string>

#include "solera/base/document.h"
#include "solera/soup/rescale_search.h"
#include "solera/weights/change_size.h"

namespace solera::cli {

std::string advice_name(weights::Advice advice);  // "q", "both", "wanda"
std::string advice_text(const weights::ChangeSize& size, weights::Advice advice);

// "q 0.35 (changes times 2.857): score 0.921; base 0.843, tuned 0.970; 31 evaluations, 0 cached". `searched` may be
// null.
std::string divisor_line(const weights::Sparsity& sparsity, const soup::RescaleReport* searched);
// Into the object of --json: q, rescale, those of single tensors, and the search with its trials.
void add_divisors(Node& object, const weights::Sparsity& sparsity, const soup::RescaleReport* searched);

}  // namespace solera::cli
