// A safetensors file from anywhere: an Error, or a table that lies within the file and that our writer repeats.
#include <cstdlib>

#include "fuzz/bytes.h"
#include "solera/base/error.h"
#include "solera/checkpoint/safetensors.h"

using namespace solera::checkpoint;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  SafetensorsFile file;
  try {
    file = parse_safetensors(fuzz::source_of(data, size, "fuzz.safetensors"));
  } catch (const solera::Error&) {
    return 0;
  }
  std::vector<TensorInfo> infos(file.tensors.begin(), file.tensors.end());
  std::vector<std::uint64_t> offsets;
  std::string text = safetensors_header(infos, file.metadata, offsets);
  const std::uint64_t header = text.size();
  const std::uint64_t data_begin = file.tensors.empty() ? size : file.tensors.front().offset;
  text.append(reinterpret_cast<const char*>(data) + data_begin, size - data_begin);

  const SafetensorsFile again = parse_safetensors(fuzz::source_of(text.data(), text.size(), "fuzz.safetensors"));
  require(again.metadata == file.metadata && again.tensors.size() == file.tensors.size());
  for (std::size_t i = 0; i < infos.size(); ++i) {
    const Tensor& tensor = file.tensors[i];
    require(tensor.offset <= size && tensor.bytes() <= size - tensor.offset);
    require(again.tensors[i].name == tensor.name && again.tensors[i].dtype == tensor.dtype &&
            again.tensors[i].shape == tensor.shape && again.tensors[i].offset == header + offsets[i]);
  }
  return 0;
}
