#include "solera/merge/claim.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <thread>

#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera::merge {
namespace {

using test::message_of;

class Claims : public testing::Test {
 protected:
  ClaimWatch watch(int rank = 0, double silence = 1000) const { return {folder_.path(), "work", rank, silence}; }
  // A claim as another machine writes it.
  void foreign(int generation, int beat, const std::string& status = "works", const std::string& message = "") const {
    write_atomically(folder_ / cat("work-", generation),
                     cat(R"({"rank":7,"host":"red","process":42,"started":5,"place":"elsewhere","beat":)", beat,
                         R"(,"status":")", status, R"(","message":")", message, "\"}\n"));
  }

  TemporaryFolder folder_;
};

TEST_F(Claims, OneHasItUntilItLeaves) {
  ClaimWatch first = watch(0), second = watch(1);
  auto claim = first.take();
  ASSERT_TRUE(claim);
  EXPECT_TRUE(is_claimed(folder_.path(), "work"));
  EXPECT_FALSE(second.take());
  EXPECT_TRUE(second.holder().starts_with(cat("rank 0 (process ", ::getpid(), " on "))) << second.holder();
  claim.reset();
  EXPECT_FALSE(is_claimed(folder_.path(), "work"));
  EXPECT_TRUE(second.take());
  EXPECT_EQ(list_folder(folder_.path()), (std::vector<std::string>{"work-1", "work-2"}));
}

TEST_F(Claims, OfManyAtOnceOneGetsIt) {
  std::atomic<int> got = 0;
  std::barrier together(16);
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t)
    threads.emplace_back([&, t] {
      ClaimWatch mine = watch(t);
      together.arrive_and_wait();
      const auto claim = mine.take();
      got += claim != nullptr;
      together.arrive_and_wait();  // all have tried
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(got, 1);
}

TEST_F(Claims, ADeadProcessOfThisMachineLosesItAtOnce) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ClaimWatch mine = watch(3);
    const auto claim = mine.take();
    if (::write(ready[1], claim ? "y" : "n", 1) != 1) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  ClaimWatch next = watch(4);
  EXPECT_FALSE(next.take());
  EXPECT_TRUE(next.holder().starts_with(cat("rank 3 (process ", child, " on "))) << next.holder();
  ::kill(child, SIGKILL);
  siginfo_t info;
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_TRUE(next.take());  // also while its remains are there
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(Claims, OfAnotherMachineSilenceIsDeath) {
  ClaimWatch patient = watch(0), hasty = watch(1, 0);
  foreign(1, 1);
  EXPECT_FALSE(patient.take());
  EXPECT_EQ(patient.holder(), "rank 7 (process 42 on red)");
  EXPECT_FALSE(hasty.take());  // seen for the first time
  foreign(1, 2);
  EXPECT_FALSE(hasty.take());  // it beats
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_FALSE(patient.take());
  const auto claim = hasty.take();
  ASSERT_TRUE(claim);
  EXPECT_TRUE(claim->is_latest());
  EXPECT_FALSE(patient.take());
  foreign(3, 1);
  EXPECT_FALSE(claim->is_latest());
}

TEST_F(Claims, WhatIsBeingWrittenIsAClaim) {
  write_atomically(folder_ / "work-1", "");
  EXPECT_TRUE(is_claimed(folder_.path(), "work"));
  ClaimWatch mine = watch();
  EXPECT_FALSE(mine.take());
  EXPECT_EQ(mine.holder(), "another rank");
}

TEST_F(Claims, AFailureStopsThoseWhoWaitAndNotThoseWhoCome) {
  ClaimWatch waiting = watch(0), coming = watch(1);
  foreign(1, 1);
  EXPECT_FALSE(waiting.take());
  foreign(1, 2, "failed", "a.safetensors: w holds NaN");
  EXPECT_EQ(message_of([&] { waiting.take(); }), "rank 7 (process 42 on red) failed: a.safetensors: w holds NaN");
  EXPECT_TRUE(coming.take());
}

TEST_F(Claims, OfOneNameAreOnlyItsNumbers) {
  EXPECT_TRUE(is_claim("work-12", "work"));
  for (const char* other : {"work", "work-", "work-x", "work-0", "works-1", "work-1.tmp"})
    EXPECT_FALSE(is_claim(other, "work")) << other;
  EXPECT_FALSE(is_claimed(folder_.path(), "work"));
}

TEST_F(Claims, AFolderThatIsGoneIsAnError) {
  ClaimWatch mine(folder_ / "none", "work", 0, 1);
  EXPECT_NE(message_of([&] { mine.take(); }), "");
}

}  // namespace
}  // namespace solera::merge
