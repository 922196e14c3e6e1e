#include "tests/support/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>

#include "solera/base/hash.h"
#include "solera/base/text.h"
#include "solera/checkpoint/http.h"
#include "tests/support/support.h"

namespace solera::test {
namespace {

constexpr std::size_t kChunk = 65536;

bool send_all(int connection, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(connection, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

// The connection is reset, not closed in order.
void break_off(int connection) {
  const linger hard = {1, 0};
  ::setsockopt(connection, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

HttpServer::Request parse(const std::string& head) {
  HttpServer::Request request;
  const std::vector<std::string> lines = split(head, '\n');
  const std::vector<std::string> words = split(lines.front(), ' ');
  if (words.size() > 1) request.path = words[1];
  for (std::size_t i = 1; i < lines.size(); ++i)
    if (const auto colon = lines[i].find(':'); colon != std::string::npos)
      request.headers[lower(lines[i].substr(0, colon))] = std::string(trim(lines[i].substr(colon + 1)));
  return request;
}

struct Range {
  std::uint64_t first, last;
};

std::optional<Range> range_of(const HttpServer::Request& request) {
  const std::string text = request.header("range");
  const auto dash = text.find('-');
  if (!text.starts_with("bytes=") || dash == std::string::npos) return {};
  const auto first = parse_int(text.substr(6, dash - 6)), last = parse_int(text.substr(dash + 1));
  if (!first || !last) return {};
  return Range{static_cast<std::uint64_t>(*first), static_cast<std::uint64_t>(*last)};
}

}  // namespace

std::string HttpServer::Request::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

HttpServer::HttpServer() {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (listener_ < 0 || ::bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      ::listen(listener_, 64) != 0 || ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0)
    throw io_error("cannot listen on 127.0.0.1");
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

HttpServer::~HttpServer() {
  stopping_ = true;
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  ::close(listener_);
  {
    const std::lock_guard lock(mutex_);
    for (const int connection : connections_) ::shutdown(connection, SHUT_RDWR);
  }
  for (std::thread& thread : threads_) thread.join();
}

std::string HttpServer::url(const std::string& path) const { return cat("http://127.0.0.1:", port_, path); }

void HttpServer::serve(const std::string& path, ServedFile file, bool no_etag) {
  if (file.etag.empty() && !no_etag) file.etag = cat('"', hash_text(file.content).substr(0, 12), '"');
  const std::lock_guard lock(mutex_);
  files_[path] = std::move(file);
}

void HttpServer::serve_folder(const std::string& path, const std::string& folder) {
  for (const std::string& name : list_folder(folder))
    if (!is_folder(join_path(folder, name))) serve(cat(path, "/", name), {.content = slurp(join_path(folder, name))});
}

void HttpServer::change(const std::string& path, const std::function<void(ServedFile&)>& change) {
  const std::lock_guard lock(mutex_);
  change(files_.at(path));
}

void HttpServer::on_request(std::function<void(const Request&)> hook) {
  const std::lock_guard lock(mutex_);
  hook_ = std::move(hook);
}

std::vector<HttpServer::Request> HttpServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::size_t HttpServer::count(const std::string& path) const {
  const std::vector<Request> all = requests();
  return static_cast<std::size_t>(
      std::count_if(all.begin(), all.end(), [&](const Request& request) { return request.path == path; }));
}

void HttpServer::forget() {
  const std::lock_guard lock(mutex_);
  requests_.clear();
}

void HttpServer::accept_all() {
  while (!stopping_) {
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    const std::lock_guard lock(mutex_);
    connections_.insert(connection);
    threads_.emplace_back([this, connection] { talk(connection); });
  }
}

void HttpServer::talk(int connection) {
  std::string received;
  char buffer[4096];
  for (bool open = true; open && !stopping_;) {
    const auto end = received.find("\r\n\r\n");
    if (end == std::string::npos) {
      const ssize_t got = ::recv(connection, buffer, sizeof buffer, 0);
      if (got <= 0) break;
      received.append(buffer, static_cast<std::size_t>(got));
      continue;
    }
    const Request request = parse(received.substr(0, end));
    received.erase(0, end + 4);
    std::function<void(const Request&)> hook;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
      hook = hook_;
    }
    if (hook) hook(request);
    open = answer(connection, request);
  }
  const std::lock_guard lock(mutex_);
  connections_.erase(connection);
  ::close(connection);
}

// Whether the connection stays open.
bool HttpServer::answer(int connection, const Request& request) {
  ServedFile file;
  bool breaks = false;
  {
    const std::lock_guard lock(mutex_);
    auto found = files_.find(request.path);
    if (found == files_.end()) found = files_.find(request.path.substr(0, request.path.find('?')));
    if (found == files_.end()) {
      file.status = 404;
    } else {
      file = found->second;
      const auto range = range_of(request);
      breaks = file.breaks > 0 && file.status == 200 && range && range->last - range->first >= file.breaks_after;
      if (breaks) --found->second.breaks;
    }
  }
  std::string head, body = file.content;
  const auto range = range_of(request);
  const std::string match = request.header("if-match");
  if (!file.redirect.empty()) {
    head = cat("HTTP/1.1 302 Found\r\nLocation: ", file.redirect, "\r\n");
    body = "this is not the file";
  } else if (file.status != 200) {
    head = cat("HTTP/1.1 ", file.status, " Status\r\n");
    body = "an error page";
  } else if (file.checks_match && !match.empty() && match != file.etag) {
    head = "HTTP/1.1 412 Precondition Failed\r\n";
    body = "an error page";
  } else if (!file.etag.empty() && request.header("if-none-match") == file.etag) {
    head = "HTTP/1.1 304 Not Modified\r\n";
    body = "";
  } else if (range && file.ranges && range->first >= body.size()) {
    head = cat("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */", body.size(), "\r\n");
    body = "";
  } else if (range && file.ranges) {
    std::uint64_t end = std::min<std::uint64_t>(range->last + 1, body.size());
    if (file.part_limit > 0 && end - range->first > file.part_limit) end = range->first + file.part_limit;
    head = cat("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes ", range->first, "-", end - 1, "/", body.size(),
               "\r\n");
    body = body.substr(range->first, file.part_limit == 0 && end > 1 ? 0 : end - range->first);
  } else {
    head = "HTTP/1.1 200 OK\r\n";
  }
  if (!file.etag.empty()) head += cat("ETag: ", file.etag, "\r\n");
  for (const auto& [name, value] : file.headers) head += cat(name, ": ", value, "\r\n");
  head += cat("Content-Length: ", body.size(), "\r\n\r\n");
  if (!send_all(connection, head)) return false;
  for (std::size_t sent = 0; sent < body.size();) {
    const std::size_t part = std::min(
        {kChunk, body.size() - sent, breaks ? static_cast<std::size_t>(file.breaks_after) - sent : body.size()});
    if (!send_all(connection, std::string_view(body).substr(sent, part))) return false;
    sent += part;
    if (breaks && sent >= file.breaks_after) {
      if (!file.stalls) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));  // let the client read what was sent
        break_off(connection);
        return false;
      }
      while (!stopping_) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      return false;
    }
    if (file.milliseconds_per_chunk > 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(file.milliseconds_per_chunk));
  }
  return true;
}

void RemoteTest::set(const char* name, const std::string& value) {
  if (before_.count(name) == 0 && unset_.count(name) == 0) {
    if (const char* old = std::getenv(name))
      before_[name] = old;
    else
      unset_.insert(name);
  }
  ::setenv(name, value.c_str(), 1);
}

void RemoteTest::SetUp() {
  for (const char* name : {"http_proxy", "https_proxy", "all_proxy", "HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE",
                           "HF_TOKEN_PATH", "SOLERA_CACHE", "CURL_CA_BUNDLE"})
    set(name, "");
  set("HOME", folder_ / "home");
  set("HF_HOME", folder_ / "hf");
  set("XDG_CACHE_HOME", folder_ / "cache");
  set("TMPDIR", folder_.path());
  set("HF_ENDPOINT", "http://127.0.0.1:1");  // the hub is nowhere unless a test says where
  make_folders(folder_ / "home");
  checkpoint::http_settings() = {
      .tries = 4, .first_wait = std::chrono::milliseconds(5), .longest_wait = std::chrono::milliseconds(20)};
  try {
    checkpoint::require_curl();
  } catch (const Error& error) {
    GTEST_SKIP() << "NOT TESTED: " << error.what();
  }
}

void RemoteTest::TearDown() {
  for (const auto& [name, value] : before_) ::setenv(name.c_str(), value.c_str(), 1);
  for (const std::string& name : unset_) ::unsetenv(name.c_str());
}

}  // namespace solera::test
