// The safetensors format: 8 bytes little-endian header length N, N bytes of JSON, then the tensors' bytes.
//
//   {"__metadata__": {"format": "pt"}, "a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
//
// Offsets count from the end of the header. Together the tensors cover the rest of the file without overlap or hole.
// Byte by byte, with a worked example: docs/formats/safetensors.md. https://github.com/huggingface/safetensors
//
// Refused with one line: N over 100 MB or past the end, JSON errors, duplicate names, unknown dtypes, negative or
// overflowing shapes, offsets that overlap, leave holes, pass the end or disagree with the shape.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "solera/checkpoint/checkpoint.h"

namespace solera::checkpoint {

inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

struct SafetensorsFile {
  std::vector<Tensor> tensors;  // in file order
  std::map<std::string, std::string> metadata;
  std::string header_hash;
};

SafetensorsFile parse_safetensors(std::shared_ptr<const Source> source);

// The header, length word included, padded with spaces to a multiple of 8 bytes. Entry i of `offsets` (bytes from the
// end of the header) receives tensor i's place. Tensors are laid out in the given order.
std::string safetensors_header(std::span<const TensorInfo> tensors, const std::map<std::string, std::string>& metadata,
                               std::vector<std::uint64_t>& offsets);

}  // namespace solera::checkpoint
