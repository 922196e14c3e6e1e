#include "solera/soup/cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/hash.h"

namespace solera::soup {
namespace {

constexpr std::int64_t kSettledNs = 2'000'000'000;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

struct Stamp {
  std::uint64_t size;
  std::int64_t modified_ns;
};

Stamp stamp_of(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) throw missing_file(path);
  return {static_cast<std::uint64_t>(info.st_size),
          static_cast<std::int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec};
}

const Node* text_in(const Node& object, std::string_view key) {
  const Node* node = object.find(key);
  return node && node->is_scalar() ? node : nullptr;
}

}  // namespace

JournalFile::JournalFile(std::string path) : path_(std::move(path)) {}

std::vector<Node> JournalFile::read() const {
  std::vector<Node> objects;
  if (!exists(path_)) return objects;
  const std::string text = read_file(path_);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line(text.data() + at, end - at);
    at = end + 1;
    if (line.empty()) continue;
    try {
      Node node = parse_json(line, path_);
      if (node.is_map()) objects.push_back(std::move(node));
    } catch (const Error&) {
      continue;  // cut off by a crash
    }
  }
  return objects;
}

void JournalFile::append(const Node& object) {
  const std::lock_guard lock(mutex_);
  make_folders(parent_folder(path_));
  const Descriptor file(::open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666));
  if (file.get() < 0) throw io_error(cat("cannot write ", path_, " (", errno_text(errno), ")"));
  std::string line = to_json(object) + "\n";
  char last = '\n';
  const ::off_t size = ::lseek(file.get(), 0, SEEK_END);
  if (size > 0 && ::pread(file.get(), &last, 1, size - 1) == 1 && last != '\n') line.insert(0, "\n");
  const ::ssize_t written = ::write(file.get(), line.data(), line.size());
  if (written != static_cast<::ssize_t>(line.size()))
    throw io_error(cat("cannot write ", path_, " (", written < 0 ? errno_text(errno) : "the disk is full", ")"));
  ::fdatasync(file.get());
}

Cache::Cache(const std::string& folder)
    : folder_(folder),
      evaluations_(join_path(folder, "evaluations.jsonl")),
      hashes_(join_path(folder, "hashes.jsonl")) {
  for (const Node& line : evaluations_.read()) {
    const Node *key = text_in(line, "key"), *score = text_in(line, "score"), *seconds = text_in(line, "seconds");
    if (!key || !score || !score->try_double() || !std::isfinite(*score->try_double())) continue;
    entries_[key->as_text()] = {*score->try_double(), seconds ? seconds->try_double().value_or(0) : 0};
  }
  for (const Node& line : hashes_.read()) {
    const Node *path = text_in(line, "path"), *size = text_in(line, "size"), *modified = text_in(line, "modified_ns"),
               *hash = text_in(line, "hash");
    if (!path || !size || !modified || !hash) continue;
    try {
      known_[path->as_text()] = {size->as_uint(), modified->as_int(), hash->as_text()};
    } catch (const Error&) {
      continue;
    }
  }
}

std::optional<Cache::Entry> Cache::find(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  return found == entries_.end() ? std::nullopt : std::optional(found->second);
}

void Cache::add(const std::string& key, const Entry& entry, const std::string& candidate, const std::string& command) {
  {
    const std::lock_guard lock(mutex_);
    entries_[key] = entry;
  }
  evaluations_.append(Node::map({{"key", Node::text(key)},
                                 {"score", Node::number(entry.score)},
                                 {"seconds", Node::number(entry.seconds)},
                                 {"candidate", Node::text(candidate)},
                                 {"command", Node::text(command)}}));
}

std::string Cache::hash(const std::string& path) {
  if (!exists(path)) throw missing_file(path);
  if (!is_folder(path)) return hash_of_file(path);
  Hasher hasher;
  for (const std::string& name : list_folder(path)) hasher.add(name).add(hash(join_path(path, name)));
  return hasher.hex();
}

std::string Cache::hash_of_file(const std::string& path) {
  const std::string name = canonical(path);
  const Stamp before = stamp_of(path);
  {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(name);
    if (found != known_.end() && found->second.size == before.size && found->second.modified_ns == before.modified_ns)
      return found->second.hash;
  }
  const std::string hash = hash_file(path);
  const Stamp after = stamp_of(path);
  if (after.size == before.size && after.modified_ns == before.modified_ns &&
      now_ns() - after.modified_ns > kSettledNs) {
    {
      const std::lock_guard lock(mutex_);
      known_[name] = {after.size, after.modified_ns, hash};
    }
    hashes_.append(Node::map({{"path", Node::text(name)},
                              {"size", Node::integer(static_cast<std::int64_t>(after.size))},
                              {"modified_ns", Node::integer(after.modified_ns)},
                              {"hash", Node::text(hash)}}));
  }
  return hash;
}

}  // namespace solera::soup
