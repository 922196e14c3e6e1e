// The tensors of a CIFAR residual network, handed out by name and shape.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "solera/checkpoint/checkpoint.h"

namespace solera::examples {

// One 3x3 convolution and the batch norm after it, by name.
struct ConvolutionNames {
  std::string conv, norm;  // "layer1.0.conv1", "layer1.0.bn1"
  int in = 0, out = 0, stride = 1;
};

// Reads a network's tensors and remembers which were asked for. Throws Error (input) naming the tensor that is missing,
// has another shape, is not finite or has no place in the network.
class TensorReader {
 public:
  explicit TensorReader(const checkpoint::Checkpoint& model) : model_(model) {}

  // The stem, then every block's two, in the order of the forward pass: depth and width are the checkpoint's.
  std::vector<ConvolutionNames> convolutions() const;
  std::vector<float> take(const std::string& name, const checkpoint::Shape& shape);
  void refuse_others() const;

 private:
  const checkpoint::Tensor& find(const std::string& name) const;

  const checkpoint::Checkpoint& model_;
  std::set<std::string> taken_;
};

}  // namespace solera::examples
