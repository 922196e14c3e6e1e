// URLs as a reader of remote files needs them, and the few header lines that it must understand. RFC 3986, RFC 9110.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace solera::checkpoint {

struct Url {
  std::string scheme;  // "http" or "https"
  std::string host;    // lower case; an IPv6 address keeps its brackets
  int port = 0;
  std::string path;   // "/" at least, percent-encoded as it came
  std::string query;  // without "?"; may be a signature, so that no message, journal or cache shows it

  std::string origin() const;  // "http://host:port": what credentials belong to
  std::string text() const;    // all of it
  std::string shown() const;   // without the query
  friend bool operator==(const Url&, const Url&) = default;
};

// Throws Error (usage) for another scheme, no host, a name or password in it, spaces and control characters. A fragment
// is dropped.
Url parse_url(std::string_view text);

// Where a Location header leads from `base`; empty if that is nowhere HTTP goes.
std::optional<Url> redirected(const Url& base, std::string_view location);

// A file's name, which may have slashes, as it stands in a path.
std::string percent_encoded(std::string_view name);

// "Name: value" as ("name", "value"); empty for status lines, the last line and nonsense.
std::optional<std::pair<std::string, std::string>> parse_header_line(std::string_view line);

// "bytes 0-99/1000" or, for a range that cannot be had, "bytes */1000".
struct ContentRange {
  bool satisfied = false;
  std::uint64_t first = 0, last = 0;  // inclusive, below total
  std::uint64_t total = 0;
};
std::optional<ContentRange> parse_content_range(std::string_view value);

}  // namespace solera::checkpoint
