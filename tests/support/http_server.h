// A server of HTTP ranges on 127.0.0.1 for tests, which can do wrong what servers do wrong.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/checkpoint/curl.h"

namespace solera::test {

struct ServedFile {
  std::string content;
  std::string etag;                            // with its quotes; empty: none is sent
  std::string redirect;                        // 302 to there instead of the content
  std::map<std::string, std::string> headers;  // more of them
  int status = 200;                            // another one instead of the content
  bool ranges = true;
  bool checks_match = true;                 // honors If-Match
  std::uint64_t part_limit = UINT64_MAX;    // so many bytes of a part are sent; the header says so, but for 0
  std::uint64_t breaks_after = UINT64_MAX;  // the connection breaks after so many bytes of an answer
  int breaks = 0;                           // so often, with breaks_after
  bool stalls = false;                      // then silence instead of a break
  int milliseconds_per_chunk = 0;           // of 64 KiB: a slow link
};

class HttpServer {
 public:
  struct Request {
    std::string path;                            // with the query
    std::map<std::string, std::string> headers;  // names in lower case
    std::string header(const std::string& name) const;
  };

  HttpServer();
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string url(const std::string& path = "") const;  // "http://127.0.0.1:PORT" and the path
  // Serves `file` at `path` from now on; a file with an empty etag gets one of its content unless `no_etag`.
  void serve(const std::string& path, ServedFile file, bool no_etag = false);
  void serve_folder(const std::string& path, const std::string& folder);  // every file in it
  void change(const std::string& path, const std::function<void(ServedFile&)>& change);
  // Called before each answer, on a thread of the connection.
  void on_request(std::function<void(const Request&)> hook);
  std::vector<Request> requests() const;
  std::size_t count(const std::string& path) const;  // requests for it
  void forget();                                     // the requests so far

 private:
  void accept_all();
  void talk(int connection);
  bool answer(int connection, const Request& request);

  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::map<std::string, ServedFile> files_;
  std::vector<Request> requests_;
  std::function<void(const Request&)> hook_;
  std::set<int> connections_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

// A surrounding in which URLs can be tested: no proxy, no token or cache of the user's, short waits.
class RemoteTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  void set(const char* name, const std::string& value);  // a variable, as it was before at the end of the test

  TemporaryFolder folder_;
  HttpServer server_;

 private:
  std::map<std::string, std::string> before_;
  std::set<std::string> unset_;
};

}  // namespace solera::test
