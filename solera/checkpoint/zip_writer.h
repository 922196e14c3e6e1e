// Writes a zip archive of stored members as a stream; the archive appears whole or not at all.
//
//   ZipWriter zip(path);
//   zip.begin("archive/data/0", bytes);  zip.write(piece);  zip.write(piece);  zip.end();
//   zip.finish();
//
// Members begin at multiples of 64 bytes, as torch.save and memory mapping like it. zip64 fields appear where sizes or
// places need them. Dates are the earliest that zip knows, so that the same tensors give the same file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "solera/checkpoint/checkpoint.h"

namespace solera::checkpoint {

class ZipWriter {
 public:
  // Creates a temporary sibling of `path`. Throws Error (io).
  explicit ZipWriter(std::string path);
  ~ZipWriter();  // removes the sibling if finish() did not run
  ZipWriter(const ZipWriter&) = delete;
  ZipWriter& operator=(const ZipWriter&) = delete;

  // `size` bytes must follow by write(). Throws Error (usage) for a name that a reader would refuse.
  void begin(const std::string& name, std::uint64_t size);
  void write(std::span<const std::byte> bytes);
  void end();
  void add(const std::string& name, std::string_view content);
  // The whole tensor, in pieces of a few MiB.
  void write_tensor(const Checkpoint& model, const Tensor& tensor);

  void finish();  // writes the directory, syncs, renames to `path`

 private:
  struct Entry {
    std::string name;
    std::uint64_t header = 0, size = 0;
    std::uint32_t crc = 0;
  };
  void put(const void* bytes, std::size_t count);
  void put_at(std::uint64_t offset, const void* bytes, std::size_t count);

  std::string path_, partial_;
  int file_ = -1;
  std::uint64_t at_ = 0, left_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace solera::checkpoint
