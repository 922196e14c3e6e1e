// A model on disk, or behind a URL, as a table of tensors, whatever its format. START HERE.
//
//   Checkpoint model = open_checkpoint("fine-a");            // folder, .safetensors, .gguf, .pt, .npz or an index
//   Checkpoint far = open_checkpoint("hf://org/name");       // also https://host/model/ (checkpoint/remote.h)
//   for (const Tensor& t : model.tensors()) ...              // sorted by name, bytewise
//   std::vector<std::byte> scratch;
//   auto bytes = model.read(t, 0, t.bytes(), scratch);       // no copy where the file is mapped
//
// Opening reads and validates every header before it returns and touches no tensor bytes. A Checkpoint is a value:
// copies share the open files, and it may be used from many threads.
//
// Formats: safetensors (docs/formats/safetensors.md), a Hugging Face folder (model.safetensors, or
// model.safetensors.index.json and its shards, else pytorch_model.bin or its index), PyTorch zip archives
// (docs/formats/pytorch.md), NumPy .npz (docs/formats/npz.md) and GGUF (docs/formats/gguf.md), whose tensors appear
// under their Hugging Face names, in that order of rows, quantised ones as float32. A new format is one function that
// fills the table and one row in the list of checkpoint.cpp.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "solera/base/document.h"
#include "solera/checkpoint/dtype.h"
#include "solera/checkpoint/source.h"

namespace solera::checkpoint {

class RemoteFolder;

using Shape = std::vector<std::int64_t>;

// The number of entries, 1 for a scalar. Throws Error (input) if the product overflows 63 bits.
std::int64_t element_count(std::span<const std::int64_t> shape);
// Bytes of that many entries; F4 is packed two a byte. Throws Error (input) on overflow.
std::uint64_t byte_count(DType dtype, std::int64_t elements);

// What a tensor is, without where it is.
struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  std::int64_t elements() const { return element_count(shape); }
  std::uint64_t bytes() const { return byte_count(dtype, elements()); }
};

// A stored tensor: row-major, little-endian, contiguous from `offset` of its source.
struct Tensor : TensorInfo {
  std::shared_ptr<const Source> source;
  std::uint64_t offset = 0;
  std::string storage;  // equal and non-empty for tensors that share memory (tied weights in a PyTorch file)
  // How the file keeps it where that is not `dtype`: "Q4_K", unpacked while it is read; and the bytes that takes there.
  std::string encoding;
  std::uint64_t encoded_bytes = 0;
  std::uint64_t stored_bytes() const { return encoding.empty() ? bytes() : encoded_bytes; }
};

enum class Format { kSafetensors, kTorch, kNpz, kGguf };

// What identifies an input between a stopped run and its continuation.
struct FileIdentity {
  std::string path;
  std::uint64_t size = 0;
  std::int64_t modified_ns = 0;
  std::string header_hash;  // of the header, directory or pickle; not of the tensors
  std::string version;      // of a remote file, which has no time: its ETag or the like
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

class Checkpoint {
 public:
  const std::string& path() const;  // as given to open_checkpoint
  Format format() const;
  bool is_folder() const;                           // also true for the index of a folder
  std::span<const Tensor> tensors() const;          // sorted by name
  const Tensor* find(std::string_view name) const;  // null if there is none
  const Tensor& at(std::string_view name) const;    // Error (input) with the nearest name
  std::uint64_t tensor_bytes() const;               // of all tensors
  std::uint64_t stored_bytes() const;               // the same as they are in the file, quantised
  std::span<const FileIdentity> files() const;
  const std::map<std::string, std::string>& metadata() const;  // __metadata__ of safetensors; GGUF's, in short
  std::span<const std::string> warnings() const;               // what a conversion from it loses, a line each

  // Bytes [first, first + count) of a tensor.
  std::span<const std::byte> read(const Tensor& tensor, std::uint64_t first, std::uint64_t count,
                                  std::vector<std::byte>& scratch) const;
  // Throws if any file changed under us (Source::check, then size and mtime of each, or what its server says now).
  void check() const;

  // config.json of a folder, or what a GGUF file says instead; a null node if there is none.
  const Node& config() const;
  // Other files of a folder that belong to the model (config, tokenizer, generation, chat template, licence), by name.
  // Never weights, never executable code unless it is the model's own *.py.
  std::span<const std::string> side_files() const;
  // Of the side files, which are fetched now if they are remote; the parent of a single file.
  std::string folder() const;

  // Opens the formats below; the pieces are checked and sorted.
  struct Parts;
  explicit Checkpoint(Parts parts);
  const Parts& parts() const;

 private:
  std::shared_ptr<const Parts> parts_;
};

struct Checkpoint::Parts {
  std::string path;
  std::string folder;
  Format format = Format::kSafetensors;
  bool is_folder = false;
  std::vector<Tensor> tensors;
  std::vector<FileIdentity> files;
  std::map<std::string, std::string> metadata;
  std::vector<std::string> warnings;
  Node config;
  std::vector<std::string> side_files;
  std::shared_ptr<const RemoteFolder> remote;          // where the side files come from, if from afar
  std::vector<std::shared_ptr<const Source>> sources;  // filled by the constructor: of the tensors, each once
};

// The identity of a local file as it is now. Throws Error (io).
FileIdentity identify(const std::string& path, std::string header_hash);

struct OpenOptions {
  Access access = Access::kAuto;
  bool as_stored = false;  // a GGUF file's own names and rows, of any architecture: to look at, not to convert
};

// Throws Error (io) for a missing path (nearest sibling as hint), Error (input) for a file that is none of the formats
// or is not what its format promises; the message names the file and, where there is one, the tensor.
Checkpoint open_checkpoint(const std::string& path, const OpenOptions& options = {});

// Arithmetic on codes is meaningless: throws Error (input) if the config has a quantization_config or a tensor is
// a block scale (*_scale_inv, *.scales with packed codes, F8_E8M0, F4). `purpose` opens the message: "merge".
void require_unquantized(const Checkpoint& model, std::string_view purpose);

}  // namespace solera::checkpoint
