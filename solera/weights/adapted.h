// A model with a LoRA adapter in it, without writing it: the tensors that the adapter changes are computed as they are
// read, W + s B A in float64, rounded once to the model's type. What reads a checkpoint reads this one.
#pragma once

#include "solera/checkpoint/checkpoint.h"
#include "solera/checkpoint/peft.h"

namespace solera::weights {

// Throws Error (input) where the adapter does not fit the model. Path, config and side files are the model's.
checkpoint::Checkpoint adapted(const checkpoint::Checkpoint& model, const checkpoint::Adapter& adapter);

}  // namespace solera::weights
