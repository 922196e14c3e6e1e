// Where the bytes of remote files lie on this machine: a sparse file as long as the remote one, filled block by block.
//
// $SOLERA_CACHE names the folder, else it is $XDG_CACHE_HOME/solera or ~/.cache/solera; `off` keeps nothing, and the
// file is one without a name in $TMPDIR or /var/tmp. Below the folder, for each file and version: KEY.json says which
// it is, KEY.bytes is the sparse file, KEY.blocks a 64-bit hash of each block that is there, 0 for one that is not.
// Another version of a file takes the place of the one before. docs/remote.md
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "solera/checkpoint/descriptor.h"
#include "solera/checkpoint/source.h"

namespace solera::checkpoint {

inline constexpr std::uint64_t kRemoteBlock = 1u << 20;

std::string cache_folder();  // "" if it is switched off

class SparseFile {
 public:
  // `url`: what tells files apart, hashed only; `name`: what may be shown. The cache is used by several processes at
  // once: they write the same bytes. If it cannot be written, nothing is kept.
  SparseFile(const std::string& url, const std::string& name, const std::string& version, std::uint64_t size);

  const Source& bytes() const { return *bytes_; }
  std::uint64_t blocks() const { return (size_ + kRemoteBlock - 1) / kRemoteBlock; }
  bool listed(std::uint64_t block) const;  // the cache says that it is there; believe intact() only
  bool intact(std::uint64_t block) const;  // its bytes have the hash that was recorded
  void write(std::uint64_t offset, std::span<const std::byte> bytes);  // Error (io), a full disk too
  void complete(std::uint64_t block);                                  // all of its bytes are written

 private:
  bool open_kept(const std::string& folder, const std::string& key, const std::string& name,
                 const std::string& version);
  void open_nameless();
  std::uint64_t hash_of(std::uint64_t block) const;

  std::uint64_t size_ = 0;
  std::string path_;
  Descriptor file_, hashes_;
  std::shared_ptr<const Source> bytes_;
};

// A small file that was fetched whole, kept with its version; empty if there is none or it is damaged.
struct KeptFile {
  std::string content, version;
};
KeptFile kept_file(const std::string& url);
void keep_file(const std::string& url, const KeptFile& file);  // no error if it cannot be kept

}  // namespace solera::checkpoint
