#include "examples/digits/evaluate.h"

#include <algorithm>
#include <cmath>

#include "solera/base/error.h"

namespace solera::examples {

std::vector<float> digit_logits(const Mlp& network, const Digits& digits, const std::string& where) {
  if (network.inputs() != Digits::kPixels) {
    throw input_error(cat("fc1.weight takes ", network.inputs(), " inputs, an image has 64 pixels"), where);
  }
  const int classes = 1 + *std::max_element(digits.labels.begin(), digits.labels.end());
  if (network.classes() < classes) {
    throw input_error(cat("the network has ", network.classes(), " classes, the images ", classes), where);
  }
  return mlp_logits<float>(network, digits.pixels);
}

Score score_logits(std::span<const float> logits, std::span<const int> labels) {
  Score score{.n = static_cast<std::int64_t>(labels.size())};
  const std::size_t classes = logits.size() / labels.size();
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto row = logits.subspan(i * classes, classes);
    const auto top = std::max_element(row.begin(), row.end());
    double sum = 0.0;
    for (const float logit : row) sum += std::exp(static_cast<double>(logit) - *top);
    score.accuracy += top - row.begin() == labels[i];
    score.loss += std::log(sum) + *top - row[labels[i]];
  }
  score.accuracy /= static_cast<double>(score.n);
  score.loss /= static_cast<double>(score.n);
  return score;
}

std::vector<float> mean_logits(std::span<const std::vector<float>> members) {
  std::vector<double> sum(members.front().size(), 0.0);
  for (const auto& member : members) {
    if (member.size() != sum.size()) throw input_error("members of an ensemble have different numbers of classes");
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += member[i];
  }
  std::vector<float> mean;
  for (const double value : sum) mean.push_back(static_cast<float>(value / static_cast<double>(members.size())));
  return mean;
}

}  // namespace solera::examples
