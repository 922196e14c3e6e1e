#include <algorithm>
#include <cmath>
#include <cstring>

#include "examples/cifar/resnet.h"
#include "solera/weights/elements.h"
#include "tests/examples/cifar_fixture.h"
#include "tests/support/support.h"

namespace solera::examples {
namespace {

using checkpoint::NamedBytes;
using test::message_of;

std::vector<float> random_values(std::string_view purpose, std::size_t n) {
  std::vector<float> values(n);
  RandomStream({.seed = 1, .purpose = purpose}).fill_normal(0, values);
  return values;
}

TEST(Convolution, EqualsTheSumOfProductsOnEveryTarget) {
  for (const int stride : {1, 2}) {
    for (const int in : {3, 16, 32}) {
      constexpr int kSize = 8, kOut = 32;
      const int side = kSize * stride + 2;
      Convolution layer{in, kOut, stride, random_values("w", 9u * in * kOut), random_values("b", kOut)};
      const auto input = random_values("x", static_cast<std::size_t>(side) * side * in);
      const auto shortcut = random_values("s", 10u * 10u * kOut);
      std::vector<float> want(shortcut.size(), -7.0f);
      for (int y = 0; y < kSize; ++y) {
        for (int x = 0; x < kSize; ++x) {
          for (int o = 0; o < kOut; ++o) {
            float sum = layer.bias[o];
            for (int k = 0; k < 9; ++k) {
              for (int i = 0; i < in; ++i) {
                const float product = input[((y * stride + k / 3) * side + x * stride + k % 3) * in + i] *
                                      layer.weights[((o / 16 * 9 + k) * in + i) * 16 + o % 16];
                sum = sum + product;
              }
            }
            const std::size_t at = ((y + 1) * 10u + x + 1) * kOut + o;
            sum = sum + shortcut[at];
            want[at] = std::max(sum, 0.0f);
          }
        }
      }
      for (const auto& target : weights::simd_targets()) {
        weights::pin_simd_target(target);
        std::vector<float> got(shortcut.size(), -7.0f);
        convolve(layer, input.data(), kSize, shortcut.data(), got.data());
        EXPECT_EQ(std::memcmp(got.data(), want.data(), got.size() * sizeof(float)), 0)
            << target << " stride " << stride;
      }
      weights::pin_simd_target("");
    }
  }
}

// The whole network the slow way, from the tensors as stored: batch norm apart, double precision.
std::vector<double> reference_logits(const checkpoint::Checkpoint& model, const float* image, int channels,
                                     int blocks) {
  using Planes = std::vector<std::vector<double>>;  // [channel][y * size + x]
  const auto conv = [&](const Planes& in, int size, const std::string& c, const std::string& bn, int stride) {
    const auto w = test::values(model, c + ".weight"), gamma = test::values(model, bn + ".weight"),
               beta = test::values(model, bn + ".bias"), mean = test::values(model, bn + ".running_mean"),
               variance = test::values(model, bn + ".running_var");
    const int half = size / stride;
    Planes out(gamma.size(), std::vector<double>(static_cast<std::size_t>(half) * half));
    for (std::size_t o = 0; o < out.size(); ++o) {
      for (int y = 0; y < half; ++y) {
        for (int x = 0; x < half; ++x) {
          double sum = 0.0;
          for (std::size_t i = 0; i < in.size(); ++i) {
            for (int ky = 0; ky < 3; ++ky) {
              for (int kx = 0; kx < 3; ++kx) {
                const int v = y * stride + ky - 1, u = x * stride + kx - 1;
                if (v < 0 || u < 0 || v >= size || u >= size) continue;
                sum += w[(o * in.size() + i) * 9 + ky * 3 + kx] * in[i][v * size + u];
              }
            }
          }
          out[o][y * half + x] = (sum - mean[o]) / std::sqrt(variance[o] + 1e-5) * gamma[o] + beta[o];
        }
      }
    }
    return out;
  };
  const auto relu = [](Planes planes) {
    for (auto& plane : planes) {
      for (auto& value : plane) value = std::max(value, 0.0);
    }
    return planes;
  };
  Planes x(3, std::vector<double>(32 * 32));
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < 32 * 32; ++i) x[c][i] = image[((i / 32 + 1) * 34 + i % 32 + 1) * 3 + c];
  }
  x = relu(conv(x, 32, "conv1", "bn1", 1));
  int size = 32;
  for (int s = 0; s < 3; ++s) {
    for (int b = 0; b < blocks; ++b) {
      const std::string block = cat("layer", s + 1, ".", b, ".");
      const int stride = s > 0 && b == 0 ? 2 : 1;
      const Planes inner = relu(conv(x, size, block + "conv1", block + "bn1", stride));
      Planes out = conv(inner, size / stride, block + "conv2", block + "bn2", 1);
      const std::size_t pad = (out.size() - x.size()) / 2;
      const int half = size / stride;
      for (std::size_t c = 0; c < x.size(); ++c) {
        for (int i = 0; i < half * half; ++i) {
          out[pad + c][i] += x[c][(i / half * stride) * size + i % half * stride];
        }
      }
      x = relu(out);
      size = half;
    }
  }
  const auto w = test::values(model, "linear.weight");
  std::vector<double> logits = test::values(model, "linear.bias");
  for (int k = 0; k < 10; ++k) {
    for (int c = 0; c < channels * 4; ++c) {
      double mean = 0.0;
      for (const double value : x[c]) mean += value / static_cast<double>(x[c].size());
      logits[k] += w[k * channels * 4 + c] * mean;
    }
  }
  return logits;
}

TEST(ResNet, AgreesWithALiteralForwardPassWhateverTheThreads) {
  const TemporaryFolder folder;
  for (const int blocks : {1, 2}) {
    const auto model = checkpoint::open_checkpoint(test::write_model(folder / "m.safetensors", network(16, blocks)));
    const CifarImages images{records(3)};
    double loss = 0.0, right = 0.0;
    for (int i = 0; i < 3; ++i) {
      std::vector<float> image(34 * 34 * 3, 0.0f);
      images.load(i, image.data());
      const auto logits = reference_logits(model, image.data(), 16, blocks);
      double sum = 0.0;
      for (const double logit : logits) sum += std::exp(logit);
      loss += (std::log(sum) - logits[images.label(i)]) / 3.0;
      right += std::max_element(logits.begin(), logits.end()) - logits.begin() == images.label(i);
    }
    Pool one(1), three(3);
    const auto result = evaluate(load_resnet(model), images, one);
    EXPECT_EQ(result.n, 3);
    EXPECT_NEAR(result.loss, loss, 1e-5 * loss);
    EXPECT_EQ(result.accuracy, right / 3.0);
    EXPECT_EQ(evaluate(load_resnet(model), images, three).loss, result.loss);
  }
}

TEST(ResNet, RefusesOtherNetworks) {
  const TemporaryFolder folder;
  const std::string path = folder / "m.safetensors";
  const auto message = [&](const std::vector<NamedBytes>& tensors) {
    test::write_model(path, tensors);
    return message_of([&] { load_resnet(checkpoint::open_checkpoint(path)); });
  };
  const auto whole = network(16, 1);
  const auto without = [&](std::string_view name) {
    auto tensors = whole;
    std::erase_if(tensors, [&](const NamedBytes& tensor) { return tensor.info.name == name; });
    return tensors;
  };
  const std::string hint = "; a CIFAR residual network has conv1, bn1, layer1.0 ... layer3.N and linear";
  EXPECT_EQ(message(without("conv1.weight")), "no tensor conv1.weight (" + path + ")" + hint);
  EXPECT_EQ(message(without("layer2.0.bn2.running_var")), "no tensor layer2.0.bn2.running_var (" + path + ")" + hint);
  auto tensors = without("layer3.0.bn1.bias");
  tensors.push_back(test::tensor("layer3.0.bn1.bias", checkpoint::DType::kF32, {2}, {0, 0}));
  EXPECT_EQ(message(tensors), "layer3.0.bn1.bias is [2], the network needs [64] (" + path + ")");
  tensors = without("linear.bias");
  tensors.push_back(test::tensor("linear.bias", checkpoint::DType::kF32, {10}, std::vector<double>(10, NAN)));
  EXPECT_EQ(message(tensors), "linear.bias has a value that is not finite (" + path + ")");
  tensors = whole;
  tensors.push_back(test::tensor("layer4.0.conv1.weight", checkpoint::DType::kF32, {1}, {0}));
  EXPECT_EQ(message(tensors), "layer4.0.conv1.weight has no place in a CIFAR residual network (" + path + ")");
  tensors = whole;
  tensors.push_back(test::tensor("bn1.num_batches_tracked", checkpoint::DType::kI64, {}, {7}));
  test::write_model(path, tensors);
  EXPECT_EQ(load_resnet(checkpoint::open_checkpoint(path)).stages[2].size(), 1u);
}

TEST(Images, RangesAndBadFiles) {
  const TemporaryFolder folder;
  const std::string path = folder / "images.bin";
  const std::string bytes = records(5);
  write_atomically(path, bytes);
  EXPECT_EQ(read_cifar(path).bytes, bytes);
  EXPECT_EQ(read_cifar(path, {.first = 2}).bytes, bytes.substr(0, 2 * 3073));
  EXPECT_EQ(read_cifar(path, {.last = 2}).bytes, bytes.substr(3 * 3073));
  EXPECT_EQ(message_of([&] { read_cifar(path, {.first = 6}); }), "--first 6, but the file has 5 images (" + path + ")");
  EXPECT_EQ(message_of([&] { read_cifar(path, {.first = 1, .last = 1}); }), "--first and --last exclude each other");
  EXPECT_EQ(message_of([&] { read_cifar(path, {.last = 0}); }),
            "no images are asked for; give --first or --last at least 1");
  write_atomically(path, bytes.substr(1));
  EXPECT_EQ(message_of([&] { read_cifar(path); }),
            "15364 bytes is no whole number of 3073-byte records (" + path +
                "); CIFAR-10's binary version is wanted: a label and 3072 pixels an image");
  std::string wrong = bytes;
  wrong[3 * 3073] = 10;
  write_atomically(path, wrong);
  EXPECT_EQ(message_of([&] { read_cifar(path, {.last = 3}); }), "image 3 has label 10, more than 9 (" + path + ")");
}

TEST(ResNet, PublishedNetworkOnRealImages) {
  SOLERA_NEEDS_DATA();
  const std::string data = test::data_folder();
  const auto images = read_cifar(data + "/cifar10-jpeg/test_batch.bin", {.first = 200});
  Pool pool(2);
  const auto network20 = load_resnet(checkpoint::open_checkpoint(data + "/checkpoints/cifar-resnet20.safetensors"));
  EXPECT_EQ(network20.stages[0].size(), 3u);
  const auto result = evaluate(network20, images, pool);
  EXPECT_EQ(result.accuracy, 0.84);
  const auto network56 = load_resnet(checkpoint::open_checkpoint(data + "/checkpoints/cifar-resnet56.safetensors"));
  EXPECT_EQ(network56.stages[0].size(), 9u);
  EXPECT_GT(evaluate(network56, images, pool).accuracy, 0.8);
}

}  // namespace
}  // namespace solera::examples
