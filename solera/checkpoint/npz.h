// NumPy .npz: a zip of .npy members, stored or deflated. docs/formats/npz.md
//
// Read: C-contiguous and Fortran-ordered arrays of the dtypes that both sides have, headers 1.0 to 3.0, parsed as the
// literal they are, never evaluated. Object arrays, structured types and big-endian data are refused by name. A
// deflated member is unpacked on demand, piece by piece; it may not unpack to more than its array's bytes, and a
// directory that claims more than deflate can pack (1032 to 1) is refused.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "solera/checkpoint/checkpoint.h"

namespace solera::checkpoint {

struct NpzFile {
  std::vector<Tensor> tensors;  // names without ".npy"
  std::string header_hash;
};

NpzFile parse_npz(std::shared_ptr<const Source> source);
// Stored members, atomically. BF16 and F8 have no NumPy type: Error (usage), hint "--dtype float32".
void write_npz(const std::string& path, const Checkpoint& model);

}  // namespace solera::checkpoint
