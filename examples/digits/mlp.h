// A multilayer perceptron and its gradient, in loops.
//
//   h_0 = x,   h_k = relu(W_k h_k-1 + b_k),   logits = W_L h_L-1 + b_L
//   loss = mean over images of -sum_c q_c log softmax(logits)_c,   q = (1 - s) onehot(y) + s / C
//
// In a checkpoint: fc1.weight [out, in], fc1.bias [out], fc2.weight, ... Sums run in one order, whatever the CPU.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "solera/base/pattern.h"
#include "solera/checkpoint/checkpoint.h"
#include "solera/checkpoint/writer.h"

namespace solera::examples {

template <class Real>
struct BasicMlp {
  struct Layer {
    int in = 0, out = 0;
    std::vector<Real> weight, bias;  // [out, in], [out]
  };
  std::vector<Layer> layers;
  int inputs() const { return layers.front().in; }
  int classes() const { return layers.back().out; }
};
using Mlp = BasicMlp<float>;

// "64-64-64-10" as widths: at least two, each from 1 to 65536. Throws Error (usage).
std::vector<int> parse_widths(const std::string& text);

// He et al. 2015: normal weights of variance 2 / in, zero biases. Layer k draws from (seed, run, "fck.weight").
Mlp he_mlp(std::span<const int> widths, std::uint64_t seed, std::uint64_t run);

// [images, classes] from [images, inputs].
template <class Real>
std::vector<Real> mlp_logits(const BasicMlp<Real>& network, std::span<const Real> images);

// What each layer takes in, [images, in] one after the other: the images, then the hidden layers after their relu.
std::vector<std::vector<float>> mlp_inputs(const Mlp& network, std::span<const float> images);

// The loss and, in `gradient` (any content; shaped like the network), its derivatives. Layers below `lowest` get none.
template <class Real>
double mlp_gradient(const BasicMlp<Real>& network, std::span<const Real> images, std::span<const int> labels,
                    double smoothing, int lowest, BasicMlp<Real>& gradient);

// The tensors of a network by name, and back.
using TensorValues = std::map<std::string, std::pair<checkpoint::Shape, std::vector<float>>>;
TensorValues mlp_tensors(const Mlp& network);
// The tensors whose names begin with "fc". Throws Error (input) for one that is not float or not finite.
TensorValues read_tensors(const std::string& path);
// Throws Error (input) where layers are missing or do not fit each other; `where` names the file.
Mlp mlp_from(const TensorValues& tensors, const std::string& where);
// The network of `path`; tensors that it lacks come from `head` if that is not empty.
Mlp read_mlp(const std::string& path, const std::string& head = "");
// A tensor for a file, from the values in memory.
checkpoint::NamedBytes stored(const std::string& name, checkpoint::DType dtype, checkpoint::Shape shape,
                              const void* data);
// Only tensors that `save` matches (all of them if it is empty). Throws Error (usage) if none does.
void write_mlp(const std::string& path, const Mlp& network, std::span<const Pattern> save = {});

}  // namespace solera::examples
