// A CIFAR residual network (He et al., "Deep residual learning", CVPR 2016, section 4.2), forward only.
//
//   conv 3x3 -> three stages of n blocks at 32, 16 and 8 pixels, c, 2c and 4c channels -> mean -> linear
//   block(x) = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))
//
// The shortcut has no parameters: where a stage begins it takes every second pixel and puts zeros around the channels
// (a quarter of the new number on each side). Depth n and width c are read from the checkpoint, whose names are
// conv1, bn1, layerS.B.{conv1,bn1,conv2,bn2} and linear. Batch norm (epsilon 1e-5) is folded into the convolutions.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "examples/cifar/convolution.h"
#include "examples/cifar/images.h"
#include "solera/base/threads.h"
#include "solera/checkpoint/checkpoint.h"

namespace solera::examples {

struct ResNet {
  struct Block {
    Convolution first, second;
  };
  int channels = 16, classes = 10;
  Convolution stem;
  std::array<std::vector<Block>, 3> stages;
  std::vector<float> linear, linear_bias;  // [classes, 4 channels], [classes]
};

// Throws Error (input) naming the tensor that is missing, has another shape, is not finite or has no place in the
// network.
ResNet load_resnet(const checkpoint::Checkpoint& model);

struct Evaluation {
  std::int64_t n = 0;
  double accuracy = 0.0;  // fraction of images whose largest logit is the label's (the first of equal ones)
  double loss = 0.0;      // mean cross-entropy in nats
};

// The same result for any number of threads.
Evaluation evaluate(const ResNet& network, const CifarImages& images, Pool& pool);

}  // namespace solera::examples
