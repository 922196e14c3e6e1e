#include "solera/cli/terminal.h"

#include <cstdlib>
#include <iostream>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/support/support.h"

namespace solera::cli {
namespace {

// A drawer whose clock and width the test sets.
struct Screen {
  std::ostringstream out;
  double now = 100;
  int width = 80;
  TerminalProgress progress;

  explicit Screen(bool live, bool color = false)
      : progress(out,
                 {.live = live, .color = color, .width = [this] { return width; }, .clock = [this] { return now; }}) {}

  std::string take() {
    std::string text = out.str();
    out.str("");
    return text;
  }
};

TEST(PlainProgress, IsALineAtBeginningAndEnd) {
  Screen screen(false);
  screen.progress.begin("merge", 40'400'000'000, "bytes");
  EXPECT_EQ(screen.take(), "merge: 40.4 GB\n");
  screen.now += 9.9;
  screen.progress.advance(20'200'000'000);
  EXPECT_EQ(screen.take(), "");
  screen.now += 0.1;
  screen.progress.advance(0);
  EXPECT_EQ(screen.take(), "merge: 50 %  20.2 of 40.4 GB  2.0 GB/s  ETA 10 s\n");
  screen.progress.advance(20'200'000'000);
  screen.progress.end();
  EXPECT_EQ(screen.take(), "merge: 40.4 GB in 10 s\n");
}

TEST(PlainProgress, KeepsNotesAndLeavesInnerStagesOut) {
  Screen screen(false);
  screen.progress.begin("soup", 2, "trials");
  screen.progress.begin("merge", 10, "bytes");
  screen.progress.advance(10);
  screen.progress.end();
  screen.progress.note("trial 1: 0.5");
  screen.progress.advance(1);
  screen.progress.status("best 0.5");
  screen.progress.end();
  EXPECT_EQ(screen.take(), "soup: 2 trials\ntrial 1: 0.5\nsoup: 1 trial in 0 ms, best 0.5\n");
}

TEST(LiveProgress, RepaintsOneLineAtMostFiveTimesASecond) {
  Screen screen(true);
  screen.progress.begin("merge", 1000, "steps");
  EXPECT_EQ(screen.take(), "\r  0 %  0 of 1000 steps\033[K");
  for (int i = 0; i < 19; ++i) {
    screen.now += 0.01;
    screen.progress.advance(1);
  }
  EXPECT_EQ(screen.take(), "");
  screen.now += 0.82;
  screen.progress.status("best 0.8583");
  screen.progress.advance(81);
  EXPECT_EQ(screen.take(), "\r 10 %  100 of 1000 steps  99 steps/s  ETA 9.1 s  best 0.8583\033[K");
  screen.progress.end();
  EXPECT_EQ(screen.take(), "\r\033[K");
}

TEST(LiveProgress, PutsNotesAboveTheLine) {
  Screen screen(true);
  screen.progress.begin("soup", 4, "trials");
  screen.take();
  screen.progress.note("trial 1: 0.5");
  EXPECT_EQ(screen.take(), "\r\033[Ktrial 1: 0.5\n\r  0 %  0 of 4 trials\033[K");
}

TEST(LiveProgress, FitsTheWidth) {
  Screen screen(true);
  screen.width = 24;
  screen.progress.begin("merge", 1000, "steps");
  screen.progress.status("a rather long text behind the bar");
  screen.take();
  screen.now += 1;
  screen.progress.advance(500);
  EXPECT_EQ(screen.take(), "\r 50 %  500...nd the bar\033[K");
}

TEST(Progress, WarnsOnceAndCounts) {
  Screen screen(false);
  for (int i = 0; i < 3; ++i) screen.progress.warn("weights sum to 0");
  screen.progress.warn("another");
  EXPECT_EQ(screen.take(), "solera: warning: weights sum to 0\nsolera: warning: another\n");
  screen.progress.finish();
  EXPECT_EQ(screen.take(), "solera: warning: 3 times in all: weights sum to 0\n");
}

TEST(Progress, ColorsTheWordOnly) {
  Screen screen(false, true);
  screen.progress.warn("careful");
  EXPECT_EQ(screen.take(), "solera: \033[33mwarning\033[0m: careful\n");
}

TEST(Progress, CountsWhatEveryThreadReports) {
  Screen screen(false);
  screen.progress.begin("work", 4000, "steps");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) screen.progress.advance(1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  screen.progress.end();
  EXPECT_EQ(screen.take(), "work: 4000 steps\nwork: 4000 steps in 0 ms\n");
}

TEST(Progress, TakesEventsWithoutAStage) {
  Screen screen(true);
  screen.progress.advance(1);
  screen.progress.status("x");
  screen.progress.end();
  EXPECT_EQ(screen.take(), "");
}

TEST(ElideMiddle, KeepsBothEnds) {
  EXPECT_EQ(elide_middle("abcdefghij", 10), "abcdefghij");
  EXPECT_EQ(elide_middle("abcdefghij", 9), "abc...hij");
  EXPECT_EQ(elide_middle("abcdefghij", 8), "abc...ij");
  EXPECT_EQ(elide_middle("abcdefghij", 4), "a...");
  EXPECT_EQ(elide_middle("abcdefghij", 3), "...");
  EXPECT_EQ(elide_middle("abcdefghij", 0), "");
  EXPECT_EQ(elide_middle("äöüäöüäöü", 5), "ä...ü");
  for (std::size_t width = 0; width < 20; ++width) EXPECT_LE(elide_middle("0123456789012345", width).size(), width + 0);
}

TEST(Style, FollowsTheEnvironment) {
  const std::ostringstream stream;
  setenv("CLICOLOR_FORCE", "1", 1);
  unsetenv("NO_COLOR");
  EXPECT_TRUE(style_for(stream).color);
  EXPECT_FALSE(style_for(stream).live);
  setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(style_for(stream).color);
  unsetenv("NO_COLOR");
  setenv("CLICOLOR_FORCE", "0", 1);
  EXPECT_FALSE(style_for(stream).color);
  unsetenv("CLICOLOR_FORCE");
  EXPECT_FALSE(style_for(stream).color);
}

}  // namespace
}  // namespace solera::cli
