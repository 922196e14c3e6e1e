#include "solera/base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"

extern char** environ;

namespace solera {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kOutputLimit = 16u << 20;
constexpr std::size_t kErrorsLimit = 64u << 10;
constexpr int kTickMilliseconds = 100;  // how late a stop or a time-out may be seen

class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  int get() const { return number_; }
  bool is_open() const { return number_ >= 0; }
  void close() {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }

 private:
  int number_;
};

struct Pipe {
  Descriptor read, write;
};

Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw io_error(cat("cannot make a pipe (", errno_text(errno), ")"));
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

// Everything the child needs, made before fork: between fork and exec only async-signal-safe calls are allowed.
struct Image {
  std::string program;
  std::vector<std::string> argv, environment;
  std::vector<char*> argv_pointers, script_pointers, environment_pointers;
  std::string folder;
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

std::string find_program(const std::string& name, const std::string& path) {
  if (name.find('/') != std::string::npos) return name;
  for (const std::string& folder : split(path, ':')) {
    std::string candidate = join_path(folder.empty() ? "." : folder, name);
    if (access(candidate.c_str(), X_OK) == 0 && !is_folder(candidate)) return candidate;
  }
  throw io_error(cat("cannot run \"", name, "\": no such program in PATH"));
}

std::unique_ptr<Image> prepare(const Command& command) {
  auto image = std::make_unique<Image>();
  std::map<std::string, std::string> variables = command.environment;
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos)
      variables.emplace(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
  }
  for (const auto& [name, value] : variables) image->environment.push_back(name + "=" + value);
  image->argv = command.shell.empty() ? command.argv : std::vector<std::string>{"/bin/sh", "-c", command.shell};
  if (image->argv.empty()) throw usage_error("an empty command");
  const auto path = variables.find("PATH");
  image->program = find_program(image->argv[0], path == variables.end() ? "/usr/bin:/bin" : path->second);
  image->folder = command.folder;
  image->argv_pointers = pointers(image->argv);
  image->environment_pointers = pointers(image->environment);
  // A script without "#!" is run by the shell, as execvp does: sh PROGRAM ARGUMENTS...
  static char shell[] = "/bin/sh";
  image->script_pointers = image->argv_pointers;
  image->script_pointers[0] = image->program.data();
  image->script_pointers.insert(image->script_pointers.begin(), shell);
  return image;
}

void close_on_exec_from(int first) {
#ifdef SYS_close_range
  constexpr unsigned kCloseOnExec = 4;  // CLOSE_RANGE_CLOEXEC, newer than some headers
  if (syscall(SYS_close_range, static_cast<unsigned>(first), ~0u, kCloseOnExec) == 0) return;
#endif
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const int last = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 65536));
  for (int fd = first; fd < last; ++fd) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

// In the child. Returns only through exec; a failure is reported through `report`.
[[noreturn]] void become(const Image& image, int output, int errors, int report, pid_t parent) {
  const auto fail = [&] {
    const int code = errno;
    [[maybe_unused]] const ssize_t written = write(report, &code, sizeof code);
    _exit(127);
  };
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int input = open("/dev/null", O_RDONLY);
  if (input < 0 || dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(errors, 2) < 0) fail();
  close_on_exec_from(3);
  if (!image.folder.empty() && chdir(image.folder.c_str()) != 0) fail();
  execve(image.program.c_str(), image.argv_pointers.data(), image.environment_pointers.data());
  if (errno == ENOEXEC) execve("/bin/sh", image.script_pointers.data(), image.environment_pointers.data());
  fail();
  _exit(127);
}

// A descriptor that dup2 onto 0, 1 and 2 cannot overwrite, also when ours were closed.
Descriptor above_standard(Descriptor descriptor) {
  if (descriptor.get() > 2) return descriptor;
  Descriptor moved(fcntl(descriptor.get(), F_DUPFD_CLOEXEC, 3));
  if (!moved.is_open()) throw io_error(cat("cannot make a pipe (", errno_text(errno), ")"));
  return moved;
}

// A child that is ended and reaped whatever happens to us.
class Child {
 public:
  explicit Child(const Command& command) {
    const std::unique_ptr<Image> image = prepare(command);
    Pipe out = make_pipe(), err = make_pipe(), report = make_pipe();
    for (Descriptor* end : {&out.write, &err.write, &report.write}) *end = above_standard(std::move(*end));
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ < 0) throw io_error(cat("cannot start \"", image->argv[0], "\" (", errno_text(errno), ")"));
    if (pid_ == 0) become(*image, out.write.get(), err.write.get(), report.write.get(), parent);
    setpgid(pid_, pid_);  // whichever of us is first
    for (Descriptor* end : {&out.write, &err.write, &report.write}) end->close();
    int code = 0;
    ssize_t got;
    do got = read(report.read.get(), &code, sizeof code);
    while (got < 0 && errno == EINTR);
    if (got == static_cast<ssize_t>(sizeof code)) {
      reap();
      const bool folder = !image->folder.empty() && !is_folder(image->folder);
      throw io_error(cat("cannot run \"", image->argv[0], "\" (", errno_text(code), ")"), folder ? image->folder : "");
    }
    output = std::move(out.read);
    errors = std::move(err.read);
    for (const Descriptor* end : {&output, &errors}) fcntl(end->get(), F_SETFL, O_NONBLOCK);
  }

  ~Child() {
    if (pid_ <= 0) return;
    signal_group(SIGKILL);
    reap();
  }

  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void signal_group(int signal) const { kill(-pid_, signal); }

  // Without reaping, so that the number of the group cannot be given to strangers.
  bool has_ended() const {
    siginfo_t info{};
    return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_;
  }

  int reap() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

  // Readable when the child ends; closed where the kernel has no such thing.
  Descriptor end_signal() const {
#ifdef SYS_pidfd_open
    return Descriptor(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
#else
    return Descriptor();
#endif
  }

  Descriptor output, errors;

 private:
  pid_t pid_ = 0;
};

// Moves what is there into `text`, of which the last `limit` bytes are kept, but no more than a few MiB, so that a
// child that never pauses cannot keep us from looking at the clock. Closes the descriptor at its end.
void drain(Descriptor& from, std::string& text, std::size_t limit, bool echo) {
  char buffer[65536];
  for (int reads = 0; from.is_open() && reads < 64; ++reads) {
    const ssize_t got = read(from.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      from.close();
      return;
    }
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > 2 * limit) text.erase(0, text.size() - limit);
    for (ssize_t done = 0; echo && done < got;) {
      const ssize_t written = write(STDERR_FILENO, buffer + done, static_cast<std::size_t>(got - done));
      if (written < 0 && errno != EINTR) break;
      done += std::max<ssize_t>(written, 0);
    }
  }
}

void keep_last(std::string& text, std::size_t limit) {
  if (text.size() > limit) text.erase(0, text.size() - limit);
}

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

}  // namespace

Outcome run(const Command& command) {
  throw_if_stopped();
  const Clock::time_point begin = Clock::now();
  Outcome outcome;
  Child child(command);
  const Descriptor end_signal = child.end_signal();
  std::optional<Clock::time_point> told_to_end;
  bool stopped = false;
  while (!child.has_ended()) {
    if (told_to_end) {
      if (seconds_since(*told_to_end) >= command.grace_seconds) child.signal_group(SIGKILL);
    } else {
      stopped = stop_requested();
      outcome.timed_out = !stopped && command.timeout_seconds > 0 && seconds_since(begin) >= command.timeout_seconds;
      if (stopped || outcome.timed_out) {
        told_to_end = Clock::now();
        child.signal_group(SIGTERM);
        child.signal_group(SIGCONT);  // a stopped process would never see it
      }
    }
    // Closed descriptors are -1, which poll ignores. Without an end signal a short tick looks for the end.
    pollfd waiting[3] = {
        {child.output.get(), POLLIN, 0}, {child.errors.get(), POLLIN, 0}, {end_signal.get(), POLLIN, 0}};
    poll(waiting, 3, end_signal.is_open() ? kTickMilliseconds : kTickMilliseconds / 10);
    drain(child.output, outcome.output, kOutputLimit, command.echo);
    drain(child.errors, outcome.errors, kErrorsLimit, command.echo);
  }
  child.signal_group(SIGKILL);
  drain(child.output, outcome.output, kOutputLimit, command.echo);
  drain(child.errors, outcome.errors, kErrorsLimit, command.echo);
  outcome.status = child.reap();
  outcome.seconds = seconds_since(begin);
  keep_last(outcome.output, kOutputLimit);
  keep_last(outcome.errors, kErrorsLimit);
  if (stopped) throw_if_stopped();
  return outcome;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace solera
