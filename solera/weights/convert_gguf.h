// A model as one GGUF file.
#pragma once

#include <string>

#include "solera/weights/convert.h"

namespace solera::weights {

// Writes `staging`/model.gguf. Tensors of one dimension and norms become F32, as ggml's operations want them; the
// others the type that the options name, else their own (F32, F16, BF16). A row that is no whole blocks of Q8_0 becomes
// F16, with a warning. Throws Error for a model that GGUF has no names for, Error (usage) for a type that it has not,
// and Error (input) for a value that Q8_0 cannot hold.
void write_gguf(const checkpoint::Checkpoint& in, const ConvertOptions& options, const std::string& staging, Pool& pool,
                Progress& progress);

}  // namespace solera::weights
