#include "solera/base/process.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <vector>

#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera {
namespace {

Outcome shell(const std::string& line) { return run({.shell = line}); }

bool wait_until(const std::function<bool()>& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

// Gone, or a zombie that nobody has reaped.
bool is_running(const std::string& pid) {
  try {
    const std::string stat = read_file("/proc/" + std::string(trim(pid)) + "/stat");
    return stat.substr(stat.rfind(')') + 2, 1) != "Z";
  } catch (const Error&) {
    return false;
  }
}

class RunCommand : public testing::Test {
 protected:
  void TearDown() override { request_stop(false); }
};

TEST_F(RunCommand, GivesStatusAndBothStreams) {
  const Outcome outcome = shell("echo out; echo err >&2; exit 7");
  EXPECT_EQ(outcome.status, 7);
  EXPECT_EQ(outcome.output, "out\n");
  EXPECT_EQ(outcome.errors, "err\n");
  EXPECT_FALSE(outcome.timed_out);
  EXPECT_GT(outcome.seconds, 0);
}

TEST_F(RunCommand, AnArgvIsNotSeenByAShell) {
  EXPECT_EQ(run({.argv = {"printf", "%s|", "a b", "$HOME", "'"}}).output, "a b|$HOME|'|");
}

TEST_F(RunCommand, EnvironmentAndFolder) {
  const TemporaryFolder folder;
  const Outcome outcome =
      run({.shell = "echo $COLOR; pwd", .environment = {{"COLOR", "red"}}, .folder = folder.path()});
  EXPECT_EQ(outcome.output, "red\n" + canonical(folder.path()) + "\n");
}

TEST_F(RunCommand, LooksForProgramsInTheChildsPath) {
  const TemporaryFolder folder;
  write_atomically(folder / "solera-test-tool", "echo tool $1\n");  // no "#!": the shell runs it
  ASSERT_EQ(std::system(("chmod +x " + shell_quote(folder / "solera-test-tool")).c_str()), 0);
  const Command command{.argv = {"solera-test-tool", "one"},
                        .environment = {{"PATH", folder.path() + ":/usr/bin:/bin"}}};
  EXPECT_EQ(run(command).output, "tool one\n");
}

TEST_F(RunCommand, SaysWhyAProgramCannotStart) {
  EXPECT_EQ(test::message_of([] { run({.argv = {"no-such-tool"}}); }),
            "cannot run \"no-such-tool\": no such program in PATH");
  EXPECT_EQ(test::message_of([] { run({.argv = {"/no/such/tool"}}); }),
            "cannot run \"/no/such/tool\" (No such file or directory)");
  EXPECT_EQ(test::message_of([] { run({.argv = {"/etc/passwd"}}); }), "cannot run \"/etc/passwd\" (Permission denied)");
  EXPECT_EQ(test::message_of([] { run({.shell = "true", .folder = "/no/such/folder"}); }),
            "cannot run \"/bin/sh\" (No such file or directory) (/no/such/folder)");
  EXPECT_EQ(test::message_of([] { run({}); }), "an empty command");
}

TEST_F(RunCommand, ASignalIsAStatusAbove128) { EXPECT_EQ(shell("kill -9 $$").status, 128 + SIGKILL); }

TEST_F(RunCommand, TheChildHasNoInputNoDescriptorsAndDefaultSignals) {
  const int leak = open("/dev/null", O_RDONLY);
  ASSERT_GT(leak, 2);
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  sigset_t mask, old;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &mask, &old);
  const Outcome outcome = shell("cat; ls /proc/self/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status");
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  std::signal(SIGPIPE, before);
  close(leak);
  // 3 is ls reading its folder.
  EXPECT_EQ(outcome.output, "0\n1\n2\n3\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST_F(RunCommand, KeepsTheLastPartOfLongOutput) {
  const Outcome outcome =
      shell("head -c 17000000 /dev/zero | tr '\\0' x; echo end; head -c 100000 /dev/zero >&2; echo err >&2");
  EXPECT_EQ(outcome.output.size(), 16u << 20);
  EXPECT_EQ(outcome.output.substr(outcome.output.size() - 5), "xend\n");
  EXPECT_EQ(outcome.errors.size(), 64u << 10);
  EXPECT_EQ(outcome.errors.substr(outcome.errors.size() - 4), "err\n");
}

TEST_F(RunCommand, ATimeLimitEndsTheWholeGroup) {
  const Outcome outcome = run({.shell = "sleep 1000 & echo $!; wait", .timeout_seconds = 0.2});
  EXPECT_TRUE(outcome.timed_out);
  EXPECT_EQ(outcome.status, 128 + SIGTERM);
  EXPECT_TRUE(wait_until([&] { return !is_running(outcome.output); }));
}

TEST_F(RunCommand, AChildThatIgnoresTheRequestIsKilled) {
  const Outcome outcome =
      run({.shell = "trap '' TERM; while :; do sleep 1; done", .timeout_seconds = 0.1, .grace_seconds = 0.2});
  EXPECT_TRUE(outcome.timed_out);
  EXPECT_EQ(outcome.status, 128 + SIGKILL);
}

TEST_F(RunCommand, ATimeLimitAlsoEndsAChildThatPrintsWithoutPause) {
  const Outcome outcome = run({.argv = {"yes"}, .timeout_seconds = 0.2});
  EXPECT_TRUE(outcome.timed_out);
  EXPECT_LE(outcome.output.size(), 16u << 20);
}

TEST_F(RunCommand, ATimelyChildHasNotTimedOutAndMayUseTheGrace) {
  EXPECT_FALSE(run({.shell = "exit 0", .timeout_seconds = 60}).timed_out);
  const Outcome outcome =
      run({.shell = "trap 'echo saved; exit 3' TERM; while :; do sleep 0.05; done", .timeout_seconds = 0.3});
  EXPECT_TRUE(outcome.timed_out);
  EXPECT_EQ(outcome.status, 3);
  EXPECT_EQ(outcome.output, "saved\n");
}

TEST_F(RunCommand, WhatIsLeftInTheBackgroundEndsWithTheCommand) {
  const Outcome outcome = shell("sleep 1000 & echo $!");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_LT(outcome.seconds, 500);
  EXPECT_TRUE(wait_until([&] { return !is_running(outcome.output); }));
}

TEST_F(RunCommand, AStopEndsTheChildAndInterrupts) {
  const TemporaryFolder folder;
  std::thread stopper([&] {
    wait_until([&] { return exists(folder / "pid") && !read_file(folder / "pid").empty(); });
    request_stop(true);
  });
  try {
    run({.shell = "echo $$ > pid; exec sleep 1000", .folder = folder.path()});
    ADD_FAILURE() << "not interrupted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInterrupted);
  }
  stopper.join();
  EXPECT_FALSE(is_running(read_file(folder / "pid")));
  EXPECT_THROW(shell("true"), Error);  // none is started any more
}

TEST_F(RunCommand, SeveralThreadsAtOnce) {
  std::vector<std::thread> threads;
  std::vector<std::string> outputs(8);
  for (std::size_t i = 0; i < outputs.size(); ++i)
    threads.emplace_back([&, i] {
      for (int repeat = 0; repeat < 5; ++repeat) outputs[i] += run({.argv = {"echo", std::to_string(i)}}).output;
    });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    std::string expected;
    for (int repeat = 0; repeat < 5; ++repeat) expected += std::to_string(i) + "\n";
    EXPECT_EQ(outputs[i], expected);
  }
}

}  // namespace
}  // namespace solera
