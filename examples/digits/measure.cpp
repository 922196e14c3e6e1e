#include "examples/digits/measure.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/checkpoint/statistics.h"

namespace solera::examples {

using checkpoint::DType;
using checkpoint::Statistic;

double hidden_change(const Mlp& network, const Mlp& reference, const Digits& digits, const std::string& where) {
  const auto width = [](const Mlp& of) { return of.layers.back().in; };
  if (network.layers.size() < 2 || reference.layers.size() < 2)
    throw input_error("the network has no hidden layer", where);
  if (width(network) != width(reference))
    throw input_error(cat("the last hidden layer has ", width(network), " units, the reference's ", width(reference)),
                      where);
  const auto mine = mlp_inputs(network, digits.pixels).back(), other = mlp_inputs(reference, digits.pixels).back();
  double sum = 0.0;
  for (std::size_t i = 0; i < mine.size(); ++i) sum += std::abs(static_cast<double>(mine[i]) - other[i]);
  return sum / static_cast<double>(mine.size());
}

std::vector<checkpoint::NamedBytes> input_statistics(const Mlp& network, const Digits& digits) {
  const std::int64_t n = digits.count();
  std::vector<checkpoint::NamedBytes> tensors = {stored("n", DType::kI64, {}, &n)};
  const auto inputs = mlp_inputs(network, digits.pixels);
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const auto width = static_cast<std::size_t>(network.layers[k].in);
    std::vector<double> mean(width), gram(width * width);
    for (std::size_t image = 0; image < static_cast<std::size_t>(n); ++image) {
      const float* x = inputs[k].data() + image * width;
      for (std::size_t i = 0; i < width; ++i) {
        if (x[i] == 0.0f) continue;
        const double value = x[i];
        mean[i] += value;
        for (std::size_t j = 0; j < width; ++j) gram[i * width + j] += value * x[j];
      }
    }
    const auto add = [&](Statistic kind, checkpoint::Shape shape, auto value_of) {
      std::vector<float> values(static_cast<std::size_t>(checkpoint::element_count(shape)));
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<float>(value_of(i) / static_cast<double>(n));
      tensors.push_back(stored(checkpoint::statistic_name(cat("fc", k + 1, ".weight"), kind), DType::kF32,
                               std::move(shape), values.data()));
    };
    const auto in = static_cast<std::int64_t>(width);
    add(Statistic::kInputMean, {in}, [&](std::size_t i) { return mean[i]; });
    add(Statistic::kInputSq, {in}, [&](std::size_t i) { return gram[i * (width + 1)]; });
    add(Statistic::kGram, {in, in}, [&](std::size_t i) { return gram[i]; });
  }
  return tensors;
}

std::vector<checkpoint::NamedBytes> fisher_statistics(const Mlp& network, const Digits& digits) {
  const std::int64_t n = digits.count();
  const int classes = network.classes();
  const std::vector<float> logits = mlp_logits<float>(network, digits.pixels);
  std::map<std::string, std::vector<double>> sums;
  Mlp gradient;
  for (std::int64_t image = 0; image < n; ++image) {
    const std::span<const float> row(logits.data() + image * classes, static_cast<std::size_t>(classes));
    const double top = *std::max_element(row.begin(), row.end());
    double total = 0.0;
    for (const float logit : row) total += std::exp(logit - top);
    for (int y = 0; y < classes; ++y) {
      mlp_gradient<float>(network, digits.image(image), std::array{y}, 0.0, 0, gradient);  // of -log p(y | x)
      const double p = std::exp(row[y] - top) / total;
      for (const auto& [name, tensor] : mlp_tensors(gradient)) {
        auto& sum = sums[name];
        sum.resize(tensor.second.size());
        for (std::size_t i = 0; i < sum.size(); ++i) {
          const double g = tensor.second[i];
          sum[i] += p * g * g;
        }
      }
    }
  }
  std::vector<checkpoint::NamedBytes> tensors = {stored("n", DType::kI64, {}, &n)};
  for (const auto& [name, tensor] : mlp_tensors(network)) {
    std::vector<float> means;
    for (const double sum : sums[name]) means.push_back(static_cast<float>(sum / static_cast<double>(n)));
    tensors.push_back(
        stored(checkpoint::statistic_name(name, Statistic::kFisher), DType::kF32, tensor.first, means.data()));
  }
  return tensors;
}

namespace {

std::map<std::string, std::string> metadata_of(const std::string& model) {
  return {{"format", "pt"},
          {checkpoint::kFingerprintKey, checkpoint::model_fingerprint(checkpoint::open_checkpoint(model))}};
}

}  // namespace

void write_statistics(const std::string& path, const Mlp& network, const std::string& model, const Digits& digits) {
  checkpoint::write_safetensors(path, input_statistics(network, digits), metadata_of(model));
}

void write_fisher(const std::string& path, const Mlp& network, const std::string& model, const Digits& digits) {
  auto metadata = metadata_of(model);
  metadata["solera.fisher"] = "exact";
  checkpoint::write_safetensors(path, fisher_statistics(network, digits), metadata);
}

}  // namespace solera::examples
