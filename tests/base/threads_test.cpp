#include "solera/base/threads.h"

#include <atomic>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/support/support.h"

namespace solera {
namespace {

// Counts bodies per worker number and fails when two bodies use one number at once (but for nesting).
class Scratch {
 public:
  explicit Scratch(int size) : busy_(static_cast<std::size_t>(size)) {}
  void enter(int worker) {
    ASSERT_GE(worker, 0);
    ASSERT_LT(worker, static_cast<int>(busy_.size()));
    EXPECT_FALSE(busy_[static_cast<std::size_t>(worker)].exchange(true)) << "number " << worker << " is used twice";
  }
  void leave(int worker) { busy_[static_cast<std::size_t>(worker)] = false; }

 private:
  std::vector<std::atomic<bool>> busy_;
};

TEST(Pool, RunsEveryIndexOnceForAnyThreadsAndCount) {
  for (int threads : {1, 2, 3, 7}) {
    Pool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (std::int64_t count : {0, 1, 2, 3, 7, 8, 100}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(count));
      Scratch scratch(threads);
      pool.for_each(count, [&](std::int64_t index, int worker) {
        scratch.enter(worker);
        ++runs[static_cast<std::size_t>(index)];
        scratch.leave(worker);
      });
      for (const auto& n : runs) EXPECT_EQ(n, 1);
    }
    pool.for_each(-1, [](std::int64_t, int) { FAIL(); });
  }
}

TEST(Pool, OneThreadIsTheCallerInOrder) {
  Pool pool(1);
  std::vector<std::int64_t> order;
  const auto caller = std::this_thread::get_id();
  pool.for_each(5, [&](std::int64_t index, int worker) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_EQ(worker, 0);
    order.push_back(index);
  });
  EXPECT_EQ(order, (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
}

TEST(Pool, NestedLoopsKeepTheirNumberAndNeverReenterABody) {
  for (int threads : {1, 2, 5}) {
    Pool pool(threads);
    Scratch outer(threads), middle(threads), inner(threads);
    std::atomic<int> sum{0};
    pool.for_each(6, [&](std::int64_t i, int a) {
      outer.enter(a);
      const auto thread = std::this_thread::get_id();
      pool.for_each(i % 4, [&](std::int64_t, int b) {
        middle.enter(b);
        if (std::this_thread::get_id() == thread) {
          EXPECT_EQ(a, b);
        }
        pool.for_each(5, [&](std::int64_t k, int c) {
          inner.enter(c);
          sum += static_cast<int>(k);
          inner.leave(c);
        });
        middle.leave(b);
      });
      outer.leave(a);
    });
    EXPECT_EQ(sum, (0 + 1 + 2 + 3 + 0 + 1) * 10);
  }
}

// One long outer body whose inner loop needs two threads at once: only an idle thread's help lets it end.
TEST(Pool, IdleThreadsHelpAnInnerLoop) {
  Pool pool(2);
  std::atomic<int> arrived{0};
  pool.for_each(2, [&](std::int64_t i, int) {
    if (i == 0) return;
    pool.for_each(2, [&](std::int64_t, int) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
    });
  });
  EXPECT_EQ(arrived, 2);
}

// The caller of the outer loop has no index left and waits; it must help the loop inside the last body.
TEST(Pool, AWaitingCallerHelpsLoopsInsideItsOwn) {
  Pool pool(2);
  const auto caller = std::this_thread::get_id();
  std::atomic<bool> other_started{false}, caller_done{false};
  std::atomic<int> arrived{0};
  pool.for_each(2, [&](std::int64_t, int) {
    if (std::this_thread::get_id() == caller) {
      while (!other_started) std::this_thread::yield();
      caller_done = true;
      return;
    }
    other_started = true;
    while (!caller_done) std::this_thread::yield();
    pool.for_each(2, [&](std::int64_t, int) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
    });
  });
  EXPECT_EQ(arrived, 2);
}

TEST(Pool, RethrowsTheLowestFailingIndexAndDropsTheRest) {
  for (int threads : {1, 2, 4}) {
    Pool pool(threads);
    for (int repeat = 0; repeat < 50; ++repeat) {
      std::atomic<int> running{0}, started{0};
      try {
        pool.for_each(1'000'000, [&](std::int64_t index, int) {
          ++running;
          ++started;
          const bool fails = index == 3 || index >= 5;
          --running;
          if (fails) throw std::runtime_error(std::to_string(index));
        });
        FAIL();
      } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "3");
      }
      EXPECT_EQ(running, 0);
      EXPECT_LT(started, 1'000'000);
    }
    int sum = 0;  // the pool works on
    pool.for_each(1, [&](std::int64_t, int) { sum = 7; });
    EXPECT_EQ(sum, 7);
  }
}

TEST(Pool, AnInnerErrorTravelsThroughTheOuterLoop) {
  Pool pool(3);
  const std::string message = test::message_of([&] {
    pool.for_each(4, [&](std::int64_t i, int) {
      pool.for_each(4, [&](std::int64_t k, int) {
        if (i >= 1 && k == 2) throw input_error(cat("tensor ", i, " chunk ", k));
      });
    });
  });
  EXPECT_EQ(message, "tensor 1 chunk 2");
}

TEST(Pool, ManyShortLoops) {
  Pool pool(4);
  std::atomic<std::int64_t> sum{0};
  for (int repeat = 0; repeat < 5000; ++repeat)
    pool.for_each(repeat % 5, [&](std::int64_t index, int) { sum += index + 1; });
  EXPECT_EQ(sum, 1000 * (0 + 1 + 3 + 6 + 10));
}

TEST(Pool, SeveralCallersNeverShareANumber) {
  for (int threads : {1, 3}) {
    Pool pool(threads);
    Scratch scratch(threads);
    std::atomic<int> sum{0}, errors{0};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller) {
      callers.emplace_back([&, caller] {
        for (int repeat = 0; repeat < 100; ++repeat) {
          try {
            pool.for_each(7, [&](std::int64_t index, int worker) {
              scratch.enter(worker);
              sum += static_cast<int>(index);
              scratch.leave(worker);
              if (caller == 3 && index == 6) throw std::runtime_error("stop");
            });
          } catch (const std::runtime_error&) {
            ++errors;
          }
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(sum, 4 * 100 * 21);
    EXPECT_EQ(errors, 100);
  }
}

TEST(Pool, ABodyMayUseAnotherPool) {
  Pool outer(3), inner(2);
  Scratch scratch(2);
  std::atomic<int> bodies{0};
  outer.for_each(8, [&](std::int64_t, int) {
    inner.for_each(3, [&](std::int64_t, int worker) {
      scratch.enter(worker);
      inner.for_each(2, [&](std::int64_t, int) { ++bodies; });
      scratch.leave(worker);
    });
  });
  EXPECT_EQ(bodies, 48);
}

TEST(Pool, SumsAreSeenByTheCallerWithoutAtomics) {
  Pool pool(4);
  for (int repeat = 0; repeat < 200; ++repeat) {
    std::vector<int> values(64, 0);
    pool.for_each(8, [&](std::int64_t i, int) {
      pool.for_each(8, [&](std::int64_t k, int) { values[static_cast<std::size_t>(8 * i + k)] = 1; });
    });
    EXPECT_EQ(std::accumulate(values.begin(), values.end(), 0), 64);
  }
}

TEST(Pool, RefusesNoThreads) {
  EXPECT_EQ(test::message_of([] { Pool pool(0); }), "a pool of 0 threads; at least 1 is needed");
}

TEST(CpuQuota, ReadsBothVersionsAndAncestors) {
  const double unlimited = std::numeric_limits<double>::infinity();
  const TemporaryFolder root;
  const auto put = [&](const std::string& path, const std::string& text) {
    make_folders(parent_folder(root.path() + path));
    write_atomically(root.path() + path, text);
  };
  EXPECT_EQ(cpu_quota(root.path()), unlimited);
  put("/proc/self/cgroup", "12:memory:/job\n4:cpu,cpuacct:/job/task\n0::/user/job\n");
  EXPECT_EQ(cpu_quota(root.path()), unlimited);
  put("/sys/fs/cgroup/user/job/cpu.max", "max 100000\n");
  EXPECT_EQ(cpu_quota(root.path()), unlimited);
  put("/sys/fs/cgroup/user/job/cpu.max", "350000 100000\n");
  EXPECT_EQ(cpu_quota(root.path()), 3.5);
  put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
  EXPECT_EQ(cpu_quota(root.path()), 3.0);
  put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
  put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpu_quota(root.path()), 3.0);
  put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "250000\n");
  EXPECT_EQ(cpu_quota(root.path()), 2.5);
  put("/sys/fs/cgroup/cpu.max", "garbage");
  EXPECT_EQ(cpu_quota(root.path()), 2.5);
}

TEST(HardwareThreads, IsPositiveAndWithinTheMachine) {
  EXPECT_GE(hardware_threads(), 1);
  EXPECT_LE(hardware_threads(), static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace solera
