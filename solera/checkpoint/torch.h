// PyTorch zip archives (torch.save since 1.6), read without running anything.
//
// A zip of stored members: PREFIX/data.pkl, PREFIX/data/KEY (the storages), PREFIX/byteorder, PREFIX/version. The pickle is
// read by a machine that knows only what a state dict is made of: dictionaries, lists, tuples, strings, numbers, None,
// OrderedDict, and torch._utils._rebuild_tensor_v2 / _rebuild_parameter over persistent ids of storages. Anything else it is
// asked to call is refused by name. Byte by byte: docs/formats/pytorch.md.
//
// Refused with one line: the older non-zip format and plain pickles (by name), TorchScript archives, members that are
// compressed, overlap, or whose sizes disagree with the directory (zip bombs), storages that are too short, byte order
// other than little, anything callable that is not listed above.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "solera/checkpoint/checkpoint.h"

namespace solera::checkpoint {

struct TorchFile {
  std::vector<Tensor> tensors;  // nested dictionaries joined by "."; a single wrapper key ("state_dict", "model") is kept out
  std::vector<std::string> skipped;  // entries that are not tensors, by name (epoch counters, optimizer settings)
  std::string header_hash;
};

TorchFile parse_torch(std::shared_ptr<const Source> source);

// Writes a state dict (OrderedDict of name to tensor) that torch.load(weights_only=True) reads. Streams from the checkpoint;
// atomically.
void write_torch(const std::string& path, const Checkpoint& model);

}  // namespace solera::checkpoint
