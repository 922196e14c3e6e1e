// A pickle from anywhere: an Error, or a table whose references lie within it.
#include <cstdlib>

#include "solera/base/error.h"
#include "solera/checkpoint/pickle.h"

using namespace solera::checkpoint;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::string_view kAllowed[] = {"collections.OrderedDict", "torch._utils._rebuild_tensor_v2",
                                                  "torch.FloatStorage"};
  try {
    const Pickle pickle = read_pickle({reinterpret_cast<const std::byte*>(data), size}, kAllowed, "fuzz");
    if (pickle.root >= pickle.objects.size()) std::abort();
    for (const PickleObject& object : pickle.objects)
      for (const std::uint32_t item : object.items)
        if (item >= pickle.objects.size()) std::abort();
  } catch (const solera::Error&) {
  }
  return 0;
}
