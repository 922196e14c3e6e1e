// A delta file from anywhere: an Error, or a delta whose masks have as many ones as it has values.
#include "solera/checkpoint/delta.h"

#include <cstdlib>

#include "fuzz/bytes.h"
#include "solera/base/error.h"
#include "solera/base/threads.h"
#include "solera/checkpoint/safetensors.h"
#include "solera/weights/mask_index.h"

using namespace solera;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Pool pool(1);
  constexpr std::int64_t kChunk = 64;
  try {
    checkpoint::SafetensorsFile file = checkpoint::parse_safetensors(fuzz::source_of(data, size, "fuzz.safetensors"));
    checkpoint::Checkpoint::Parts parts;
    parts.path = "fuzz.safetensors";
    parts.tensors = std::move(file.tensors);
    parts.metadata = std::move(file.metadata);
    const checkpoint::Delta delta{checkpoint::Checkpoint(std::move(parts))};
    for (const checkpoint::DeltaEntry& entry : delta.entries()) {
      if (entry.change != checkpoint::Change::kNone && !entry.sparse && entry.kept != entry.base.elements())
        std::abort();
      if (!entry.mask) continue;
      const weights::MaskIndex index({&pool, {}, true, {}}, delta, entry, kChunk);
      if (index.before((entry.base.elements() + kChunk - 1) / kChunk) != entry.values->elements()) std::abort();
    }
  } catch (const Error&) {
  }
  return 0;
}
