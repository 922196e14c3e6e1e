#include "solera/checkpoint/http.h"

#include <algorithm>
#include <thread>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"

namespace solera::checkpoint {
namespace {

using std::chrono::milliseconds;

constexpr int kMostRedirects = 8;
constexpr const char* kDownload = "download the file first and give its path";

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool is_busy(int status) {
  return status == 408 || status == 425 || status == 429 || status == 500 || (status >= 502 && status <= 504);
}

bool is_canceled(const std::atomic<bool>* cancel) { return cancel != nullptr && cancel->load(); }

// Counts the tries that brought nothing, and waits between them.
class Patience {
 public:
  Patience(const Address& address, const std::atomic<bool>* cancel) : address_(address), cancel_(cancel) {}

  void progressed() { failures_ = 0; }

  // After a try that failed for `reason`. Throws Error (io) if it was the last, Error (interrupted) if told to stop.
  void wait(const std::string& reason, const std::string& retry_after = "") {
    throw_if_canceled();
    const HttpSettings& settings = http_settings();
    if (++failures_ >= settings.tries)
      throw io_error(cat(reason, ", ", failures_, " times in a row"), address_.name,
                     "try again later, or download the file first and give its path");
    milliseconds pause = std::min(settings.first_wait * (1 << (failures_ - 1)), settings.longest_wait);
    if (const auto seconds = parse_int(retry_after); seconds && *seconds >= 0)
      pause = std::max(pause, milliseconds(1000 * std::min<std::int64_t>(*seconds, 120)));
    const auto end = std::chrono::steady_clock::now() + pause;
    while (std::chrono::steady_clock::now() < end) {
      throw_if_canceled();
      std::this_thread::sleep_for(std::min(pause, milliseconds(50)));
    }
  }

  void throw_if_canceled() const {
    throw_if_stopped();
    if (is_canceled(cancel_)) throw Error(ErrorKind::kInterrupted, "the transfer was called off", address_.name);
  }

 private:
  const Address& address_;
  const std::atomic<bool>* cancel_;
  int failures_ = 0;
};

std::string status_text(int status) { return cat("the server answers ", status); }

Error refused(const Address& address, int status) {
  std::string hint;
  if (status == 401 || status == 403)
    hint = address.hub ? "set HF_TOKEN, and accept the model's conditions on the hub if it has some"
                       : "put a name and password for this host into ~/.netrc";
  return io_error(cat(status_text(status), status == 401 || status == 403 ? " (no access)" : ""), address.name, hint);
}

Error changed(const std::string& name) {
  return io_error(cat(name, ": the file changed on the server while it was read"), "", "run again to read the new one");
}

Error ignores_ranges(const std::string& name) {
  return io_error("the server ignores ranges: it sends the whole file where a part is asked for", name, kDownload);
}

// Redirects are followed here, not by libcurl, so that we choose what goes where.
struct Arrival {
  Answer answer;
  Url place;
  std::string linked_version, linked_size;  // what a hub says of the file behind its redirect
};

Arrival arrive(const Address& address, Exchange request, const Body& body) {
  Arrival arrival;
  const std::vector<std::string> headers = request.headers;
  Url url = address.url;
  for (int hop = 0;; ++hop) {
    const bool home = url.origin() == address.url.origin();
    request.url = url;
    request.headers = headers;
    if (home && !address.token.empty()) request.headers.push_back("Authorization: Bearer " + address.token);
    request.netrc = home && !address.hub;
    arrival.answer = exchange(request, [&](const Answer& answer, std::span<const std::byte> bytes) {
      return is_redirect(answer.status) || body(answer, bytes);
    });
    arrival.place = url;
    if (home && address.hub) {
      if (const std::string tag = arrival.answer.header("x-linked-etag"); !tag.empty()) {
        arrival.linked_version = tag;
        arrival.linked_size = arrival.answer.header("x-linked-size");
      }
    }
    if (!is_redirect(arrival.answer.status)) return arrival;
    const auto next = redirected(url, arrival.answer.header("location"));
    if (!next) throw io_error("the server redirects to where HTTP does not lead", address.name, kDownload);
    if (url.scheme == "https" && next->scheme == "http")
      throw io_error(cat("the server redirects from https to http, to ", next->origin()), address.name, kDownload);
    if (hop == kMostRedirects)
      throw io_error(cat("more than ", kMostRedirects, " redirects, the last to ", next->origin()), address.name,
                     kDownload);
    url = *next;
  }
}

// The states of one file have different versions. A weak tag promises no equality of bytes.
std::string version_of(const Answer& answer) {
  if (const std::string tag = answer.header("etag"); !tag.empty() && !tag.starts_with("W/")) return tag;
  return answer.header("last-modified");
}

std::string condition_of(const Answer& answer) {
  if (const std::string tag = answer.header("etag"); !tag.empty() && !tag.starts_with("W/")) return "If-Match: " + tag;
  if (const std::string date = answer.header("last-modified"); !date.empty()) return "If-Unmodified-Since: " + date;
  return "";
}

bool is_absent(int status, bool or_forbidden) {
  return status == 404 || status == 410 || (or_forbidden && status == 403);
}

}  // namespace

HttpSettings& http_settings() {
  static HttpSettings settings;
  return settings;
}

std::optional<RemoteState> probe(const Address& address, bool or_forbidden) {
  Patience patience(address, nullptr);
  for (;;) {
    Exchange request;
    request.range = "0-0";
    const Arrival arrival = arrive(address, request, [](const Answer& answer, auto) { return answer.status == 206; });
    const Answer& answer = arrival.answer;
    patience.throw_if_canceled();
    if (answer.hopeless) throw io_error(answer.broken, address.name);
    if (!answer.broken.empty() || answer.status == 0) {
      patience.wait(answer.broken.empty() ? "the server does not answer" : answer.broken);
      continue;
    }
    if (is_busy(answer.status)) {
      patience.wait(status_text(answer.status), answer.header("retry-after"));
      continue;
    }
    if (is_absent(answer.status, or_forbidden)) return {};
    RemoteState state;
    state.place = arrival.place;
    state.version = arrival.linked_version.empty() ? version_of(answer) : arrival.linked_version;
    state.condition = condition_of(answer);
    const auto range = parse_content_range(answer.header("content-range"));
    if ((answer.status == 206 && range && range->satisfied && range->first == 0) ||
        (answer.status == 416 && range && range->total == 0)) {
      state.size = range->total;
      state.ranges = true;
    } else if (answer.status != 200) {
      throw refused(address, answer.status);
    }
    if (const auto linked = parse_int(arrival.linked_size);
        state.ranges && linked && *linked >= 0 && static_cast<std::uint64_t>(*linked) != state.size)
      throw io_error(cat("the redirect leads to a file of ", state.size, " bytes, announced with ", *linked),
                     address.name, kDownload);
    return state;
  }
}

std::optional<WholeFile> fetch_whole(const Address& address, std::uint64_t limit, const std::string& cached) {
  Patience patience(address, nullptr);
  for (;;) {
    WholeFile file;
    Exchange request;
    if (!cached.empty()) request.headers.push_back("If-None-Match: " + cached);
    const Arrival arrival = arrive(address, request, [&](const Answer& answer, std::span<const std::byte> bytes) {
      if (answer.status != 200) return true;
      if (bytes.size() > limit - file.content.size())
        throw io_error(cat("has more than ", limit, " bytes, too many for such a file"), address.name);
      file.content.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      return true;
    });
    const Answer& answer = arrival.answer;
    patience.throw_if_canceled();
    if (answer.hopeless) throw io_error(answer.broken, address.name);
    if (!answer.broken.empty() || answer.status == 0) {
      patience.wait(answer.broken.empty() ? "the server does not answer" : answer.broken);
    } else if (is_busy(answer.status)) {
      patience.wait(status_text(answer.status), answer.header("retry-after"));
    } else if (is_absent(answer.status, false)) {
      return {};
    } else if (answer.status == 304 && !cached.empty()) {
      return WholeFile{"", cached, true};
    } else if (answer.status != 200) {
      throw refused(address, answer.status);
    } else {
      file.version = arrival.linked_version.empty() ? version_of(answer) : arrival.linked_version;
      return file;
    }
  }
}

RemoteFile::RemoteFile(Address address) : address_(std::move(address)) {
  auto found = probe(address_);
  if (!found) throw io_error("the server has no such file", address_.name);
  if (!found->ranges) throw ignores_ranges(address_.name);
  if (found->version.empty())
    throw io_error("the server gives neither ETag nor Last-Modified, so that a change could go unseen", address_.name,
                   kDownload);
  state_ = std::move(*found);
  version_ = state_.version;
  size_ = state_.size;
}

RemoteState RemoteFile::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

void RemoteFile::require_unchanged(const std::string& version, std::uint64_t size) const {
  if (version != version_ || size != size_) throw changed(address_.name);
}

// Signed places are good for some minutes only; the first thread that sees one fail finds the next.
void RemoteFile::locate_again(const RemoteState& stale) {
  const std::lock_guard lock(mutex_);
  if (!(state_.place == stale.place)) return;
  auto found = probe(address_);
  if (!found) throw changed(address_.name);
  if (!found->ranges) throw ignores_ranges(address_.name);
  require_unchanged(found->version, found->size);
  state_ = std::move(*found);
}

// That an answer is the part from `at` on, of the file that was opened.
void RemoteFile::require_part(const Answer& answer, std::uint64_t at, std::uint64_t end,
                              const RemoteState& state) const {
  const std::string condition = condition_of(answer);
  if (!condition.empty() && !state.condition.empty() && condition != state.condition) throw changed(address_.name);
  if (answer.status == 200) throw ignores_ranges(address_.name);
  const auto range = parse_content_range(answer.header("content-range"));
  if (!range || !range->satisfied)
    throw io_error("the server sends a part without saying which", address_.name, kDownload);
  if (range->total != size_) throw changed(address_.name);
  if (range->first != at || range->last >= end)
    throw io_error(
        cat("asked for bytes ", at, " to ", end - 1, ", the server sends ", range->first, " to ", range->last),
        address_.name, kDownload);
}

void RemoteFile::fetch(std::uint64_t first, std::uint64_t end, const Sink& sink, const std::atomic<bool>* cancel) {
  Patience patience(address_, cancel);
  std::uint64_t at = first;
  while (at < end) {
    const RemoteState from = state();
    const bool moved = !(from.place == address_.url), home = from.place.origin() == address_.url.origin();
    Exchange request;
    request.url = from.place;
    request.range = cat(at, "-", end - 1);
    request.cancel = cancel;
    request.netrc = home && !address_.hub;
    if (home && !address_.token.empty()) request.headers.push_back("Authorization: Bearer " + address_.token);
    if (!from.condition.empty()) request.headers.push_back(from.condition);
    const std::uint64_t begin = at;
    const Answer answer = exchange(request, [&](const Answer& head, std::span<const std::byte> bytes) {
      if (head.status != 200 && head.status != 206) return true;
      if (at == begin) require_part(head, begin, end, from);
      if (bytes.size() > end - at) throw io_error("the server sends more than it was asked for", address_.name);
      sink(at, bytes);
      at += bytes.size();
      patience.progressed();
      return true;
    });
    if (at == end) return;
    patience.throw_if_canceled();
    const int status = answer.status;
    if (answer.hopeless) throw io_error(answer.broken, address_.name);
    if (!answer.broken.empty() || status == 0) {
      patience.wait(cat(answer.broken.empty() ? "the server does not answer" : answer.broken, " (at byte ", at, " of ",
                        size_, ")"));
    } else if (status == 206 || status == 200) {
      patience.wait(cat("the server ends the transfer at byte ", at, " of ", size_));
    } else if (is_busy(status)) {
      patience.wait(status_text(status), answer.header("retry-after"));
    } else if (status == 412 || status == 416) {
      throw changed(address_.name);
    } else if (moved || is_redirect(status)) {
      locate_again(from);
      patience.wait(cat(status_text(status), " at ", from.place.origin()));
    } else if (is_absent(status, false)) {
      throw io_error(cat(address_.name, ": the file is gone from the server"), "", "run again when it is there");
    } else {
      throw refused(address_, status);
    }
  }
}

}  // namespace solera::checkpoint
