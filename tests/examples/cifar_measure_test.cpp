#include "examples/cifar/measure.h"

#include <array>
#include <cmath>
#include <map>

#include "examples/cifar/resnet.h"
#include "solera/checkpoint/statistics.h"
#include "tests/examples/cifar_fixture.h"

namespace solera::examples {
namespace {

// A network of one block a stage and three images.
class Measure : public testing::Test {
 protected:
  Measure() {
    for (int i = 0; i < 3; ++i) images_.load(i, pixels_[i].data());
  }
  std::map<std::string, std::vector<double>> measured(const CifarImages& images, MeasureOptions options,
                                                      int threads = 2) const {
    Pool pool(threads);
    const std::string path = folder_ / "s.safetensors";
    checkpoint::write_safetensors(path, measure(TrainableResNet<float>(model_), images, options, pool));
    const auto file = checkpoint::open_statistics(path, model_);  // names and shapes fit
    EXPECT_EQ(file.examples(), images.count());
    std::map<std::string, std::vector<double>> all;
    for (const auto& tensor : file.file().tensors())
      if (tensor.name != "n") all[tensor.name] = test::values(file.file(), tensor.name);
    return all;
  }

  TemporaryFolder folder_;
  const checkpoint::Checkpoint model_ =
      checkpoint::open_checkpoint(test::write_model(folder_ / "m.safetensors", network(16, 1)));
  const CifarImages images_{records(3)};
  std::array<std::vector<float>, 3> pixels_ = {std::vector<float>(34 * 34 * 3), std::vector<float>(34 * 34 * 3),
                                               std::vector<float>(34 * 34 * 3)};
};

TEST_F(Measure, ForwardPassIsThatOfTheEvaluation) {
  const TrainableResNet<double> trainable(model_);
  Pool pool(1);
  double loss = 0;
  for (int i = 0; i < 3; ++i) {
    Tape<double> tape;
    trainable.forward(pixels_[i].data(), tape);
    double sum = 0;
    for (const double logit : tape.logits) sum += std::exp(logit);
    loss += (std::log(sum) - tape.logits[images_.label(i)]) / 3;
  }
  EXPECT_NEAR(loss, evaluate(load_resnet(model_), images_, pool).loss, 1e-5 * loss);
}

TEST_F(Measure, GradientsAreDifferenceQuotients) {
  TrainableResNet<double> trainable(model_);
  const std::vector<double> d_logits = {0.3, -0.2, 0.5, 0, 1, -0.7, 0.1, 0, -1, 0.4};
  Tape<double> tape, other;
  std::vector<double> gradient;
  trainable.forward(pixels_[0].data(), tape);
  trainable.backward(tape, d_logits, gradient);
  const auto combined = [&] {
    trainable.forward(pixels_[0].data(), other);
    double sum = 0;
    for (int k = 0; k < kClasses; ++k) sum += d_logits[k] * other.logits[k];
    return sum;
  };
  constexpr double kStep = 1e-6;
  int checked = 0;
  for (const Parameter& parameter : trainable.parameters()) {
    const std::int64_t n = checkpoint::element_count(parameter.shape);
    double scale = 0;
    for (std::int64_t i = 0; i < n; ++i) scale = std::max(scale, std::abs(gradient[parameter.offset + i]));
    EXPECT_GT(scale, 0) << parameter.name;
    for (const std::int64_t i : {std::int64_t(0), n / 3, n / 2, n - 1}) {
      double& value = trainable.values()[parameter.offset + i];
      const double before = value;
      value = before + kStep;
      const double up = combined();
      value = before - kStep;
      const double down = combined();
      value = before;
      EXPECT_NEAR((up - down) / (2 * kStep), gradient[parameter.offset + i], 1e-5 * scale)
          << parameter.name << " " << i;
      ++checked;
    }
  }
  EXPECT_EQ(checked, 4 * (7 * 3 + 2));
}

// Logits z = W x with x = 2 and W = [ln 3 / 2, 0]: p = [.75, .25], and the Fisher of both weights is p (1 - p) x^2.
TEST(FisherLabels, BinarySoftmaxByHand) {
  const std::vector<double> p = {0.75, 0.25};
  const RandomStream draws({.seed = 1, .purpose = "test"});
  const auto fisher = [&](Labels labels, int label, std::uint64_t first, std::uint64_t count) {
    std::vector<double> sums(2);
    for (std::uint64_t example = first; example < first + count; ++example)
      for_labels(labels, p, label, draws, example, [&](double weight, std::span<const double> d_logits) {
        for (int k = 0; k < 2; ++k) sums[k] += weight * (d_logits[k] * 2) * (d_logits[k] * 2);
      });
    for (double& sum : sums) sum /= static_cast<double>(count);
    return sums;
  };
  const auto exact = fisher(Labels::kExact, 0, 0, 1);
  // Squaring sum_c sqrt(p_c) log p_c, a slip of other programs, would give .100481, and sum_c p_c log p_c would give 0.
  for (int k = 0; k < 2; ++k) EXPECT_NEAR(exact[k], 0.75, 1e-12);
  const auto sampled = fisher(Labels::kSampled, 0, 0, 10000);
  for (int k = 0; k < 2; ++k) EXPECT_NEAR(sampled[k], 0.75, 0.05 * 0.75);
  EXPECT_EQ(fisher(Labels::kEmpirical, 0, 0, 1), (std::vector<double>{0.25, 0.25}));  // (1 - p_0)^2 x^2
  EXPECT_EQ(fisher(Labels::kEmpirical, 1, 0, 1), (std::vector<double>{2.25, 2.25}));
}

TEST_F(Measure, FisherIsTheMeanOverExamples) {
  const auto together = measured(images_, {.inputs = false});
  std::map<std::string, std::vector<double>> mean;
  for (int i = 0; i < 3; ++i)
    for (const auto& [name, values] :
         measured({images_.bytes.substr(static_cast<std::size_t>(i) * CifarImages::kRecord, CifarImages::kRecord)},
                  {.inputs = false})) {
      mean[name].resize(values.size());
      for (std::size_t k = 0; k < values.size(); ++k) mean[name][k] += values[k] / 3;
    }
  ASSERT_EQ(together.size(), 7u * 3 + 2);
  for (const auto& [name, values] : together)
    for (std::size_t k = 0; k < values.size(); ++k) {
      ASSERT_NEAR(values[k], mean[name][k], 1e-6 * std::abs(values[k])) << name;
      ASSERT_GE(values[k], 0);
    }
}

// The linear layer is touched once by an example, so that its Fisher is a product: sum_c p_c d_c^2 f^2.
TEST_F(Measure, FisherOfTheLinearLayerIsAProductOfSquares) {
  for (const Labels labels : {Labels::kExact, Labels::kEmpirical}) {
    const TrainableResNet<double> trainable(model_);
    std::vector<double> weight(kClasses * 64), bias(kClasses);
    for (int i = 0; i < 3; ++i) {
      Tape<double> tape;
      trainable.forward(pixels_[i].data(), tape);
      double sum = 0;
      for (const double logit : tape.logits) sum += std::exp(logit);
      for (int c = 0; c < kClasses; ++c) {
        const double share = labels == Labels::kExact ? std::exp(tape.logits[c]) / sum : c == images_.label(i);
        for (int k = 0; k < kClasses; ++k) {
          const double d = (k == c) - std::exp(tape.logits[k]) / sum;
          bias[k] += share * d * d / 3;
          for (int f = 0; f < 64; ++f) weight[k * 64 + f] += share * d * d * tape.features[f] * tape.features[f] / 3;
        }
      }
    }
    const auto all = measured(images_, {.inputs = false, .labels = labels});
    for (std::size_t k = 0; k < bias.size(); ++k) EXPECT_NEAR(all.at("linear.bias.fisher")[k], bias[k], 1e-5 * bias[k]);
    for (std::size_t k = 0; k < weight.size(); ++k)
      EXPECT_NEAR(all.at("linear.weight.fisher")[k], weight[k], 1e-4 * weight[k] + 1e-12);
  }
}

TEST_F(Measure, InputsAreMeansOverPixels) {
  const auto all = measured(images_, {.fisher = false});
  ASSERT_EQ(all.size(), 3u * 8);
  // The stem sees pixels under its kernel: feature (channel, ky, kx), zeros outside.
  const auto pixel = [&](int image, int y, int x, int feature) {
    const int c = feature / 9, v = y + feature / 3 % 3, u = x + feature % 3;
    return static_cast<double>(pixels_[image][(v * 34 + u) * 3 + c]);  // the border is in the image
  };
  std::vector<double> mean(27), gram(27 * 27);
  for (int image = 0; image < 3; ++image)
    for (int y = 0; y < 32; ++y)
      for (int x = 0; x < 32; ++x)
        for (int a = 0; a < 27; ++a) {
          mean[a] += pixel(image, y, x, a) / (3 * 1024);
          for (int b = 0; b < 27; ++b) gram[a * 27 + b] += pixel(image, y, x, a) * pixel(image, y, x, b) / (3 * 1024);
        }
  for (int a = 0; a < 27; ++a) {
    EXPECT_NEAR(all.at("conv1.weight.input_mean")[a], mean[a], 1e-5);
    EXPECT_NEAR(all.at("conv1.weight.input_sq")[a], gram[a * 28], 1e-5);
    for (int b = 0; b < 27; ++b) EXPECT_NEAR(all.at("conv1.weight.gram")[a * 27 + b], gram[a * 27 + b], 1e-5);
  }
  // The linear layer sees one vector an image.
  const TrainableResNet<double> trainable(model_);
  std::vector<double> features(64 * 64);
  for (int i = 0; i < 3; ++i) {
    Tape<double> tape;
    trainable.forward(pixels_[i].data(), tape);
    for (int a = 0; a < 64; ++a)
      for (int b = 0; b < 64; ++b) features[a * 64 + b] += tape.features[a] * tape.features[b] / 3;
  }
  for (std::size_t k = 0; k < features.size(); ++k)
    EXPECT_NEAR(all.at("linear.weight.gram")[k], features[k], 1e-4 * features[k] + 1e-9);
  // A convolution in the middle whose image is half as large: diagonal and mean square agree.
  const auto& square = all.at("layer2.0.conv1.weight.input_sq");
  ASSERT_EQ(square.size(), 16u * 9);
  for (std::size_t k = 0; k < square.size(); ++k)
    EXPECT_EQ(all.at("layer2.0.conv1.weight.gram")[k * (square.size() + 1)], square[k]);
}

TEST_F(Measure, TheSameForAnyNumberOfThreads) {
  const MeasureOptions sampled{.labels = Labels::kSampled, .seed = 3};
  const auto one = measured(images_, sampled, 1);
  EXPECT_EQ(measured(images_, sampled, 3), one);
  EXPECT_NE(measured(images_, {.labels = Labels::kSampled, .seed = 4}, 1), one);
}

}  // namespace
}  // namespace solera::examples
