#include "solera/base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"

extern char** environ;

namespace solera {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kOutputCap = 16u << 20, kErrorCap = 64u << 10;
constexpr int kPollMilliseconds = 100;
constexpr auto kGrace = std::chrono::seconds(5);  // from SIGTERM to SIGKILL

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw io_error(cat("cannot make a pipe: ", errno_text(errno)));
    read = ends[0];
    write = ends[1];
  }
  ~Pipe() {
    close_read();
    close_write();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_read() { close_end(read); }
  void close_write() { close_end(write); }
  static void close_end(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
  }
};

std::vector<std::string> words(const Command& command) {
  if (!command.argv.empty()) return command.argv;
  if (trim(command.shell).empty()) throw usage_error("an empty command");
  return {"/bin/sh", "-c", command.shell};
}

std::string shown(const Command& command) { return command.argv.empty() ? command.shell : join(command.argv, " "); }

std::vector<std::string> environment_of(const Command& command) {
  std::vector<std::string> list;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    if (command.environment.count(text.substr(0, text.find('='))) == 0) list.push_back(text);
  }
  for (const auto& [name, value] : command.environment) list.push_back(name + "=" + value);
  return list;
}

std::vector<char*> pointers(const std::vector<std::string>& list) {
  std::vector<char*> result;
  for (const std::string& text : list) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

// Where execvpe would find the program: PATH is searched before the fork, since only simple calls are safe after it.
std::string program_path(const std::string& name, const Command& command) {
  if (name.find('/') != std::string::npos) return name;
  const auto given = command.environment.find("PATH");
  const char* inherited = ::getenv("PATH");
  for (const std::string& folder : split(given != command.environment.end() ? given->second
                                         : inherited                        ? inherited
                                                                            : "",
                                         ':')) {
    const std::string path = join_path(folder.empty() ? "." : folder, name);
    if (::access(path.c_str(), X_OK) == 0 && !is_folder(path)) return path;
  }
  throw io_error(cat("cannot start ", name, ": no such program"), "", "give a path, or install it");
}

// Between fork and exec: system calls only. What fails is told through `report`.
[[noreturn]] void become(const std::string& program, char* const* argv, char* const* environment,
                         const std::string& folder, int input, int output, int errors, int report, pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  bool ready = ::getppid() == parent;  // it may have died before prctl
  for (const int signal : {SIGINT, SIGTERM, SIGPIPE, SIGHUP, SIGCHLD, SIGQUIT}) ::signal(signal, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ready = ready && ::dup2(input, 0) >= 0 && ::dup2(output, 1) >= 0 && ::dup2(errors, 2) >= 0;
  ready = ready && (folder.empty() || ::chdir(folder.c_str()) == 0);
#ifdef SYS_close_range
  if (ready) ::syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */);
#endif
  if (ready) ::execve(program.c_str(), argv, environment);
  const int code = errno;
  [[maybe_unused]] const ssize_t told = ::write(report, &code, sizeof code);
  ::_exit(127);
}

void append_capped(std::string& text, const char* bytes, std::size_t count, std::size_t cap) {
  text.append(bytes, count);
  if (text.size() > 2 * cap) text.erase(0, text.size() - cap);
}

// One child from its start to its end; the group never outlives this object.
class Child {
 public:
  explicit Child(const Command& command) : command_(command) {
    const auto argv = words(command), environment = environment_of(command);
    const std::string program = program_path(argv[0], command);
    const auto argv_pointers = pointers(argv), environment_pointers = pointers(environment);
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0) throw io_error(cat("cannot open /dev/null: ", errno_text(errno)));
    Pipe report;
    const pid_t parent = ::getpid();
    id_ = ::fork();
    if (id_ == 0)
      become(program, argv_pointers.data(), environment_pointers.data(), command.folder, null, output_.write,
             errors_.write, report.write, parent);
    const int code = errno;
    ::close(null);
    if (id_ < 0) throw io_error(cat("cannot start ", argv[0], ": ", errno_text(code)));
    ::setpgid(id_, id_);  // also here: whoever runs first does it
    report.close_write();
    output_.close_write();
    errors_.close_write();
    int failure = 0;
    ssize_t count = 0;
    do count = ::read(report.read, &failure, sizeof failure);
    while (count < 0 && errno == EINTR);
    if (count == sizeof failure) {
      reap();
      throw io_error(cat("cannot start ", argv[0], ": ", errno_text(failure)), command.folder);
    }
  }

  ~Child() {
    if (id_ > 0) {
      ::kill(-id_, SIGKILL);
      reap();
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  Outcome finish() {
    Outcome outcome;
    while (output_.read >= 0 || errors_.read >= 0 || !ended()) {
      if (ended() && Clock::now() > ended_at_ + kGrace) break;  // a grandchild keeps the pipes open
      pump(outcome);
      if (stop_requested()) {
        end_group();
        throw Error(ErrorKind::kInterrupted, "interrupted", shown(command_));
      }
      const std::chrono::duration<double> elapsed = Clock::now() - started_;
      if (command_.timeout_seconds > 0 && elapsed.count() > command_.timeout_seconds && !ended()) {
        outcome.timed_out = true;
        end_group();
        break;
      }
    }
    outcome.seconds = std::chrono::duration<double>(Clock::now() - started_).count();
    outcome.status = WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_);
    trim_front(outcome.output, kOutputCap);
    trim_front(outcome.errors, kErrorCap);
    return outcome;
  }

 private:
  static void trim_front(std::string& text, std::size_t cap) {
    if (text.size() > cap) text.erase(0, text.size() - cap);
  }

  bool ended() {
    if (id_ <= 0) return true;
    int status = 0;
    if (::waitpid(id_, &status, WNOHANG) != id_) return false;
    status_ = status;
    id_ = -1;
    ended_at_ = Clock::now();
    return true;
  }

  void reap() {
    while (::waitpid(id_, &status_, 0) < 0 && errno == EINTR) {
    }
    id_ = -1;
    ended_at_ = Clock::now();
  }

  void end_group() {
    if (id_ <= 0) return;
    const pid_t group = id_;
    ::kill(-group, SIGTERM);
    const auto deadline = Clock::now() + kGrace;
    while (Clock::now() < deadline && !ended()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ::kill(-group, SIGKILL);  // what is left of it
    if (id_ > 0) reap();
  }

  // Waits a little for output and takes what is there.
  void pump(Outcome& outcome) {
    pollfd waiting[2] = {{output_.read, POLLIN, 0}, {errors_.read, POLLIN, 0}};
    // Once both pipes are closed only the end is awaited; it comes within moments.
    const bool closed = output_.read < 0 && errors_.read < 0;
    if (::poll(waiting, 2, closed ? 1 : kPollMilliseconds) <= 0) return;
    take(waiting[0], output_, outcome.output, kOutputCap);
    take(waiting[1], errors_, outcome.errors, kErrorCap);
  }

  void take(const pollfd& ready, Pipe& pipe, std::string& text, std::size_t cap) {
    if (pipe.read < 0 || ready.revents == 0) return;
    char bytes[1 << 16];
    const ssize_t count = ::read(pipe.read, bytes, sizeof bytes);
    if (count > 0) {
      append_capped(text, bytes, static_cast<std::size_t>(count), cap);
      if (command_.echo) {
        [[maybe_unused]] const ssize_t shown_bytes = ::write(2, bytes, static_cast<std::size_t>(count));
      }
    } else if (count == 0 || errno != EINTR) {
      pipe.close_read();
    }
  }

  const Command& command_;
  Pipe output_, errors_;
  pid_t id_ = -1;
  int status_ = 0;
  const Clock::time_point started_ = Clock::now();
  Clock::time_point ended_at_;
};

}  // namespace

Outcome run(const Command& command) { return Child(command).finish(); }

std::string fill_placeholders(std::string_view text, const std::map<std::string, std::string>& values, bool quote) {
  std::string filled;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
      filled += c;
      ++i;
      continue;
    }
    const std::size_t end = c == '{' ? text.find('}', i) : std::string_view::npos;
    if (end == std::string_view::npos) {
      filled += c;
      continue;
    }
    const std::string name(text.substr(i + 1, end - i - 1));
    const auto value = values.find(name);
    if (value == values.end()) {
      std::vector<std::string> known;
      for (const auto& [key, unused] : values) known.push_back("{" + key + "}");
      throw usage_error(
          cat("unknown placeholder {", name, "}"), std::string(text),
          known.empty() ? "write {{ for a brace" : cat("known: ", join(known, ", "), "; write {{ for a brace"));
    }
    filled += quote ? shell_quote(value->second) : value->second;
    i = end;
  }
  return filled;
}

}  // namespace solera
