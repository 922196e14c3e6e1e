// Small residual networks and images from random numbers.
#pragma once

#include <string>
#include <vector>

#include "examples/cifar/images.h"
#include "solera/base/error.h"
#include "solera/base/random.h"
#include "tests/support/support.h"

namespace solera::examples {

// A small network by its tensors: c channels, n blocks a stage.
inline std::vector<checkpoint::NamedBytes> network(int channels, int blocks) {
  std::vector<checkpoint::NamedBytes> tensors;
  const auto add = [&](const std::string& name, checkpoint::Shape shape) {
    const auto n = static_cast<std::size_t>(checkpoint::element_count(shape));
    std::vector<double> values(n);
    const RandomStream stream({.seed = 3, .purpose = "weights", .name = name});
    for (std::size_t i = 0; i < n; ++i) {
      values[i] = name.ends_with("running_var") ? 0.5 + stream.uniform(i) : 0.1 * stream.normal(i);
    }
    tensors.push_back(test::tensor(name, checkpoint::DType::kF32, std::move(shape), values));
  };
  const auto add_pair = [&](const std::string& conv, const std::string& norm, int in, int out) {
    add(conv + ".weight", {out, in, 3, 3});
    for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"}) add(norm + part, {out});
  };
  add_pair("conv1", "bn1", 3, channels);
  for (int s = 0; s < 3; ++s) {
    const int out = channels << s;
    for (int b = 0; b < blocks; ++b) {
      const std::string block = cat("layer", s + 1, ".", b, ".");
      add_pair(block + "conv1", block + "bn1", s > 0 && b == 0 ? out / 2 : out, out);
      add_pair(block + "conv2", block + "bn2", out, out);
    }
  }
  add("linear.weight", {10, channels * 4});
  add("linear.bias", {10});
  return tensors;
}

inline std::string records(int images) {
  std::string bytes;
  const RandomStream stream({.seed = 5, .purpose = "pixels"});
  for (int i = 0; i < images * CifarImages::kRecord; ++i) {
    bytes.push_back(static_cast<char>(i % CifarImages::kRecord == 0 ? stream.below(i, 10) : stream.below(i, 256)));
  }
  return bytes;
}

}  // namespace solera::examples
