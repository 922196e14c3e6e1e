// A pool of worker threads with one operation: run a function for every index, nested if need be.
//
//   pool.for_each(tensors.size(), [&](int64_t t, int worker) { ... pool.for_each(chunks, ...) ... });
//
// The caller takes part. A thread that finds no index left in one loop helps any other loop that is running, the
// newest first, so small and large tensors keep all threads busy; a caller that waits for the last bodies of its loop
// helps only loops started inside them, so no body is ever entered on top of a sibling. `worker` is in [0, size()); a
// thread keeps its number through nested loops, so scratch memory indexed by it is never shared, but an outer body
// must not hold the scratch that its inner loop uses. Indices start in ascending order; nothing else about the order
// is promised.
//
// Errors: the exception of the lowest failing index is rethrown in the caller once all running bodies of that loop
// have returned; indices not yet started are dropped. Thread-safe; loops may be started from several threads: one of
// them takes part as a worker, the others wait for the pool's threads. A body may use another pool as long as no body
// of that one comes back to the first.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace solera {

class Pool {
 public:
  explicit Pool(int threads);  // threads >= 1, the caller included: Pool(1) starts none
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int size() const;
  void for_each(std::int64_t count, const std::function<void(std::int64_t index, int worker)>& body);

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

int hardware_threads();  // what the process may use (affinity and cgroup quota counted), at least 1

// How many CPUs' worth of time this process's cgroups (v1 and v2, ancestors included) grant; infinity without a limit.
// `root` stands before /proc and /sys.
double cpu_quota(const std::string& root = "");

}  // namespace solera
