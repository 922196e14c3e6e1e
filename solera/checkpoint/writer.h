// Writing a model: a layout that is known before the first byte, files that appear whole or not at all.
//
//   Layout layout = plan_layout(tensors, {.shard_bytes = 5'000'000'000});
//   ShardWriter out(staging_folder, layout);     // creates every file at its full size and writes the headers
//   out.write(tensor, byte_offset, bytes);       // any order, many threads
//   out.sync();                                  // what was written is on the disk
//
// What happens to the staging folder afterwards (rename to the output, keep for a resume, remove) is publish()'s and
// the caller's affair.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "solera/checkpoint/checkpoint.h"

namespace solera::checkpoint {

struct LayoutOptions {
  std::uint64_t shard_bytes = 5'000'000'000;  // a shard is closed before the tensor that would exceed it
  bool single_file = false;                   // one file whatever its size
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
};

struct Layout {
  struct File {
    std::string name;         // model.safetensors, or model-00001-of-00003.safetensors
    std::string header;       // its first bytes
    std::uint64_t bytes = 0;  // whole file
  };
  struct Place {
    int file = 0;
    std::uint64_t offset = 0;  // from the start of the file
  };
  std::vector<TensorInfo> tensors;  // sorted by name
  std::vector<Place> places;        // of tensor i
  std::vector<File> files;
  std::string index;                  // text of model.safetensors.index.json; empty for a single file
  std::uint64_t total_bytes() const;  // of all files
};

// Sorts the tensors by name and fills shards in that order. Within a file the wider types come first, so that every
// tensor is aligned to its type. Throws Error (input) on duplicate names.
Layout plan_layout(std::vector<TensorInfo> tensors, const LayoutOptions& options = {});

// What a writer does with a file of its layout: leaves it to others, makes it, or goes on with it.
enum class FileUse : char { kNone, kCreate, kResume };

class ShardWriter {
 public:
  // Opens (resume) or creates the layout's files in `folder`, which exists. Reserves their space first, so that a disk
  // that is too small is found before any work: Error (io) "needs 6.7 GB, 2.1 GB free"; then no file that was made here
  // remains. With `resume` the files must be there at their full size and with these headers, as a first sync() left
  // them: Error (io). A file that is there already is not emptied: whoever writes the same bytes does no harm.
  ShardWriter(const std::string& folder, const Layout& layout, bool resume = false);
  // The same with a use for each file; tensors of files without one must not be written.
  ShardWriter(const std::string& folder, const Layout& layout, std::span<const FileUse> uses);
  ~ShardWriter();
  ShardWriter(const ShardWriter&) = delete;
  ShardWriter& operator=(const ShardWriter&) = delete;

  // Bytes [offset, offset + size) of tensor `index` of the layout. Thread-safe for disjoint ranges. Throws Error (io).
  void write(std::size_t index, std::uint64_t offset, std::span<const std::byte> bytes);
  void sync();  // fdatasync of every file

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Is `out` a single file (ends in .safetensors) or a folder?
bool is_single_file(std::string_view out);

// Refuses an output that exists without `force`, that is one of the inputs, contains one or lies in one, or whose
// parent is missing. With `force`, a folder is replaced only if it is empty or holds weights. Throws Error (usage or
// io) before anything is written.
void require_writable(const std::string& out, bool force, std::span<const std::string> inputs);

// Refuses an output *.gguf of work that writes safetensors: Error (usage), with the way to it.
void require_not_gguf(const std::string& out);

// Moves a finished staging folder to `out`: the single .safetensors or .gguf file in it, or the folder itself. An old
// output (force) changes places with the new one and is removed last, so that either of them is there at any instant.
// Both are on one file system. On an Error the old output is as it was.
void publish(const std::string& staging, const std::string& out);

// Copies a model's side files (config, tokenizer, ...) into a folder. `config` is written as config.json; where it is
// null, config.json is copied like the others.
void carry_side_files(const Checkpoint& from, const std::string& folder, const Node& config);

// Everything at once for small models and tests: tensors from memory.
struct NamedBytes {
  TensorInfo info;
  std::vector<std::byte> bytes;
};
void write_safetensors(const std::string& path, std::span<const NamedBytes> tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace solera::checkpoint
