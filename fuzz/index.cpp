// The index of a sharded model from anywhere: an Error, or places that name only the shard that is there.
#include <cstdlib>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/checkpoint/model_folder.h"

using namespace solera::checkpoint;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const solera::TemporaryFolder folder("solera-fuzz");
  static const bool made = [] {
    solera::write_atomically(folder / "1.safetensors", "");
    return true;
  }();
  try {
    const ShardIndex index =
        parse_index({reinterpret_cast<const char*>(data), size}, folder / "model.safetensors.index.json");
    for (const auto& [tensor, shard] : index.places) {
      if (!made || index.shards.at(shard) != "1.safetensors") std::abort();
    }
  } catch (const solera::Error&) {
  }
  return 0;
}
