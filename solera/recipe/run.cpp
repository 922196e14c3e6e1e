#include "solera/recipe/run.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/recipe/make.h"

namespace solera::recipe {

namespace {

bool contains(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// One run at a time: the kernel lets go when the process ends, however it ends.
class FolderLock {
 public:
  explicit FolderLock(const std::string& folder) {
    const std::string path = join_path(folder, ".lock");
    file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file_ < 0) throw io_error(cat("cannot open: ", errno_text(errno)), path);
    if (::flock(file_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;  // else the file system has no locks
    ::close(file_);
    throw io_error(cat("another run is working in ", folder), "", "wait for it, or give another folder with --output");
  }
  ~FolderLock() { ::close(file_); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int file_ = -1;
};

enum class State { kWaiting, kRunning, kDone, kFailed, kSkipped };

class Runner {
 public:
  Runner(const Recipe& recipe, const RunOptions& options, Progress& progress)
      : recipe_(recipe),
        options_(options),
        progress_(progress),
        instances_(expand(recipe)),
        scene_{recipe, instances_, options.out, options.programs},
        maker_(scene_),
        states_(instances_.size()),
        digests_(instances_.size()),
        results_(instances_.size()),
        failures_(instances_.size()) {
    choose();
  }

  RunReport run() {
    const auto wanted = std::count(states_.begin(), states_.end(), State::kWaiting);
    progress_.begin(recipe_.name, static_cast<std::uint64_t>(wanted), "steps");
    const auto jobs = std::min<std::ptrdiff_t>(options_.jobs > 0 ? options_.jobs : hardware_threads(), wanted);
    std::vector<std::thread> threads;
    for (std::ptrdiff_t job = 0; job < jobs; ++job) threads.emplace_back([this] { work(); });
    for (std::thread& thread : threads) thread.join();
    progress_.end();
    if (interrupted_)
      throw Error(ErrorKind::kInterrupted, "interrupted",
                  cat(std::count(states_.begin(), states_.end(), State::kDone), " of ", wanted, " steps are done"));
    report_failures();
    return {std::move(instances_), std::move(results_)};
  }

 private:
  // With --only, the steps named and all that they need.
  void choose() {
    require_steps(options_.only);
    for (const std::string& name : options_.rerun)
      if (name != "all") require_steps({name});
    if (options_.only.empty()) return;
    std::vector<bool> wanted(instances_.size());
    for (std::size_t i = instances_.size(); i-- > 0;) {
      wanted[i] = wanted[i] || contains(options_.only, scene_.step_of(i).name);
      if (!wanted[i]) states_[i] = State::kSkipped;
      if (wanted[i])
        for (const std::size_t need : instances_[i].needs) wanted[need] = true;
    }
  }

  void require_steps(const std::vector<std::string>& names) const {
    std::vector<std::string> known;
    for (const Step& step : recipe_.steps) known.push_back(step.name);
    for (const std::string& name : names)
      if (!contains(known, name))
        throw usage_error(cat("recipe ", recipe_.name, " has no step ", name), "", did_you_mean(name, known));
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      const std::optional<std::size_t> next = next_ready();
      if (interrupted_ || (!next && !contains_state(State::kWaiting))) return;
      if (!next) {
        changed_.wait(lock);
        continue;
      }
      states_[*next] = State::kRunning;
      lock.unlock();
      std::optional<Error> error = attempt(*next);
      lock.lock();
      states_[*next] = error ? State::kFailed : State::kDone;
      interrupted_ = interrupted_ || (error && error->kind() == ErrorKind::kInterrupted);
      failures_[*next] = std::move(error);
      changed_.notify_all();
    }
  }

  bool contains_state(State state) const { return std::find(states_.begin(), states_.end(), state) != states_.end(); }

  // The first instance that may run now. Needed ones come before those that need them, so one look is enough to give up
  // all that depends on a failure.
  std::optional<std::size_t> next_ready() {
    for (std::size_t i = 0; i < instances_.size(); ++i) {
      if (states_[i] != State::kWaiting) continue;
      bool ready = true;
      for (const std::size_t need : instances_[i].needs) {
        ready = ready && states_[need] == State::kDone;
        if (states_[need] == State::kFailed || states_[need] == State::kSkipped) states_[i] = State::kSkipped;
      }
      if (ready) return i;
    }
    return std::nullopt;
  }

  std::optional<Error> attempt(std::size_t i) {
    try {
      throw_if_stopped();
      bring(i);
      return std::nullopt;
    } catch (const Error& error) {
      return error;
    } catch (const std::exception& error) {
      return internal_error(cat(error.what(), " in step ", instances_[i].label));
    }
  }

  void bring(std::size_t i) {
    const Keys keys = maker_.keys_of(i, digests_);
    const std::string& name = scene_.step_of(i).name;
    const bool asked = contains(options_.rerun, "all") || contains(options_.rerun, name);
    const std::string why = asked ? "--rerun asks for it" : maker_.reason(i, keys);
    if (!why.empty() && options_.explain) progress_.note(cat(instances_[i].label, " runs: ", why));
    Made made = why.empty() ? maker_.load(i) : maker_.make(i, keys);
    digests_[i] = std::move(made.digest);
    results_[i] = {.done = true, .cached = made.cached, .seconds = made.seconds, .result = std::move(made.result)};
    progress_.advance(1);
    if (!made.cached) progress_.note(cat(instances_[i].label, "  ", duration_text(made.seconds)));
  }

  // The first in the recipe's order is thrown, whichever was first in time.
  void report_failures() {
    const auto failed = [](const std::optional<Error>& error) { return error.has_value(); };
    const auto first = std::find_if(failures_.begin(), failures_.end(), failed);
    if (first == failures_.end()) return;
    for (auto other = first + 1; other != failures_.end(); ++other)
      if (*other) progress_.warn((*other)->what());
    throw Error(**first);
  }

  const Recipe& recipe_;
  const RunOptions& options_;
  Progress& progress_;
  std::vector<Instance> instances_;  // this and the rest: entries of an instance belong to the thread that makes it
  const Scene scene_;
  Maker maker_;
  std::mutex mutex_;  // of states_, failures_ and interrupted_; digests_ of instances that are kDone are read freely
  std::condition_variable changed_;
  std::vector<State> states_;
  std::vector<std::string> digests_;
  std::vector<StepResult> results_;
  std::vector<std::optional<Error>> failures_;
  bool interrupted_ = false;
};

}  // namespace

RunReport run_steps(const Recipe& recipe, const RunOptions& options, Progress& progress) {
  make_folders(options.out);
  const FolderLock lock(options.out);
  return Runner(recipe, options, progress).run();
}

}  // namespace solera::recipe
