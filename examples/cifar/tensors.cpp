#include "examples/cifar/tensors.h"

#include <cstddef>

#include "examples/cifar/convolution.h"
#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/weights/elements.h"

namespace solera::examples {

std::vector<ConvolutionNames> TensorReader::convolutions() const {
  const auto& stem = find("conv1.weight");
  if (stem.shape.size() != 4 || stem.shape[0] % kChannelBlock != 0 || stem.shape[0] <= 0 || stem.shape[0] > 1024) {
    throw input_error(cat("conv1.weight is ", shape_text(stem.shape), ", the network needs [16 w, 3, 3, 3]"),
                      model_.path());
  }
  const int channels = static_cast<int>(stem.shape[0]);
  int depth = 1;
  while (model_.find(cat("layer1.", depth, ".conv1.weight"))) ++depth;
  std::vector<ConvolutionNames> all = {{"conv1", "bn1", 3, channels, 1}};
  for (int s = 0; s < 3; ++s) {
    const int out = channels << s;
    for (int b = 0; b < depth; ++b) {
      const bool shrinks = s > 0 && b == 0;
      const std::string block = cat("layer", s + 1, ".", b, ".");
      all.push_back({block + "conv1", block + "bn1", shrinks ? out / 2 : out, out, shrinks ? 2 : 1});
      all.push_back({block + "conv2", block + "bn2", out, out, 1});
    }
  }
  return all;
}

const checkpoint::Tensor& TensorReader::find(const std::string& name) const {
  const checkpoint::Tensor* tensor = model_.find(name);
  if (!tensor) {
    throw input_error(cat("no tensor ", name), model_.path(),
                      "a CIFAR residual network has conv1, bn1, layer1.0 ... layer3.N and linear");
  }
  return *tensor;
}

std::vector<float> TensorReader::take(const std::string& name, const checkpoint::Shape& shape) {
  const checkpoint::Tensor& tensor = find(name);
  if (tensor.shape != shape) {
    throw input_error(cat(name, " is ", shape_text(tensor.shape), ", the network needs ", shape_text(shape)),
                      model_.path());
  }
  if (!checkpoint::is_float(tensor.dtype))
    throw input_error(cat(name, " is ", checkpoint::name(tensor.dtype), ", no float"), model_.path());
  std::vector<std::byte> scratch;
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  const auto bytes = model_.read(tensor, 0, tensor.bytes(), scratch);
  if (!weights::load(tensor.dtype, bytes.data(), tensor.elements(), values.data())) {
    throw input_error(cat(name, " has a value that is not finite"), model_.path());
  }
  taken_.insert(name);
  return values;
}

void TensorReader::refuse_others() const {
  for (const auto& tensor : model_.tensors()) {
    if (!taken_.count(tensor.name) && !tensor.name.ends_with("num_batches_tracked")) {
      throw input_error(cat(tensor.name, " has no place in a CIFAR residual network"), model_.path());
    }
  }
}

}  // namespace solera::examples
