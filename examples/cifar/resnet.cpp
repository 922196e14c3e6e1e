#include "examples/cifar/resnet.h"

#include <algorithm>
#include <cmath>

#include "examples/cifar/tensors.h"

namespace solera::examples {
namespace {

using checkpoint::Checkpoint;

Convolution load_convolution(TensorReader& reader, const ConvolutionNames& names) {
  const int in = names.in, out = names.out;
  const auto weights = reader.take(names.conv + ".weight", {out, in, 3, 3});
  const auto scale = reader.take(names.norm + ".weight", {out});
  const auto shift = reader.take(names.norm + ".bias", {out});
  const auto mean = reader.take(names.norm + ".running_mean", {out});
  const auto variance = reader.take(names.norm + ".running_var", {out});
  Convolution layer{in, out, names.stride, std::vector<float>(weights.size()), std::vector<float>(shift.size())};
  for (int o = 0; o < out; ++o) {
    const double factor = scale[o] / std::sqrt(variance[o] + kNormEpsilon);
    layer.bias[o] = static_cast<float>(shift[o] - mean[o] * factor);
    for (int i = 0; i < in; ++i) {
      for (int k = 0; k < 9; ++k) {
        const int block = o / kChannelBlock, lane = o % kChannelBlock;
        layer.weights[((block * 9 + k) * in + i) * kChannelBlock + lane] =
            static_cast<float>(weights[(o * in + i) * 9 + k] * factor);
      }
    }
  }
  return layer;
}

// Buffers of one worker: a stage's activations inside their borders, which stay zero.
struct Scratch {
  struct Stage {
    std::vector<float> now, inner, shortcut;
  };
  std::vector<float> image;
  std::array<Stage, 3> stages;

  explicit Scratch(const ResNet& network) : image(34 * 34 * 3) {
    for (int s = 0; s < 3; ++s) {
      const int side = (32 >> s) + 2, channels = network.channels << s;
      for (auto* buffer : {&stages[s].now, &stages[s].inner, &stages[s].shortcut})
        buffer->assign(side * side * channels, 0.0f);
    }
  }
};

void subsample(const float* from, int size, int from_channels, float* to) {
  const int channels = 2 * from_channels, pad = channels / 4;
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      std::copy_n(from + ((2 * y + 1) * (2 * size + 2) + 2 * x + 1) * from_channels, from_channels,
                  to + ((y + 1) * (size + 2) + x + 1) * channels + pad);
    }
  }
}

void forward(const ResNet& network, Scratch& scratch, double* logits) {
  convolve(network.stem, scratch.image.data(), 32, nullptr, scratch.stages[0].now.data());
  for (int s = 0; s < 3; ++s) {
    const int size = 32 >> s;
    Scratch::Stage& stage = scratch.stages[s];
    for (std::size_t b = 0; b < network.stages[s].size(); ++b) {
      const ResNet::Block& block = network.stages[s][b];
      const bool shrinks = s > 0 && b == 0;
      const float* input = stage.now.data();
      const float* shortcut = input;
      if (shrinks) {
        input = scratch.stages[s - 1].now.data();
        subsample(input, size, network.channels << (s - 1), stage.shortcut.data());
        shortcut = stage.shortcut.data();
      }
      convolve(block.first, input, size, nullptr, stage.inner.data());
      // The block's output may replace its shortcut: each value is read just before it is written.
      convolve(block.second, stage.inner.data(), size, shortcut, stage.now.data());
    }
  }
  const int width = network.channels * 4;
  std::vector<double> mean(static_cast<std::size_t>(width), 0.0);
  for (int y = 1; y <= 8; ++y) {
    for (int x = 1; x <= 8; ++x) {
      for (int c = 0; c < width; ++c) mean[c] += scratch.stages[2].now[(y * 10 + x) * width + c];
    }
  }
  for (int k = 0; k < network.classes; ++k) {
    double sum = network.linear_bias[k];
    for (int c = 0; c < width; ++c) sum += network.linear[k * width + c] * mean[c] / 64.0;
    logits[k] = sum;
  }
}

}  // namespace

ResNet load_resnet(const Checkpoint& model) {
  TensorReader reader(model);
  ResNet network;
  const auto convolutions = reader.convolutions();
  network.channels = convolutions.front().out;
  network.stem = load_convolution(reader, convolutions.front());
  const std::size_t depth = convolutions.size() / 6;  // blocks of a stage
  for (std::size_t i = 1; i < convolutions.size(); i += 2)
    network.stages[(i - 1) / (2 * depth)].push_back(
        {load_convolution(reader, convolutions[i]), load_convolution(reader, convolutions[i + 1])});
  network.linear = reader.take("linear.weight", {network.classes, network.channels * 4});
  network.linear_bias = reader.take("linear.bias", {network.classes});
  reader.refuse_others();
  model.check();
  return network;
}

Evaluation evaluate(const ResNet& network, const CifarImages& images, Pool& pool) {
  struct Outcome {
    bool right = false;
    double loss = 0.0;
  };
  std::vector<Outcome> outcomes(static_cast<std::size_t>(images.count()));
  std::vector<Scratch> scratch(static_cast<std::size_t>(pool.size()), Scratch(network));
  pool.for_each(images.count(), [&](std::int64_t i, int worker) {
    std::vector<double> logits(static_cast<std::size_t>(network.classes));
    images.load(i, scratch[worker].image.data());
    forward(network, scratch[worker], logits.data());
    const auto top = std::max_element(logits.begin(), logits.end());
    double sum = 0.0;
    for (const double logit : logits) sum += std::exp(logit - *top);
    outcomes[i] = {top - logits.begin() == images.label(i), std::log(sum) + *top - logits[images.label(i)]};
  });
  Evaluation result{.n = images.count()};
  for (const Outcome& outcome : outcomes) {
    result.accuracy += outcome.right;
    result.loss += outcome.loss;
  }
  result.accuracy /= static_cast<double>(result.n);
  result.loss /= static_cast<double>(result.n);
  return result;
}

}  // namespace solera::examples
