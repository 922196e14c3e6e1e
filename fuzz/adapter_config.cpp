// An adapter_config.json from anywhere: an Error, or settings with a positive rank for every module.
#include <cmath>
#include <cstdlib>
#include <string>

#include "solera/base/error.h"
#include "solera/checkpoint/peft.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const std::string text(reinterpret_cast<const char*>(data), size);
    const auto config = solera::checkpoint::parse_adapter_config(solera::parse_json(text, "adapter_config.json"));
    for (const char* module : {"", "q_proj", "model.layers.3.self_attn.q_proj"}) {
      (void)config.targets(module);
      if (config.rank_of(module) < 1 || std::isnan(config.scale_of(module))) std::abort();
    }
  } catch (const solera::Error&) {
  }
  return 0;
}
