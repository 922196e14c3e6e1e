#include "examples/cifar/measure.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "solera/checkpoint/statistics.h"
#include "solera/weights/elements.h"

namespace solera::examples {
namespace {

using checkpoint::DType;
using checkpoint::NamedBytes;
using checkpoint::Statistic;

// Sums over some of the images.
struct Sums {
  std::vector<double> fisher;
  std::vector<Matrix<double>> grams;  // of the convolutions, then of the linear layer
  std::vector<Eigen::VectorXd> inputs;

  void add(const Sums& other) {
    for (std::size_t i = 0; i < fisher.size(); ++i) fisher[i] += other.fisher[i];
    for (std::size_t i = 0; i < grams.size(); ++i) {
      grams[i] += other.grams[i];
      inputs[i] += other.inputs[i];
    }
  }
};

std::vector<double> softmax(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p;
  double sum = 0;
  for (const float logit : logits) sum += p.emplace_back(std::exp(logit - top));
  for (double& value : p) value /= sum;
  return p;
}

Sums empty_sums(const TrainableResNet<float>& network, const MeasureOptions& options) {
  Sums sums;
  if (options.fisher) {
    const Parameter& last = network.parameters().back();
    sums.fisher.resize(static_cast<std::size_t>(last.offset + checkpoint::element_count(last.shape)));
  }
  if (!options.inputs) return sums;
  std::vector<int> features;
  for (const ConvolutionNames& names : network.convolutions()) features.push_back(names.in * 9);
  features.push_back(network.features());
  for (const int in : features) {
    sums.grams.push_back(Matrix<double>::Zero(in, in));
    sums.inputs.push_back(Eigen::VectorXd::Zero(in));
  }
  return sums;
}

void add_inputs(const Tape<float>& tape, Sums& sums) {
  const auto add = [&](std::size_t i, const Matrix<float>& columns) {
    const Matrix<float> gram = columns * columns.transpose();
    sums.grams[i] += gram.cast<double>();
    sums.inputs[i] += columns.rowwise().sum().cast<double>();
  };
  for (std::size_t i = 0; i < tape.layers.size(); ++i) add(i, tape.layers[i].columns);
  add(tape.layers.size(),
      Eigen::Map<const Matrix<float>>(tape.features.data(), static_cast<Eigen::Index>(tape.features.size()), 1));
}

NamedBytes tensor_of(const std::string& name, Statistic kind, checkpoint::Shape shape, std::span<const double> sums,
                     double count) {
  NamedBytes tensor{{checkpoint::statistic_name(name, kind), DType::kF32, std::move(shape)}, {}};
  std::vector<double> means(sums.begin(), sums.end());
  for (double& value : means) value /= count;
  tensor.bytes.resize(tensor.info.bytes());
  weights::store(DType::kF32, means.data(), static_cast<std::int64_t>(means.size()), tensor.bytes.data());
  return tensor;
}

void add_input_tensors(const TrainableResNet<float>& network, const Sums& sums, double images,
                       std::vector<NamedBytes>& tensors) {
  for (std::size_t i = 0; i < sums.grams.size(); ++i) {
    const bool linear = i == network.convolutions().size();
    const std::string name = linear ? "linear.weight" : network.convolutions()[i].conv + ".weight";
    int side = 32;
    for (std::size_t k = 0; !linear && k <= i; ++k) side /= network.convolutions()[k].stride;
    const double count = linear ? images : images * side * side;
    const std::int64_t in = sums.grams[i].rows();
    const Eigen::VectorXd squares = sums.grams[i].diagonal();
    const auto size = static_cast<std::size_t>(in);
    tensors.push_back(tensor_of(name, Statistic::kInputMean, {in}, {sums.inputs[i].data(), size}, count));
    tensors.push_back(tensor_of(name, Statistic::kInputSq, {in}, {squares.data(), size}, count));
    tensors.push_back(tensor_of(name, Statistic::kGram, {in, in}, {sums.grams[i].data(), size * size}, count));
  }
}

}  // namespace

void for_labels(Labels labels, std::span<const double> probabilities, int label, const RandomStream& draws,
                std::uint64_t example,
                const std::function<void(double weight, std::span<const double> d_logits)>& add) {
  const auto count = static_cast<int>(probabilities.size());
  const auto add_class = [&](int y, double weight) {
    std::vector<double> d_logits;
    for (int k = 0; k < count; ++k) d_logits.push_back((k == y) - probabilities[static_cast<std::size_t>(k)]);
    add(weight, d_logits);
  };
  switch (labels) {
    case Labels::kExact:
      for (int y = 0; y < count; ++y) add_class(y, probabilities[static_cast<std::size_t>(y)]);
      return;
    case Labels::kSampled: {
      double left = draws.uniform(example);
      int y = 0;
      while (y + 1 < count && left >= probabilities[static_cast<std::size_t>(y)])
        left -= probabilities[static_cast<std::size_t>(y++)];
      return add_class(y, 1.0);
    }
    case Labels::kEmpirical:
      return add_class(label, 1.0);
  }
}

std::vector<NamedBytes> measure(const TrainableResNet<float>& network, const CifarImages& images,
                                const MeasureOptions& options, Pool& pool) {
  constexpr std::int64_t kParts = 8;  // whatever the threads: sums of parts are added in order
  const std::int64_t n = images.count();
  std::vector<Sums> parts(kParts, empty_sums(network, options));
  const RandomStream draws({.seed = static_cast<std::uint64_t>(options.seed), .purpose = "cifar.labels"});
  pool.for_each(kParts, [&](std::int64_t part, int) {
    Sums& sums = parts[static_cast<std::size_t>(part)];
    Tape<float> tape;
    std::vector<float> image(34 * 34 * 3), gradient, d_logits(kClasses);
    for (std::int64_t i = n * part / kParts; i < n * (part + 1) / kParts; ++i) {
      images.load(i, image.data());
      network.forward(image.data(), tape);
      if (options.inputs) add_inputs(tape, sums);
      if (!options.fisher) continue;
      for_labels(options.labels, softmax(tape.logits), images.label(i), draws, static_cast<std::uint64_t>(i),
                 [&](double weight, std::span<const double> d) {
                   std::copy(d.begin(), d.end(), d_logits.begin());
                   network.backward(tape, d_logits, gradient);
                   for (std::size_t k = 0; k < gradient.size(); ++k) {
                     const double g = gradient[k];
                     sums.fisher[k] += weight * g * g;
                   }
                 });
    }
  });
  for (std::size_t part = 1; part < parts.size(); ++part) parts[0].add(parts[part]);
  NamedBytes count{{"n", DType::kI64, {}}, std::vector<std::byte>(sizeof n)};
  std::memcpy(count.bytes.data(), &n, sizeof n);
  std::vector<NamedBytes> tensors = {std::move(count)};
  const auto total = static_cast<double>(n);
  if (options.fisher)
    for (const Parameter& parameter : network.parameters())
      tensors.push_back(tensor_of(parameter.name, Statistic::kFisher, parameter.shape,
                                  std::span(parts[0].fisher)
                                      .subspan(static_cast<std::size_t>(parameter.offset),
                                               static_cast<std::size_t>(checkpoint::element_count(parameter.shape))),
                                  total));
  if (options.inputs) add_input_tensors(network, parts[0], total, tensors);
  return tensors;
}

}  // namespace solera::examples
