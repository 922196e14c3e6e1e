// A PyTorch archive from anywhere: an Error, or tensors whose bytes can be read.
#include "solera/checkpoint/torch.h"
#include "fuzz/bytes.h"
#include "solera/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto file = solera::checkpoint::parse_torch(fuzz::source_of(data, size, "fuzz.pt"));
    fuzz::read_all(file.tensors);
  } catch (const solera::Error&) {
  }
  return 0;
}
