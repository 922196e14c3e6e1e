// What has been scored before: a folder of two append-only files that many processes may share.
//
//   evaluations.jsonl   {"key": "0123...", "score": 0.85, "seconds": 12.5, "candidate": "run0 + run3", "command":
//   "..."} hashes.jsonl        {"path": "/m/run0.safetensors", "size": 1094432, "modified_ns": 17..., "hash":
//   "89ab..."}
//
// A line is written whole, in one call, and synced; a line that was cut off by a crash is skipped. The folder can be
// deleted at any time. Nothing is created before there is something to keep.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "solera/base/document.h"

namespace solera::soup {

// A file of JSON objects, one a line.
class JournalFile {
 public:
  explicit JournalFile(std::string path);  // need not exist
  // The objects in it, in order; lines that are not JSON objects are skipped.
  std::vector<Node> read() const;
  // Adds a line. Thread-safe; safe against other processes that do the same. Throws Error (io).
  void append(const Node& object);

 private:
  std::string path_;
  std::mutex mutex_;
};

class Cache {
 public:
  struct Entry {
    double score = 0;
    double seconds = 0;
  };

  explicit Cache(const std::string& folder);
  const std::string& folder() const { return folder_; }

  std::optional<Entry> find(const std::string& key) const;
  // `note` is for people: what was scored, by which command. Thread-safe.
  void add(const std::string& key, const Entry& entry, const std::string& candidate, const std::string& command);

  // The hash of a file's bytes, or of all files below a folder with their relative names. A file that has not changed
  // (path, size, time of change) since it was last read is not read again; one that changed within the last two seconds
  // may change again unnoticed, so it is not remembered. Thread-safe.
  std::string hash(const std::string& path);

 private:
  std::string hash_of_file(const std::string& path);

  std::string folder_;
  JournalFile evaluations_, hashes_;
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
  struct Known {
    std::uint64_t size;
    std::int64_t modified_ns;
    std::string hash;
  };
  std::map<std::string, Known> known_;
};

}  // namespace solera::soup
