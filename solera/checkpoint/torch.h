// PyTorch zip archives (torch.save since 1.6), read without running anything.
//
// A zip of stored members: PREFIX/data.pkl, PREFIX/data/KEY (the storages), PREFIX/byteorder, PREFIX/version. The
// pickle is read by a machine that knows only what a state dict is made of: dictionaries, lists, tuples, strings,
// numbers, None, OrderedDict, and torch._utils._rebuild_tensor_v2 / _v3 / _rebuild_parameter over persistent ids of
// storages. Anything else it is asked to call is refused by name. Byte by byte: docs/formats/pytorch.md.
//
// A tensor that is not contiguous in its storage (a transposed or sliced view, an expanded one) is gathered when it is
// read.
//
// Refused with one line: the older non-zip format and plain pickles (by name), TorchScript archives, members that are
// compressed, overlap, or whose sizes disagree with the directory (zip bombs), storages that are too short, byte order
// other than little, expanded tensors of over 1 GiB and 1000 times their storage, dictionaries nested over 64 deep,
// anything callable that is not listed above.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "solera/checkpoint/checkpoint.h"

namespace solera::checkpoint {

struct TorchFile {
  // Nested dictionaries and lists joined by "."; a wrapper ("state_dict", "model_state_dict" or "model", if the
  // outermost dictionary has exactly one of them and no tensor of its own) is kept out of the names and what lies
  // beside it is skipped. Views of one storage that are the same in offset, shape and strides are tied: their `storage`
  // is equal.
  std::vector<Tensor> tensors;
  std::vector<std::string> skipped;  // entries without tensors, by name (epoch counters, optimizer settings)
  std::string header_hash;
};

TorchFile parse_torch(std::shared_ptr<const Source> source);

// Writes a state dict (OrderedDict of name to tensor) that torch.load(weights_only=True) reads. Streams from the
// checkpoint; atomically. Tied tensors are written once. Throws Error (usage) for F4, which PyTorch counts differently.
void write_torch(const std::string& path, const Checkpoint& model);

}  // namespace solera::checkpoint
