// The bytes of one file, wherever they are.
//
// A local file is mapped and read without a copy; on a network file system it is read by pread; behind a URL, ranges of
// it are fetched as they are used (checkpoint/remote.h). A mapped file that
// shrinks while it is read would end the process by SIGBUS: the guard puts zero pages in place of the lost ones and
// marks the source, and check() turns the mark into an Error. Who trusts bytes for good calls check() after using them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace solera::checkpoint {

class Source {
 public:
  virtual ~Source() = default;
  virtual const std::string& path() const = 0;
  virtual std::uint64_t size() const = 0;

  // `length` bytes from `offset`: a view into the mapping, or `scratch` filled (grown as needed). The view lives as
  // long as the source and, where it is in scratch, until scratch changes. Throws Error (io) past the end. Thread-safe.
  virtual std::span<const std::byte> view(std::uint64_t offset, std::uint64_t length,
                                          std::vector<std::byte>& scratch) const = 0;

  // Tells the system that this range is wanted soon, or no longer. Only advice.
  virtual void want(std::uint64_t offset, std::uint64_t length) const;
  virtual void release(std::uint64_t offset, std::uint64_t length) const;
  // The whole of this range will be read: a file that is far away begins to come. Nothing for a local one, of which
  // want() asks for the next few chunks.
  virtual void expect(std::uint64_t offset, std::uint64_t length) const;

  // What the server of a remote file calls its present state; empty for a local file.
  virtual std::string version() const;

  // Throws Error (io) if bytes were lost since it was opened: "X: the file shrank while it was read".
  virtual void check() const;
};

enum class Access { kAuto, kMap, kRead };  // kAuto: map on local file systems, read elsewhere

// `path` may be a URL, for which `access` says nothing.
std::shared_ptr<const Source> open_file(const std::string& path, Access access = Access::kAuto);
// Bytes in memory under a name: tests, fuzzing, unpacked archive members.
std::shared_ptr<const Source> memory_source(std::string name, std::vector<std::byte> bytes);

}  // namespace solera::checkpoint
