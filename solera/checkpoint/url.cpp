#include "solera/checkpoint/url.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::checkpoint {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) { return lower(c); });
  return result;
}

bool is_visible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || problem != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

int usual_port(std::string_view scheme) { return scheme == "https" ? 443 : 80; }

// What may stand in a host's name, or between the brackets of an address.
bool is_host(std::string_view host) {
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  return !host.empty() && std::all_of(host.begin(), host.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
           (bracketed && c == ':');
  });
}

void split_target(std::string_view target, Url& url) {
  target = target.substr(0, target.find('#'));
  const auto mark = target.find('?');
  url.path = target.substr(0, mark);
  url.query = mark == std::string_view::npos ? "" : target.substr(mark + 1);
  if (!url.path.starts_with('/')) url.path.insert(0, "/");
}

// RFC 3986, 5.2.4, for a path that begins with a slash.
std::string without_dots(std::string_view path) {
  std::vector<std::string> kept;
  const std::vector<std::string> pieces = split(path.substr(1), '/');
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const bool last = i + 1 == pieces.size(), up = pieces[i] == "..";
    if (!up && pieces[i] != ".") {
      kept.push_back(pieces[i]);
      continue;
    }
    if (up && !kept.empty()) kept.pop_back();
    if (last) kept.emplace_back();
  }
  return "/" + join(kept, "/");
}

// Why it is none, in `problem`.
std::optional<Url> parse(std::string_view text, std::string& problem) {
  Url url;
  const auto colon = text.find("://");
  url.scheme = lower(text.substr(0, std::min(colon, text.size())));
  if (colon == std::string_view::npos || (url.scheme != "http" && url.scheme != "https")) {
    problem = "is no http or https URL";
    return {};
  }
  const std::string_view rest = text.substr(colon + 3);
  const auto end = std::min(rest.find_first_of("/?#"), rest.size());
  std::string_view authority = rest.substr(0, end);
  if (authority.find('@') != std::string_view::npos) {
    problem = "has a name or password in it";
    return {};
  }
  if (!is_visible(text)) {
    problem = "has a character that URLs must not have";
    return {};
  }
  url.port = usual_port(url.scheme);
  const auto bracket = authority.rfind(']');
  const auto mark = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (mark != std::string_view::npos) {
    const auto port = number(authority.substr(mark + 1));
    if (!port || *port == 0 || *port > 65535) {
      problem = "has no valid port";
      return {};
    }
    url.port = static_cast<int>(*port);
    authority = authority.substr(0, mark);
  }
  url.host = lower(authority);
  if (!is_host(url.host)) {
    problem = "names no host";
    return {};
  }
  split_target(rest.substr(end), url);
  return url;
}

}  // namespace

std::string Url::origin() const { return cat(scheme, "://", host, ":", port); }

std::string Url::shown() const {
  return cat(scheme, "://", host, port == usual_port(scheme) ? "" : cat(":", port), path);
}

std::string Url::text() const { return query.empty() ? shown() : cat(shown(), "?", query); }

Url parse_url(std::string_view text) {
  std::string problem;
  if (auto url = parse(text, problem)) return *url;
  // What stands before an @ and after a ? may be secret.
  const std::string_view begin = text.substr(0, std::min(text.find('?'), text.size()));
  const auto at = begin.find('@');
  const std::string name = at == std::string_view::npos ? std::string(begin) : cat("...", begin.substr(at));
  throw usage_error(cat(is_visible(name) ? name : "the URL", " ", problem), "",
                    at != std::string_view::npos ? "put them into ~/.netrc" : "");
}

std::optional<Url> redirected(const Url& base, std::string_view location) {
  std::string ignored;
  location = trim(location);
  if (location.empty() || !is_visible(location)) return {};
  const auto colon = location.find(':');
  if (colon != std::string_view::npos && colon < location.find_first_of("/?#")) return parse(location, ignored);
  if (location.starts_with("//")) return parse(cat(base.scheme, ":", location), ignored);
  Url url = base;
  if (location.starts_with('#')) return url;
  if (location.starts_with('?')) {
    split_target(cat(base.path, location), url);
  } else if (location.starts_with('/')) {
    split_target(location, url);
  } else {
    split_target(cat(std::string_view(base.path).substr(0, base.path.rfind('/') + 1), location), url);
  }
  url.path = without_dots(url.path);
  return url;
}

std::string percent_encoded(std::string_view name) {
  static constexpr std::string_view kPlain = "-._~/";
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string result;
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       kPlain.find(c) != std::string_view::npos;
    const auto byte = static_cast<unsigned char>(c);
    if (plain) {
      result += c;
    } else {
      result += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return result;
}

std::optional<std::pair<std::string, std::string>> parse_header_line(std::string_view line) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return {};
  const std::string_view name = line.substr(0, colon);
  if (!is_visible(name)) return {};
  return std::pair(lower(name), std::string(trim(line.substr(colon + 1))));
}

std::optional<ContentRange> parse_content_range(std::string_view value) {
  value = trim(value);
  if (lower(value.substr(0, 6)) != "bytes ") return {};
  value = trim(value.substr(6));
  const auto slash = value.find('/');
  if (slash == std::string_view::npos) return {};
  const auto total = number(value.substr(slash + 1));
  if (!total) return {};
  const std::string_view range = value.substr(0, slash);
  if (range == "*") return ContentRange{false, 0, 0, *total};
  const auto dash = range.find('-');
  if (dash == std::string_view::npos) return {};
  const auto first = number(range.substr(0, dash)), last = number(range.substr(dash + 1));
  if (!first || !last || *first > *last || *last >= *total) return {};
  return ContentRange{true, *first, *last, *total};
}

}  // namespace solera::checkpoint
