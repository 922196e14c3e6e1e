// A file on a server: what the server says of it, its bytes by ranges, a small one whole. What can go wrong on the way
// is dealt with here: broken connections, servers that are busy, redirects, credentials, files that change.
//
// A transfer that breaks goes on at the byte where it broke, after a wait that doubles with each break; a byte that
// arrives starts the count anew. Every range carries If-Match (or If-Unmodified-Since) with what the server said when
// the file was opened, and its answer is compared with that, so that a file that changes is refused, not mixed.
//
// Credentials: a token goes to the origin it is for and nowhere else; name and password from ~/.netrc go to the origin
// of the URL itself. Neither follows a redirect to another origin, and no message has them.
#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "solera/checkpoint/curl.h"

namespace solera::checkpoint {

struct HttpSettings {
  int tries = 6;  // without a byte between them
  std::chrono::milliseconds first_wait{250};
  std::chrono::milliseconds longest_wait{15'000};
  std::chrono::milliseconds connect{20'000};
  std::chrono::seconds silence{30};
};
HttpSettings& http_settings();  // changed by tests alone, before the first transfer

// What a URL is asked for with, and what messages call it.
struct Address {
  Url url;
  std::string name;   // "https://host/a.safetensors", "hf://org/name@main/a.safetensors"
  std::string token;  // for `url`'s origin alone; empty: none
  bool hub = false;   // the hub's origin: no netrc, and X-Linked-* says what is behind its redirects
};

struct RemoteState {
  std::string version;  // tells the file's states apart: X-Linked-ETag, ETag or Last-Modified
  std::uint64_t size = 0;
  Url place;              // where redirects end; a place may go stale
  std::string condition;  // the header that asks for this state; empty where the place is the content's own address
  bool ranges = false;    // the server gives parts
};

// Asks for the first byte. Empty if the server has no such file (404, 410; 403 too where `or_forbidden`). Throws Error
// (io) for anything else that is not the file.
std::optional<RemoteState> probe(const Address& address, bool or_forbidden = false);

// The whole of a small file, with its version. Empty as above. `cached`: its version in a cache; if it still holds,
// the content is empty and `unchanged` true.
struct WholeFile {
  std::string content, version;
  bool unchanged = false;
};
std::optional<WholeFile> fetch_whole(const Address& address, std::uint64_t limit, const std::string& cached = "");

// An open remote file. Thread-safe.
class RemoteFile {
 public:
  // Throws Error (io) if it is not there, gives no parts, or nothing that tells its states apart.
  explicit RemoteFile(Address address);
  const Address& address() const { return address_; }
  const std::string& version() const { return version_; }
  std::uint64_t size() const { return size_; }

  // Bytes [first, end), in order, to `sink(offset, bytes)`. Throws Error (io) if they cannot be had, what sink throws,
  // and Error (interrupted) when a stop is requested or `cancel` becomes true.
  using Sink = std::function<void(std::uint64_t offset, std::span<const std::byte> bytes)>;
  void fetch(std::uint64_t first, std::uint64_t end, const Sink& sink, const std::atomic<bool>* cancel = nullptr);

 private:
  RemoteState state() const;
  void locate_again(const RemoteState& stale);
  void require_part(const Answer& answer, std::uint64_t at, std::uint64_t end, const RemoteState& state) const;
  void require_unchanged(const std::string& version, std::uint64_t size) const;

  Address address_;
  std::string version_;
  std::uint64_t size_ = 0;
  mutable std::mutex mutex_;
  RemoteState state_;  // its place may be renewed
};

}  // namespace solera::checkpoint
