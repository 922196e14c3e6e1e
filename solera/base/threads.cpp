#include "solera/base/threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <fstream>
#include <limits>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera {
namespace {

using Body = std::function<void(std::int64_t, int)>;

// One call of for_each, on its caller's stack. `helpers`, `failed` and `error` are guarded by the pool's mutex.
struct Loop {
  const Body& body;
  const std::int64_t count;
  const Loop* const parent;  // the loop whose body started this one
  std::atomic<std::int64_t> next{0};
  int helpers = 0;
  std::int64_t failed = std::numeric_limits<std::int64_t>::max();
  std::exception_ptr error;

  bool open() const { return next.load(std::memory_order_relaxed) < count; }
  bool inside(const Loop& outer) const {
    for (const Loop* loop = parent; loop; loop = loop->parent)
      if (loop == &outer) return true;
    return false;
  }
};

// What this thread is running, innermost first; a body of one pool may use another pool.
struct Frame {
  const void* pool;
  int worker;
  const Loop* loop;
  Frame* outer;
};
thread_local Frame* innermost = nullptr;

const Frame* frame_of(const void* pool) {
  const Frame* frame = innermost;
  while (frame && frame->pool != pool) frame = frame->outer;
  return frame;
}

class Entered {
 public:
  explicit Entered(Frame frame) : frame_(frame) { innermost = &frame_; }
  ~Entered() { innermost = frame_.outer; }
  Entered(const Entered&) = delete;
  Entered& operator=(const Entered&) = delete;

 private:
  Frame frame_;
};

}  // namespace

struct Pool::Shared {
  using Lock = std::unique_lock<std::mutex>;

  std::mutex mutex;
  std::condition_variable work;     // pool threads: a loop was published, or stop
  std::condition_variable changed;  // callers: a loop was published or finished, or number 0 is free
  std::vector<Loop*> loops;         // published, oldest first
  int sleepers = 0, waiters = 0;
  bool guest = false;  // a thread from outside has number 0
  bool stopping = false;
  std::vector<std::thread> threads;

  int size() const { return static_cast<int>(threads.size()) + 1; }

  void run_bodies(Loop& loop, int worker) {
    const Entered entered({this, worker, &loop, innermost});
    for (;;) {
      const std::int64_t index = loop.next.fetch_add(1, std::memory_order_relaxed);
      if (index >= loop.count) return;
      try {
        loop.body(index, worker);
      } catch (...) {
        const Lock lock(mutex);
        loop.next.store(loop.count, std::memory_order_relaxed);
        if (index < loop.failed) {
          loop.failed = index;
          loop.error = std::current_exception();
        }
      }
    }
  }

  template <class Condition>
  Loop* newest(Condition condition) const {
    const auto found =
        std::find_if(loops.rbegin(), loops.rend(), [&](const Loop* loop) { return loop->open() && condition(*loop); });
    return found == loops.rend() ? nullptr : *found;
  }

  void help(Loop& loop, int worker, Lock& lock) {
    ++loop.helpers;
    lock.unlock();
    run_bodies(loop, worker);
    lock.lock();
    if (--loop.helpers == 0 && waiters > 0) changed.notify_all();
  }

  void publish(Loop& loop, std::int64_t wanted) {
    loops.push_back(&loop);
    for (std::int64_t i = std::min<std::int64_t>(wanted, sleepers); i > 0; --i) work.notify_one();
    if (waiters > 0) changed.notify_all();
  }

  void wait(Lock& lock) {
    ++waiters;
    changed.wait(lock);
    --waiters;
  }

  // Takes the loop's remaining indices, then waits for its helpers.
  void finish(Loop& loop, int worker, Lock& lock) {
    lock.unlock();
    run_bodies(loop, worker);
    lock.lock();
    while (loop.helpers > 0) {
      if (Loop* inner = newest([&](const Loop& other) { return other.inside(loop); })) {
        help(*inner, worker, lock);
      } else {
        wait(lock);
      }
    }
    std::erase(loops, &loop);
  }

  void run_as_guest(Loop& loop, Lock& lock) {
    guest = true;
    finish(loop, 0, lock);
    guest = false;
    if (waiters > 0) changed.notify_all();
  }

  void serve(int worker) {
    Lock lock(mutex);
    for (;;) {
      if (Loop* loop = newest([](const Loop&) { return true; })) {
        help(*loop, worker, lock);
      } else if (stopping) {
        return;
      } else {
        ++sleepers;
        work.wait(lock);
        --sleepers;
      }
    }
  }

  void stop() {
    {
      const Lock lock(mutex);
      stopping = true;
      work.notify_all();
    }
    for (std::thread& thread : threads) thread.join();
  }
};

Pool::Pool(int threads) : shared_(std::make_unique<Shared>()) {
  if (threads < 1) throw usage_error(cat("a pool of ", threads, " threads; at least 1 is needed"));
  shared_->threads.reserve(static_cast<std::size_t>(threads) - 1);
  try {
    for (int worker = 1; worker < threads; ++worker)
      shared_->threads.emplace_back([shared = shared_.get(), worker] { shared->serve(worker); });
  } catch (const std::system_error& error) {
    shared_->stop();
    throw io_error(cat("cannot start ", threads, " threads (", error.code().message(), ")"));
  }
}

Pool::~Pool() { shared_->stop(); }

int Pool::size() const { return shared_->size(); }

void Pool::for_each(std::int64_t count, const Body& body) {
  if (count <= 0) return;
  Shared& shared = *shared_;
  const Frame* frame = frame_of(&shared);
  if (frame && (count == 1 || shared.size() == 1)) {
    for (std::int64_t index = 0; index < count; ++index) body(index, frame->worker);
    return;
  }
  Loop loop{.body = body, .count = count, .parent = frame ? frame->loop : nullptr};
  {
    Shared::Lock lock(shared.mutex);
    if (frame) {
      shared.publish(loop, count - 1);
      shared.finish(loop, frame->worker, lock);
    } else {
      shared.publish(loop, shared.guest ? count : count - 1);
      while (shared.guest && (loop.open() || loop.helpers > 0)) shared.wait(lock);
      if (loop.open() || loop.helpers > 0) {
        shared.run_as_guest(loop, lock);
      } else {
        std::erase(shared.loops, &loop);
      }
    }
  }
  if (loop.error) std::rethrow_exception(loop.error);
}

namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

double ratio_or_infinity(std::optional<double> quota, std::optional<double> period) {
  return quota && period && *quota > 0 && *period > 0 ? *quota / *period : std::numeric_limits<double>::infinity();
}

double group_quota(const std::string& folder, bool v2) {
  if (v2) {
    const std::vector<std::string> words = split(first_line(folder + "/cpu.max"), ' ');
    return words.size() == 2 ? ratio_or_infinity(parse_double(words[0]), parse_double(words[1]))
                             : std::numeric_limits<double>::infinity();
  }
  return ratio_or_infinity(parse_double(first_line(folder + "/cpu.cfs_quota_us")),
                           parse_double(first_line(folder + "/cpu.cfs_period_us")));
}

}  // namespace

double cpu_quota(const std::string& root) {
  double quota = std::numeric_limits<double>::infinity();
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    // "ID:CONTROLLERS:PATH"; version 2 is the line without controllers.
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::vector<std::string> names = split(controllers, ',');
    const bool v2 = controllers.empty();
    if (!v2 && std::find(names.begin(), names.end(), "cpu") == names.end()) continue;
    std::vector<std::string> mounts;
    if (v2) {
      mounts = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    } else {
      mounts = {"/sys/fs/cgroup/" + controllers, "/sys/fs/cgroup/cpu"};
    }
    // Every ancestor limits; inside a container the path may name a folder that only the host has.
    std::string path = line.substr(second + 1);
    for (;;) {
      while (!path.empty() && path.back() == '/') path.pop_back();
      for (const std::string& mount : mounts) quota = std::min(quota, group_quota(root + mount + path, v2));
      if (path.empty()) break;
      path.resize(std::min(path.rfind('/'), path.size() - 1));
    }
  }
  return quota;
}

int hardware_threads() {
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  for (std::size_t cpus = 1024; cpus <= 1024 * 1024; cpus *= 4) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (!set) break;
    const int failed = sched_getaffinity(0, CPU_ALLOC_SIZE(cpus), set);
    if (failed == 0) threads = CPU_COUNT_S(CPU_ALLOC_SIZE(cpus), set);
    CPU_FREE(set);
    if (failed == 0) break;
  }
  const double quota = cpu_quota();
  if (quota < threads) threads = static_cast<int>(std::ceil(quota));
  return std::max(threads, 1);
}

}  // namespace solera
