// Scores of digits networks and of ensembles of them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "examples/digits/data.h"
#include "examples/digits/mlp.h"

namespace solera::examples {

struct Score {
  std::int64_t n = 0;
  double accuracy = 0.0;  // fraction whose largest logit is the label's (the first of equal ones)
  double loss = 0.0;      // mean cross-entropy in nats
};

// [count, classes]. Throws Error (input) if the network does not take 64 pixels; `where` names it.
std::vector<float> digit_logits(const Mlp& network, const Digits& digits, const std::string& where);

Score score_logits(std::span<const float> logits, std::span<const int> labels);

// The mean of the members' logits, added in their order in double. Throws Error (input) if their sizes differ.
std::vector<float> mean_logits(std::span<const std::vector<float>> members);

}  // namespace solera::examples
