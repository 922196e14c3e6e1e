#include "examples/digits/measure.h"

#include <cmath>
#include <map>

#include "solera/base/random.h"
#include "solera/checkpoint/statistics.h"
#include "tests/support/support.h"

namespace solera::examples {
namespace {

using test::message_of;

TEST(DigitsMeasure, InputsOfLayersByHand) {
  Mlp network;
  network.layers = {{64, 2, std::vector<float>(128, 0.0f), {1, -1}}, {2, 1, {1, 1}, {0}}};
  network.layers[0].weight[0] = 2;  // h = relu(2 x_0 + 1, x_0 - 1)
  network.layers[0].weight[64] = 1;
  Digits digits;
  digits.pixels.assign(128, 0.0f);
  digits.pixels[64] = 3;  // x_0 = 0, 3: h = (1, 0), (7, 2)
  digits.labels = {0, 0};
  const TemporaryFolder folder;
  const std::string path = folder / "m.safetensors", stats = folder / "stats.safetensors";
  write_mlp(path, network);
  write_statistics(stats, network, path, digits);
  const auto file = checkpoint::open_statistics(stats, checkpoint::open_checkpoint(path));
  EXPECT_EQ(file.examples(), 2);
  using Values = std::vector<double>;
  EXPECT_EQ(test::values(file.file(), "fc2.weight.input_mean"), (Values{4, 1}));
  EXPECT_EQ(test::values(file.file(), "fc2.weight.input_sq"), (Values{25, 2}));
  EXPECT_EQ(test::values(file.file(), "fc2.weight.gram"), (Values{25, 7, 7, 2}));
  EXPECT_EQ(test::values(file.file(), "fc1.weight.input_mean")[0], 1.5);

  Mlp other = network;
  other.layers[0].bias = {2, -1};  // h = (2, 0), (8, 2): one unit of two is off by 1
  EXPECT_EQ(hidden_change(other, network, digits, "m"), 0.5);
  other.layers[1].bias = {9};  // behind the last hidden layer
  EXPECT_EQ(hidden_change(network, network, digits, "m"), 0);
  EXPECT_EQ(hidden_change(other, network, digits, "m"), 0.5);
  EXPECT_EQ(message_of([&] { hidden_change(he_mlp(std::vector<int>{64, 3, 1}, 1, 0), network, digits, "m"); }),
            "the last hidden layer has 3 units, the reference's 2 (m)");
  EXPECT_EQ(message_of([&] { hidden_change(he_mlp(std::vector<int>{64, 3}, 1, 0), network, digits, "m"); }),
            "the network has no hidden layer (m)");
}

// Logits z = W x with x_0 = 2 and W_00 = ln 3 / 2, all else 0: p = [.75, .25], and the Fisher of both weights is
// p (1 - p) x^2.
TEST(DigitsFisher, BinarySoftmaxByHand) {
  Mlp network;
  network.layers = {{64, 2, std::vector<float>(128, 0.0f), {0, 0}}};
  network.layers[0].weight[0] = static_cast<float>(std::log(3.0) / 2);
  Digits digits;
  digits.pixels.assign(64, 0.0f);
  digits.pixels[0] = 2;
  digits.labels = {0};
  const TemporaryFolder folder;
  const std::string path = folder / "m.safetensors", out = folder / "fisher.safetensors";
  write_mlp(path, network);
  write_fisher(out, network, path, digits);
  const auto file = checkpoint::open_statistics(out, checkpoint::open_checkpoint(path));  // names and shapes fit
  EXPECT_EQ(file.examples(), 1);
  EXPECT_EQ(file.file().metadata().at("solera.fisher"), "exact");
  const auto weight = test::values(file.file(), "fc1.weight.fisher"),
             bias = test::values(file.file(), "fc1.bias.fisher");
  // Squaring sum_c sqrt(p_c) log p_c, a slip of other programs, would give .100481, and sum_c p_c log p_c would give 0.
  for (std::size_t i = 0; i < 128; ++i) EXPECT_NEAR(weight[i], i % 64 == 0 ? 0.75 : 0.0, 1e-6);
  for (const double value : bias) EXPECT_NEAR(value, 0.1875, 1e-6);
}

// Of a network with a hidden layer: squares of difference quotients of log p, the mean over images.
TEST(DigitsFisher, IsTheMeanSquareOfDifferenceQuotients) {
  const Mlp network = he_mlp(std::vector<int>{64, 6, 3}, 1, 0);
  const Digits digits = digits_split("0:5", 2);
  const std::vector<double> images(digits.pixels.begin(), digits.pixels.end());
  BasicMlp<double> exact;
  for (const auto& layer : network.layers) {
    exact.layers.push_back(
        {layer.in, layer.out, {layer.weight.begin(), layer.weight.end()}, {layer.bias.begin(), layer.bias.end()}});
  }
  const auto log_p = [&] {
    std::vector<double> values = mlp_logits<double>(exact, images);
    for (std::size_t first = 0; first < values.size(); first += 3) {
      double sum = 0.0;
      for (std::size_t c = first; c < first + 3; ++c) sum += std::exp(values[c]);
      for (std::size_t c = first; c < first + 3; ++c) values[c] -= std::log(sum);
    }
    return values;
  };
  const auto before = log_p();
  const TemporaryFolder folder;
  const auto file =
      checkpoint::open_checkpoint(test::write_model(folder / "f.safetensors", fisher_statistics(network, digits)));
  const std::map<std::string, std::vector<double>*> parameters = {{"fc1.bias", &exact.layers[0].bias},
                                                                  {"fc1.weight", &exact.layers[0].weight},
                                                                  {"fc2.bias", &exact.layers[1].bias},
                                                                  {"fc2.weight", &exact.layers[1].weight}};
  for (const auto& [name, values] : parameters) {
    const std::vector<double> fisher = test::values(file, name + ".fisher");
    ASSERT_EQ(fisher.size(), values->size());
    for (std::size_t i = 0; i < fisher.size(); ++i) {
      constexpr double kStep = 1e-6;
      double& value = (*values)[i];
      const double kept = value;
      value = kept + kStep;
      const auto up = log_p();
      value = kept - kStep;
      const auto down = log_p();
      value = kept;
      double mean = 0.0;
      for (std::size_t k = 0; k < up.size(); ++k) {
        mean += std::exp(before[k]) * std::pow((up[k] - down[k]) / (2 * kStep), 2) / 5;
      }
      EXPECT_NEAR(fisher[i], mean, 1e-5 * mean + 1e-9) << name << " " << i;
    }
  }
}

}  // namespace
}  // namespace solera::examples
