// A GGUF file from anywhere: an Error, or tensors whose bytes can be read; and the same for the model that it names.
#include "solera/checkpoint/gguf.h"
#include "fuzz/bytes.h"
#include "solera/base/error.h"
#include "solera/checkpoint/gguf_model.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    auto file = solera::checkpoint::parse_gguf(fuzz::source_of(data, size, "fuzz.gguf"));
    fuzz::read_all(file.tensors);
    for (const auto& [key, value] : file.metadata) value.summary();
    fuzz::read_all(solera::checkpoint::to_hugging_face(std::move(file), "fuzz.gguf").tensors);
  } catch (const solera::Error&) {
  }
  return 0;
}
