// The residual network of resnet.h once more, with its parameters as stored and a backward pass: the gradient of any
// combination of the logits with respect to every trainable tensor.
//
// Batch norm stands on its own (inference mode: its running mean and variance are constants). A convolution is a matrix
// product: weight [out, in 9] times the columns [in 9, pixels] that hold what lies under the kernel, zeros outside the
// image. T is float, or double for tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <Eigen/Core>

#include "examples/cifar/tensors.h"
#include "solera/checkpoint/checkpoint.h"

namespace solera::examples {

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// A trainable tensor: entries [offset, offset + elements) of the network's parameters and gradients.
struct Parameter {
  std::string name;
  checkpoint::Shape shape;
  std::int64_t offset = 0;
};

// What a forward pass leaves for the backward passes.
template <class T>
struct Tape {
  struct Layer {
    Matrix<T> columns;     // the convolution's input, [in 9, pixels]
    Matrix<T> normalized;  // its output less the running mean, by the running deviation, [out, pixels]
    Matrix<T> output;      // after scale, shift, shortcut and ReLU, [out, pixels]
  };
  std::vector<Layer> layers;  // in the order of the forward pass
  std::vector<T> features;    // the mean over the last pixels: what the linear layer sees
  std::vector<T> logits;
};

template <class T>
class TrainableResNet {
 public:
  explicit TrainableResNet(const checkpoint::Checkpoint& model);  // throws as load_resnet() does

  const std::vector<Parameter>& parameters() const { return parameters_; }
  const std::vector<ConvolutionNames>& convolutions() const { return convolutions_; }  // layer i of the tape
  int features() const { return 4 * convolutions_.front().out; }
  std::vector<T>& values() { return values_; }  // of all parameters

  // `image` as CifarImages::load() writes it.
  void forward(const float* image, Tape<T>& tape) const;
  // gradient = sum_k d_logits[k] d logits[k] / d parameters, of the size of values().
  void backward(const Tape<T>& tape, const std::vector<T>& d_logits, std::vector<T>& gradient) const;

 private:
  struct Layer {
    std::int64_t weight = 0, scale = 0, shift = 0;  // offsets
    std::vector<T> mean, inverse_deviation;
  };

  std::int64_t add(TensorReader& reader, const std::string& name, const checkpoint::Shape& shape);
  void convolve(std::size_t layer, const Matrix<T>& input, Tape<T>& tape) const;
  // The gradient at a layer's sum (before shortcut and ReLU) becomes that at its input, and is added to `gradient`.
  void convolve_back(std::size_t layer, const Tape<T>& tape, const Matrix<T>& d_sum, std::vector<T>& gradient,
                     Matrix<T>* d_input) const;

  std::vector<ConvolutionNames> convolutions_;
  std::vector<Parameter> parameters_;
  std::vector<T> values_;
  std::vector<Layer> layers_;
  std::int64_t linear_weight_ = 0, linear_bias_ = 0;
};

inline constexpr int kClasses = 10;

}  // namespace solera::examples
