#include "solera/checkpoint/remote_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/hash.h"
#include "solera/base/process.h"
#include "solera/base/text.h"

namespace solera::checkpoint {
namespace {

constexpr std::uint64_t kMaxKeptBytes = 1u << 30;

std::string remote_folder() {
  const std::string cache = cache_folder();
  return cache.empty() ? "" : join_path(cache, "remote");
}

// All versions of a file share the first half.
std::string key_of(const std::string& url) { return hash_text(url).substr(0, 20); }

void set_size(const Descriptor& file, std::uint64_t size, const std::string& path) {
  if (size > INT64_MAX || ::ftruncate(file.get(), static_cast<off_t>(size)) != 0)
    throw io_error(cat("cannot make a file of ", bytes_text(size), ": ", errno_text(errno)), path,
                   "SOLERA_CACHE names a folder with more room");
}

void remove_other_versions(const std::string& folder, const std::string& file, const std::string& key) {
  for (const std::string& name : list_folder(folder))
    if (name.starts_with(file + "-") && !name.starts_with(key)) remove_all(join_path(folder, name));
}

}  // namespace

std::string cache_folder() {
  const std::string set = environment("SOLERA_CACHE");
  if (set == "off") return "";
  if (!set.empty()) return set;
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) return join_path(cache, "solera");
  if (const std::string home = environment("HOME"); !home.empty()) return join_path(home, ".cache/solera");
  return "";
}

SparseFile::SparseFile(const std::string& url, const std::string& name, const std::string& version, std::uint64_t size)
    : size_(size) {
  const std::string folder = remote_folder(), file = key_of(url);
  const std::string key = cat(file, "-", hash_text(cat(version, " ", size)).substr(0, 12));
  if (folder.empty() || !open_kept(folder, key, name, version)) open_nameless();
}

bool SparseFile::open_kept(const std::string& folder, const std::string& key, const std::string& name,
                           const std::string& version) {
  try {
    make_folders(folder);
    remove_other_versions(folder, key.substr(0, key.find('-')), key);
    if (const std::string origin = join_path(folder, key + ".json"); !exists(origin)) {
      const Node node = Node::map({{"file", Node::text(name)},
                                   {"version", Node::text(version)},
                                   {"size", Node::integer(static_cast<std::int64_t>(size_))}});
      write_atomically(origin, to_json(node) + "\n");
    }
  } catch (const Error&) {
    return false;  // a home that is read-only or full
  }
  path_ = join_path(folder, key + ".bytes");
  const auto open = [](const std::string& path) {
    return Descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  };
  file_ = open(path_);
  hashes_ = open(join_path(folder, key + ".blocks"));
  if (!file_ || !hashes_) {
    hashes_ = Descriptor();
    return false;
  }
  set_size(file_, size_, path_);
  set_size(hashes_, 8 * blocks(), path_);
  bytes_ = open_file(path_);
  return true;
}

void SparseFile::open_nameless() {
  const std::string set = environment("TMPDIR");
  path_ = join_path(!set.empty() ? set : is_folder("/var/tmp") ? "/var/tmp" : "/tmp", "solera-remote-XXXXXX");
  file_ = Descriptor(::mkostemp(path_.data(), O_CLOEXEC));
  if (!file_)
    throw io_error(cat("cannot make a file: ", errno_text(errno)), path_, "TMPDIR names a folder that can be written");
  try {
    set_size(file_, size_, path_);
    bytes_ = open_file(path_);
  } catch (const Error&) {
    ::unlink(path_.c_str());
    throw;
  }
  ::unlink(path_.c_str());
}

std::uint64_t SparseFile::hash_of(std::uint64_t block) const {
  static thread_local std::vector<std::byte> scratch;
  const std::uint64_t begin = block * kRemoteBlock;
  const auto bytes = bytes_->view(begin, std::min(kRemoteBlock, size_ - begin), scratch);
  return std::max<std::uint64_t>(1, hash64({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
}

namespace {

std::uint64_t recorded(const Descriptor& hashes, std::uint64_t block) {
  std::uint64_t hash = 0;
  if (!hashes || ::pread(hashes.get(), &hash, sizeof hash, static_cast<off_t>(8 * block)) != sizeof hash) return 0;
  return hash;
}

}  // namespace

bool SparseFile::listed(std::uint64_t block) const { return recorded(hashes_, block) != 0; }

bool SparseFile::intact(std::uint64_t block) const { return recorded(hashes_, block) == hash_of(block); }

void SparseFile::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0)
      throw io_error(cat("cannot keep what was fetched: ", errno_text(errno)), path_,
                     hashes_ ? "SOLERA_CACHE names a folder with more room" : "TMPDIR names a folder with more room");
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

// A hash that does not get to the disk costs another fetch, no more.
void SparseFile::complete(std::uint64_t block) {
  if (!hashes_) return;
  const std::uint64_t hash = hash_of(block);
  [[maybe_unused]] const auto written = ::pwrite(hashes_.get(), &hash, sizeof hash, static_cast<off_t>(8 * block));
}

KeptFile kept_file(const std::string& url) {
  const std::string folder = remote_folder();
  const std::string path = join_path(folder, key_of(url) + ".whole");
  if (folder.empty() || !exists(path)) return {};
  try {
    // The first line is the version, the second the content's hash.
    const std::string text = read_file(path, kMaxKeptBytes);
    const auto first = text.find('\n'), second = text.find('\n', first + 1);
    if (first == std::string::npos || second == std::string::npos) return {};
    KeptFile file{text.substr(second + 1), text.substr(0, first)};
    return hash_text(file.content) == text.substr(first + 1, second - first - 1) ? file : KeptFile{};
  } catch (const Error&) {
    return {};
  }
}

void keep_file(const std::string& url, const KeptFile& file) {
  const std::string folder = remote_folder();
  if (folder.empty() || file.version.empty() || file.version.find('\n') != std::string::npos) return;
  try {
    make_folders(folder);
    write_atomically(join_path(folder, key_of(url) + ".whole"),
                     cat(file.version, "\n", hash_text(file.content), "\n", file.content));
  } catch (const Error&) {
    return;  // next time it is fetched again
  }
}

}  // namespace solera::checkpoint
