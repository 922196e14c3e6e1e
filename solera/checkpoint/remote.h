// Files and model folders behind URLs, as sources and checkpoints like any other.
//
//   https://host/model/                       a folder: its files are found by their usual names
//   https://host/a.safetensors                a file
//   hf://org/name[@revision][/file]           a model of the Hugging Face hub (checkpoint/hub.h)
//
// Nothing is downloaded as a whole but the small files beside the weights, and these only when they are asked for. A
// source fetches the blocks that a view touches, and, in the background, those that were announced (Source::expect,
// want); they land in a sparse file (checkpoint/remote_cache.h), which is mapped like a local one. docs/remote.md
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "solera/base/files.h"
#include "solera/checkpoint/source.h"

namespace solera::checkpoint {

bool is_remote(std::string_view path);       // a URL of one of the schemes above
bool is_remote_file(std::string_view path);  // and by its name no folder

// The same place in the same words: the hub's revision spelled out, no slash at the end, no query.
std::string canonical_remote(const std::string& path);

// One source for each file, however often it is opened while it is open.
std::shared_ptr<const Source> open_remote(const std::string& path);

// Asks the server again. `name` and `version` are those of a source or of what read_remote() read. Throws Error (io) if
// the file is another now.
void require_same_version(const std::string& name, const std::string& version);

// A small file whole, from the cache if it is still the same. Error (io) if it is not there.
std::string read_remote(const std::string& path, std::string* version = nullptr);

// A folder and the files that make up a model in it.
class RemoteFolder {
 public:
  explicit RemoteFolder(const std::string& path);
  // The one that is open already, where there is one: it is listed once, and stays at its commit.
  static std::shared_ptr<const RemoteFolder> open(const std::string& path);
  const std::string& path() const { return path_; }  // without a slash at the end; hf:// with the commit
  const std::vector<std::string>& names() const { return names_; }
  bool has(std::string_view name) const;
  // A folder on this machine with the side files of the model, fetched at the first call. Thread-safe.
  const std::string& local() const;

 private:
  std::string path_;
  std::vector<std::string> names_;  // sorted
  mutable std::once_flag fetched_;
  TemporaryFolder local_;
};

}  // namespace solera::checkpoint
