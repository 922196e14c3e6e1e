// A tensor as a stream of numbers: what passes read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "solera/checkpoint/checkpoint.h"
#include "solera/weights/elements.h"

namespace solera::weights {

// One stored tensor of one model. The checkpoint and the tensor outlive it.
struct Operand {
  const checkpoint::Checkpoint* model = nullptr;
  const checkpoint::Tensor* tensor = nullptr;
  std::optional<DType> cast;  // rounded to this type on loading, before any arithmetic
  std::string label;          // the model in messages: "fine-a"
};

}  // namespace solera::weights
