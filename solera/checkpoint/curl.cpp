#include "solera/checkpoint/curl.h"

#include <dlfcn.h>
#include <signal.h>

#include <array>
#include <exception>
#include <memory>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/process.h"
#include "solera/base/text.h"
#include "solera/checkpoint/http.h"

namespace solera::checkpoint {
namespace {

// The part of libcurl's binary interface that is used, which has been the same since 7.32 (2013); its numbers are those
// of curl/curl.h.
namespace option {
constexpr int kWriteData = 10001, kUrl = 10002, kRange = 10007, kErrorBuffer = 10010, kUserAgent = 10018,
              kHttpHeader = 10023, kHeaderData = 10029, kXferInfoData = 10057, kCaInfo = 10065;
constexpr int kWriteFunction = 20011, kHeaderFunction = 20079, kXferInfoFunction = 20219;
constexpr int kLowSpeedLimit = 19, kLowSpeedTime = 20, kNoProgress = 43, kNetrc = 51, kNoSignal = 99,
              kConnectTimeoutMs = 156, kProtocols = 181;
}  // namespace option
constexpr int kGlobalAll = 3;
constexpr int kResponseCode = 0x200002;
constexpr long kHttpAndHttps = 1 | 2;
constexpr std::size_t kErrorBytes = 256;

using Handle = void;
using List = void;
using Transferred = std::size_t (*)(char*, std::size_t, std::size_t, void*);

struct Library {
  int (*global_init)(long) = nullptr;
  Handle* (*init)() = nullptr;
  void (*reset)(Handle*) = nullptr;
  int (*setopt)(Handle*, int, ...) = nullptr;
  int (*perform)(Handle*) = nullptr;
  int (*getinfo)(Handle*, int, ...) = nullptr;
  void (*cleanup)(Handle*) = nullptr;
  const char* (*strerror)(int) = nullptr;
  List* (*append)(List*, const char*) = nullptr;
  void (*free_all)(List*) = nullptr;
  std::string problem;  // why it is not there
};

template <class F>
bool find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(::dlsym(library, name));
  return function != nullptr;
}

Library load() {
  Library curl;
  void* library = nullptr;
  for (const char* name : {"libcurl.so.4", "libcurl-gnutls.so.4"})
    if ((library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL)) != nullptr) break;
  if (library == nullptr) {
    curl.problem = "which is not installed (no libcurl.so.4)";
    return curl;
  }
  const bool whole =
      find(library, "curl_global_init", curl.global_init) && find(library, "curl_easy_init", curl.init) &&
      find(library, "curl_easy_reset", curl.reset) && find(library, "curl_easy_setopt", curl.setopt) &&
      find(library, "curl_easy_perform", curl.perform) && find(library, "curl_easy_getinfo", curl.getinfo) &&
      find(library, "curl_easy_cleanup", curl.cleanup) && find(library, "curl_easy_strerror", curl.strerror) &&
      find(library, "curl_slist_append", curl.append) && find(library, "curl_slist_free_all", curl.free_all);
  if (!whole || curl.global_init(kGlobalAll) != 0) curl.problem = "which does not start";
  return curl;
}

const Library& library() {
  static const Library curl = load();
  if (!curl.problem.empty())
    throw io_error(cat("reading from URLs needs libcurl, ", curl.problem), "",
                   "install it (Debian: apt-get install libcurl4), or download the model first");
  return curl;
}

Handle* handle_of_thread() {
  struct Freed {
    void operator()(Handle* handle) const { library().cleanup(handle); }
  };
  static thread_local std::unique_ptr<Handle, Freed> handle;
  if (!handle) handle.reset(library().init());
  if (!handle) throw io_error("libcurl gives no handle");
  library().reset(handle.get());
  return handle.get();
}

// One transfer's state, behind libcurl's callbacks, through which no exception may pass.
struct Transfer {
  const Library& curl;
  Handle* handle;
  const Exchange& request;
  const Body& body;
  Answer answer = {};
  std::exception_ptr thrown = {};
  bool ended_by_us = false;
  bool has_status = false;

  void header(std::string_view line) {
    if (line.starts_with("HTTP/")) answer.headers.clear();  // of the final answer, not of 100 Continue
    has_status = false;
    if (auto parsed = parse_header_line(line)) answer.headers.insert_or_assign(parsed->first, parsed->second);
  }

  void read_status() {
    if (has_status) return;
    long status = 0;
    curl.getinfo(handle, kResponseCode, &status);
    answer.status = static_cast<int>(status);
    has_status = true;
  }

  bool more(std::span<const std::byte> bytes) {
    read_status();
    try {
      ended_by_us = !body(answer, bytes);
    } catch (...) {
      thrown = std::current_exception();
      ended_by_us = true;
    }
    return !ended_by_us;
  }

  bool go_on() const { return !stop_requested() && !(request.cancel != nullptr && request.cancel->load()); }
};

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* transfer) {
  try {
    static_cast<Transfer*>(transfer)->header({data, size * count});
  } catch (...) {
    return 0;  // no memory
  }
  return size * count;
}

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* transfer) {
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  return static_cast<Transfer*>(transfer)->more({bytes, size * count}) ? size * count : 0;
}

int on_progress(void* transfer, std::int64_t, std::int64_t, std::int64_t, std::int64_t) {
  return static_cast<const Transfer*>(transfer)->go_on() ? 0 : 1;
}

// A TLS library that writes to a connection which the server has closed may raise SIGPIPE.
class NoPipeSignal {
 public:
  NoPipeSignal() {
    ::sigemptyset(&pipe_);
    ::sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoPipeSignal() {
    if (::sigismember(&before_, SIGPIPE) == 1) return;
    const timespec now = {};
    while (::sigtimedwait(&pipe_, nullptr, &now) > 0) continue;
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoPipeSignal(const NoPipeSignal&) = delete;
  NoPipeSignal& operator=(const NoPipeSignal&) = delete;

 private:
  sigset_t pipe_ = {}, before_ = {};
};

// Certificates, bad URLs and the like: trying again cannot help.
bool is_hopeless(int code) {
  static constexpr std::array<int, 12> kCodes = {1, 2, 3, 4, 27, 53, 54, 58, 59, 60, 66, 77};
  for (const int hopeless : kCodes)
    if (code == hopeless) return true;
  return false;
}

}  // namespace

std::string Answer::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

void require_curl() { library(); }

Answer exchange(const Exchange& request, const Body& body) {
  const Library& curl = library();
  Handle* handle = handle_of_thread();
  Transfer transfer{curl, handle, request, body};
  std::array<char, kErrorBytes> error = {};
  std::unique_ptr<List, void (*)(List*)> headers(nullptr, curl.free_all);
  for (const std::string& line : request.headers) {
    List* longer = curl.append(headers.get(), line.c_str());
    if (longer == nullptr) throw std::bad_alloc();
    if (headers.get() != longer) {  // the first line made the list, the others lengthened it
      [[maybe_unused]] List* const same = headers.release();
      headers.reset(longer);
    }
  }
  const std::string url = request.url.text();
  const HttpSettings& settings = http_settings();
  curl.setopt(handle, option::kUrl, url.c_str());
  curl.setopt(handle, option::kHttpHeader, headers.get());
  curl.setopt(handle, option::kUserAgent, "solera");
  if (!request.range.empty()) curl.setopt(handle, option::kRange, request.range.c_str());
  curl.setopt(handle, option::kNetrc, request.netrc ? 1L : 0L);
  curl.setopt(handle, option::kProtocols, kHttpAndHttps);
  curl.setopt(handle, option::kNoSignal, 1L);
  curl.setopt(handle, option::kErrorBuffer, error.data());
  curl.setopt(handle, option::kConnectTimeoutMs, static_cast<long>(settings.connect.count()));
  curl.setopt(handle, option::kLowSpeedLimit, 1L);  // a byte a second: slow is fine, silence is not
  curl.setopt(handle, option::kLowSpeedTime, static_cast<long>(settings.silence.count()));
  curl.setopt(handle, option::kHeaderFunction, static_cast<Transferred>(on_header));
  curl.setopt(handle, option::kHeaderData, &transfer);
  curl.setopt(handle, option::kWriteFunction, static_cast<Transferred>(on_body));
  curl.setopt(handle, option::kWriteData, &transfer);
  curl.setopt(handle, option::kXferInfoFunction, on_progress);
  curl.setopt(handle, option::kXferInfoData, &transfer);
  curl.setopt(handle, option::kNoProgress, 0L);
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"})
    if (const std::string bundle = environment(name); !bundle.empty()) {
      curl.setopt(handle, option::kCaInfo, bundle.c_str());
      break;
    }
  const int code = [&] {
    const NoPipeSignal quiet;
    return curl.perform(handle);
  }();
  transfer.has_status = false;
  transfer.read_status();
  curl.setopt(handle, option::kErrorBuffer, nullptr);
  if (transfer.thrown) std::rethrow_exception(transfer.thrown);
  Answer answer = std::move(transfer.answer);
  if (code != 0 && !transfer.ended_by_us) {
    const std::string said(trim(error.data()));
    answer.broken = said.empty() ? curl.strerror(code) : said;
    answer.hopeless = is_hopeless(code);
  }
  return answer;
}

}  // namespace solera::checkpoint
