#include "solera/base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera {
namespace {

namespace fs = std::filesystem;

Error failed(const char* action, int code, const std::string& path) {
  if (code == ENOENT) return missing_file(path);
  return io_error(cat("cannot ", action, ": ", errno_text(code)), path);
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return number_; }
  int close() {
    const int result = number_ < 0 ? 0 : ::close(number_);
    number_ = -1;
    return result;
  }

 private:
  int number_;
};

// Removes the file at the end of the scope unless it was kept.
class Scratch {
 public:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  ~Scratch() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void keep() { path_.clear(); }

 private:
  std::string path_;
};

// Short, so that it fits wherever the final name fits.
std::string scratch_sibling(const std::string& path) {
  static std::atomic<unsigned> counter{0};
  return join_path(parent_folder(path), cat(".solera-", ::getpid(), "-", counter++, ".tmp"));
}

void write_all(int file, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t put = ::write(file, content.data(), content.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw failed("write", errno, path);
    content.remove_prefix(static_cast<std::size_t>(put));
  }
}

// Some file systems cannot sync a folder; what was renamed is whole there all the same.
void sync_folder(const std::string& folder) {
  const Descriptor file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.get() >= 0) ::fsync(file.get());
}

std::atomic<bool> stop{false};
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void on_stop_signal(int number) {
  if (stop.exchange(true)) {
    std::signal(number, SIG_DFL);
    ::raise(number);
  }
}

}  // namespace

std::string read_file(const std::string& path, std::uint64_t limit) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) throw failed("open", errno, path);
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) throw failed("read", errno, path);
  const auto too_long = [&](const std::string& size) {
    return io_error(cat("the file has ", size, " bytes, more than the ", limit, " allowed here"), path);
  };
  const bool regular = S_ISREG(status.st_mode);
  const auto expected = regular ? static_cast<std::uint64_t>(status.st_size) : 0;
  if (expected > limit) throw too_long(cat(expected));
  std::string content(static_cast<std::size_t>(expected), '\0');
  std::size_t used = 0;
  for (;;) {
    // One byte past the expected end tells a file that has grown (or a pipe) from one that is complete.
    if (used == content.size()) content.resize(used + (used == expected && regular ? 1 : 65536));
    const ssize_t got = ::read(file.get(), content.data() + used, content.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw failed("read", errno, path);
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
    if (used > limit) throw too_long(cat("at least ", used));
  }
  content.resize(used);
  return content;
}

bool exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool is_folder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

std::uint64_t file_size(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) throw failed("read", errno, path);
  return static_cast<std::uint64_t>(status.st_size);
}

std::vector<std::string> list_folder(const std::string& path) {
  std::error_code error;
  std::vector<std::string> names;
  fs::directory_iterator entry(path, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) throw failed("list", error.value(), path);
  std::sort(names.begin(), names.end());
  return names;
}

std::string file_name(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const std::size_t slash = path.rfind('/');
  return std::string(slash == std::string_view::npos || path.size() == 1 ? path : path.substr(slash + 1));
}

std::string parent_folder(std::string_view path) {
  const auto strip = [](std::string_view text) {
    while (text.size() > 1 && text.back() == '/') text.remove_suffix(1);
    return text;
  };
  path = strip(path);
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(slash == 0 ? "/" : strip(path.substr(0, slash)));
}

std::string join_path(std::string_view folder, std::string_view name) {
  if (folder.empty() || (!name.empty() && name.front() == '/')) return std::string(name);
  std::string path(folder);
  if (path.back() != '/' && !name.empty()) path += '/';
  return path += name;
}

std::string canonical(const std::string& path) {
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error);
  if (error) throw failed("resolve", error.value(), path);
  const fs::path whole = fs::weakly_canonical(absolute, error);
  if (error) throw failed("resolve", error.value(), path);
  std::string text = whole.string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  const bool same = fs::equivalent(a, b, error);
  return !error && same;
}

void make_folders(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw io_error("cannot make the folder: " + errno_text(error.value()), path);
  if (!is_folder(path)) throw io_error("cannot make the folder: " + errno_text(EEXIST), path);
}

void remove_all(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) throw failed("remove", error.value(), path);
}

void remove_at_once(const std::string& path) {
  const std::string aside = scratch_sibling(path);
  remove_all(aside);  // of a process of our number that was killed here
  if (::rename(path.c_str(), aside.c_str()) == 0) return remove_all(aside);
  if (errno != ENOENT) throw failed("remove", errno, path);
}

void copy_file(const std::string& from, const std::string& to) {
  const std::string sibling = scratch_sibling(to);
  Scratch scratch(sibling);
  std::error_code error;
  if (!exists(from)) throw missing_file(from);
  fs::copy_file(from, sibling, error);
  if (error) throw io_error(cat("cannot copy ", from, ": ", errno_text(error.value())), to);
  rename_path(sibling, to);
  scratch.keep();
}

void rename_path(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    const int code = errno;
    if (code == ENOENT && !exists(from)) throw missing_file(from);
    throw io_error(cat("cannot rename ", from, ": ", errno_text(code)), to);
  }
  sync_folder(parent_folder(to));
}

void write_atomically(const std::string& path, std::string_view content) {
  struct stat status{};
  const bool there = ::stat(path.c_str(), &status) == 0;
  if (there && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {  // a pipe or a device, such as /dev/stdout
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (file.get() < 0) throw failed("open", errno, path);
    write_all(file.get(), content, path);
    return;
  }
  const std::string target = there ? canonical(path) : path;  // through a link, which stays one
  const std::string sibling = scratch_sibling(target);
  Descriptor file(::open(sibling.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (file.get() < 0) {
    const int code = errno;
    throw io_error("cannot create: " + errno_text(code), path);
  }
  Scratch scratch(sibling);
  write_all(file.get(), content, path);
  if (::fsync(file.get()) != 0) throw failed("write", errno, path);
  if (file.close() != 0) throw failed("write", errno, path);
  if (::rename(sibling.c_str(), target.c_str()) != 0) throw failed("replace", errno, path);
  scratch.keep();
  sync_folder(parent_folder(target));
}

Error missing_file(const std::string& path) {
  std::string missing = path;
  while (parent_folder(missing) != missing && !exists(parent_folder(missing))) missing = parent_folder(missing);
  const std::string folder = parent_folder(missing);
  std::string hint;
  if (is_folder(folder)) {
    std::vector<std::string> names;
    try {
      names = list_folder(folder);
    } catch (const Error&) {  // an unreadable folder has no names to offer
    }
    const std::string name = nearest(file_name(missing), names);
    const bool bare = missing.find('/') == std::string::npos;
    if (!name.empty()) hint = cat("did you mean ", bare ? name : join_path(folder, name), "?");
  }
  return io_error(path + ": no such file", "", hint);
}

TemporaryFolder::TemporaryFolder(std::string_view prefix) {
  const char* variable = std::getenv("TMPDIR");
  const std::string root = variable != nullptr && *variable != '\0' ? variable : "/tmp";
  path_ = join_path(root, cat(prefix, "-XXXXXX"));
  if (::mkdtemp(path_.data()) == nullptr) {
    const int code = errno;
    throw io_error("cannot make a temporary folder: " + errno_text(code), root, "set TMPDIR to a folder with room");
  }
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void install_stop_signals() {
  for (const int number : {SIGINT, SIGTERM}) {
    struct sigaction action{};
    // A job that was started with the signal ignored (nohup, a shell's background) keeps ignoring it.
    if (::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) continue;
    action = {};
    action.sa_handler = on_stop_signal;
    action.sa_flags = SA_RESTART;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(number, &action, nullptr);
  }
}

bool stop_requested() { return stop.load(std::memory_order_relaxed); }

void request_stop(bool value) { stop.store(value); }

void throw_if_stopped() {
  if (stop_requested()) throw Error(ErrorKind::kInterrupted, "stopped by a signal", "", "the same command continues");
}

}  // namespace solera
