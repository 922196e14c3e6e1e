// GGUF files made by hand, right and wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "solera/checkpoint/bytes.h"
#include "solera/checkpoint/gguf.h"

namespace solera::checkpoint {

inline std::string gguf_text(std::string_view text) {
  std::string out;
  append_little<std::uint64_t>(out, text.size());
  return out + std::string(text);
}

struct TestTensor {
  std::string name;
  std::vector<std::uint64_t> extents;  // as in the file: the row's length first
  std::uint32_t type = 0;
  std::uint64_t offset = 0;
};

struct TestGguf {
  std::uint32_t version = 3;
  GgufMetadata metadata;
  std::string more_metadata;  // raw, of `more_pairs` entries
  std::uint64_t more_pairs = 0;
  std::vector<TestTensor> tensors;
  std::string data;
  std::uint64_t alignment = 32;

  std::string bytes() const {
    std::string out = "GGUF";
    append_little<std::uint32_t>(out, version);
    append_little<std::uint64_t>(out, tensors.size());
    append_little<std::uint64_t>(out, metadata.count() + more_pairs);
    out += metadata.bytes() + more_metadata;
    for (const TestTensor& tensor : tensors) {
      out += gguf_text(tensor.name);
      append_little<std::uint32_t>(out, static_cast<std::uint32_t>(tensor.extents.size()));
      for (const std::uint64_t extent : tensor.extents) append_little<std::uint64_t>(out, extent);
      append_little<std::uint32_t>(out, tensor.type);
      append_little<std::uint64_t>(out, tensor.offset);
    }
    if (!tensors.empty()) out.resize((out.size() + alignment - 1) / alignment * alignment, '\0');
    return out + data;
  }
};

}  // namespace solera::checkpoint
