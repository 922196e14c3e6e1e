// A NumPy archive from anywhere: an Error, or arrays whose bytes can be read.
#include "solera/checkpoint/npz.h"
#include "fuzz/bytes.h"
#include "solera/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto file = solera::checkpoint::parse_npz(fuzz::source_of(data, size, "fuzz.npz"));
    fuzz::read_all(file.tensors);
  } catch (const solera::Error&) {
  }
  return 0;
}
