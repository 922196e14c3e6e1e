// Runs of small recipes: what is made, what is found, what a failure, a kill and a stop leave behind.
#include "solera/recipe/run.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera::recipe {
namespace {

using test::message_of;
using test::slurp;
using Texts = std::vector<std::string>;

// Remembers what it is told, and calls back before each event.
class Notes : public Progress {
 public:
  void begin(std::string_view stage, std::uint64_t total, std::string_view unit) override {
    event(cat("begin ", stage, " ", total, " ", unit));
  }
  void advance(std::uint64_t) override { event("advance"); }
  void note(std::string_view line) override { event(cat("note ", line)); }
  void warn(std::string_view line) override { event(cat("warn ", line)); }
  void status(std::string_view) override {}
  void end() override { event("end"); }

  std::function<void(std::size_t)> at_event;
  Texts events;

 private:
  void event(std::string text) {
    const std::lock_guard lock(mutex_);
    if (at_event) at_event(events.size());
    events.push_back(std::move(text));
  }
  std::mutex mutex_;
};

// Each step leaves a line in `made` beside the recipe, so that what ran can be told from what was found.
constexpr const char* kChain = R"(
name: chain
parameters: {word: hello, unused: 1}
steps:
  last:
    needs: both
    run: echo last >> {here}/made; echo '{{"sum":' $(cat {both.*.out} | wc -c) '}}'
  both:
    foreach: {v: [1, 2]}
    run: echo both{v} >> {here}/made; cat {first.out} > both.txt; echo {v} >> both.txt; echo '{{"v":' {v} '}}'
    outputs: {out: both.txt}
  first:
    run: echo first >> {here}/made; cat {here}/data > first.txt; echo {word} >> first.txt
    inputs: data
    outputs: {out: first.txt}
  apart:
    run: echo apart >> {here}/made
)";

class Run : public testing::Test {
 protected:
  Run() {
    request_stop(false);
    put("data", "some data\n");
  }
  ~Run() override { request_stop(false); }

  void put(const std::string& name, const std::string& text) { write_atomically(folder_ / name, text); }

  RunReport run(const std::string& text, RunOptions options = {}) {
    put("r.yaml", text);
    if (options.out.empty()) options.out = folder_ / "out";
    if (options.jobs == 0) options.jobs = 1;
    return run_steps(read_recipe(folder_ / "r.yaml", false), options, progress_);
  }
  std::string failure(const std::string& text, const RunOptions& options = {}) {
    std::string message = message_of([&] { run(text, options); });
    for (const auto& [path, name] :
         {std::pair(shell_quote(folder_.path()), "QUOTED"), std::pair(folder_.path(), "HERE")})
      for (std::size_t at; (at = message.find(path)) != std::string::npos;) message.replace(at, path.size(), name);
    return message;
  }
  // What ran since the last call, in the order of names.
  Texts made() {
    if (!exists(folder_ / "made")) return {};
    Texts lines = split(trim(slurp(folder_ / "made")), '\n');
    remove_all(folder_ / "made");
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  static std::string changed(std::string text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  }

  TemporaryFolder folder_{"solera recipe's"};  // a path that a shell takes apart
  Notes progress_;
};

const Texts kAll = {"apart", "both1", "both2", "first", "last"};

// Labels to results as text: what a claim may see.
std::map<std::string, std::string> results(const RunReport& report) {
  std::map<std::string, std::string> texts;
  for (std::size_t i = 0; i < report.instances.size(); ++i)
    texts[report.instances[i].label] = report.results[i].done ? to_json(report.results[i].result) : "none";
  return texts;
}

TEST_F(Run, MakesEveryStepInAFolderOfItsOwn) {
  const RunReport report = run(kChain);
  EXPECT_EQ(made(), kAll);
  EXPECT_EQ(slurp(folder_ / "out/both/v=2/both.txt"), "some data\nhello\n2\n");
  EXPECT_EQ(list_folder(folder_ / "out/both/v=2"), (Texts{"both.txt", "stderr.log", "stdout.log", "step.json"}));
  EXPECT_EQ(list_folder(folder_ / "out"), (Texts{".lock", "apart", "both", "first", "last"}));
  EXPECT_EQ(results(report), (std::map<std::string, std::string>{{"apart", "null"},
                                                                 {"both[v=1]", R"({"v":1})"},
                                                                 {"both[v=2]", R"({"v":2})"},
                                                                 {"first", "null"},
                                                                 {"last", R"({"sum":36})"}}));
  EXPECT_EQ(progress_.events.front(), "begin chain 5 steps");
  EXPECT_EQ(progress_.events.back(), "end");
  EXPECT_EQ(std::count(progress_.events.begin(), progress_.events.end(), "advance"), 5);
}

TEST_F(Run, FindsWhatItHasMade) {
  const auto first = results(run(kChain));
  made();
  const RunReport again = run(kChain);
  EXPECT_EQ(made(), Texts{});
  EXPECT_EQ(results(again), first);
  for (const StepResult& result : again.results) EXPECT_TRUE(result.done && result.cached);
}

TEST_F(Run, RepeatsExactlyWhatDependsOnAChange) {
  const std::string chain = kChain;
  run(chain);
  made();
  std::string now = changed(chain, "echo apart", "true; echo apart");
  run(now);
  EXPECT_EQ(made(), Texts{"apart"}) << "a command";
  now = changed(now, "unused: 1", "unused: 2");
  run(now);
  EXPECT_EQ(made(), Texts{}) << "a parameter that nothing uses";
  now = changed(now, "word: hello", "word: bye");
  run(now);
  EXPECT_EQ(made(), (Texts{"both1", "both2", "first", "last"})) << "a parameter";
  put("data", "other data\n");
  run(now);
  EXPECT_EQ(made(), (Texts{"both1", "both2", "first", "last"})) << "an input";
  now = changed(now, "echo first >>", "true; echo first >>");
  run(now);
  EXPECT_EQ(made(), Texts{"first"}) << "a command that leaves the same outputs";
  now = changed(now, "v: [1, 2]", "v: [1, 2, 3]");
  run(now);
  EXPECT_EQ(made(), (Texts{"both3", "last"})) << "one value more";
  remove_all(folder_ / "out/both/v=1/both.txt");
  run(now);
  EXPECT_EQ(made(), Texts{"both1"}) << "an output that is gone";
  put("out/apart/step.json", "{\"keys\"");
  run(now);
  EXPECT_EQ(made(), Texts{"apart"}) << "a record that is cut off";
}

TEST_F(Run, RepeatsAStepWhoseProgramOfOursChanged) {
  make_folders(folder_ / "bin");
  const auto program = [&](const std::string& word) {
    put("bin/blend", "#!/bin/sh\necho " + word + "\n");
    std::system(cat("chmod +x ", shell_quote(folder_ / "bin/blend")).c_str());
  };
  const std::string recipe = "name: p\nsteps:\n  a: {run: true && blend > o, outputs: {o: o}}\n  b: {run: echo b}\n";
  program("one");
  run(recipe, {.programs = folder_ / "bin"});
  EXPECT_EQ(slurp(folder_ / "out/a/o"), "one\n");
  program("two");
  const RunReport report = run(recipe, {.programs = folder_ / "bin"});
  EXPECT_EQ(slurp(folder_ / "out/a/o"), "two\n");
  EXPECT_TRUE(report.results[1].cached);
}

TEST_F(Run, ExplainsWhyAStepRuns) {
  const auto explained = [&](const std::string& text, const Texts& rerun = {}) {
    progress_.events.clear();
    run(text, {.only = {"first"}, .rerun = rerun, .explain = true});
    const auto found = std::find_if(progress_.events.begin(), progress_.events.end(),
                                    [](const std::string& e) { return e.find(" runs: ") != std::string::npos; });
    return found == progress_.events.end() ? "" : *found;
  };
  const std::string chain = kChain;
  EXPECT_EQ(explained(chain), "note first runs: it has not been made yet");
  EXPECT_EQ(explained(chain), "");
  EXPECT_EQ(explained(chain, {"all"}), "note first runs: --rerun asks for it");
  put("data", "new\n");
  EXPECT_EQ(explained(chain), "note first runs: its inputs changed");
  put("data", "newer\n");
  EXPECT_EQ(explained(changed(chain, "word: hello", "word: x")), "note first runs: its command and its inputs changed");
}

TEST_F(Run, RepeatsWhatIsAskedFor) {
  run(kChain);
  made();
  run(kChain, {.rerun = {"both"}});
  EXPECT_EQ(made(), (Texts{"both1", "both2"}));
  run(kChain, {.rerun = {"all"}});
  EXPECT_EQ(made(), kAll);
  EXPECT_EQ(failure(kChain, {.rerun = {"bth"}}), "recipe chain has no step bth; did you mean both?");
}

TEST_F(Run, OnlyMakesTheStepsNamedAndWhatTheyNeed) {
  const RunReport report = run(kChain, {.only = {"both"}});
  EXPECT_EQ(made(), (Texts{"both1", "both2", "first"}));
  EXPECT_EQ(results(report).at("last"), "none");
  EXPECT_EQ(failure(kChain, {.only = {"all"}}), "recipe chain has no step all; did you mean last?");
}

TEST_F(Run, GivesTheSameForAnyNumberOfJobs) {
  std::map<std::string, std::string> expected;
  for (const int jobs : {1, 2, 7}) {
    const auto found = results(run(kChain, {.out = folder_ / cat("out", jobs), .jobs = jobs}));
    if (expected.empty()) expected = found;
    EXPECT_EQ(found, expected) << jobs;
    EXPECT_EQ(made(), kAll) << jobs;
    EXPECT_EQ(slurp(folder_ / cat("out", jobs, "/both/v=2/both.txt")), "some data\nhello\n2\n");
  }
}

TEST_F(Run, FinishesWhatDoesNotDependOnAFailure) {
  const std::string broken = changed(kChain, "echo first >> {here}/made;", "echo so far; echo 'no luck' >&2; exit 7;");
  for (const int jobs : {1, 2, 7}) {
    EXPECT_EQ(failure(broken, {.jobs = jobs}),
              "step first ended with status 7: no luck (log: HERE/out/first~failed/stderr.log); its command was: "
              "echo so far; echo 'no luck' >&2; exit 7; cat QUOTED/data > first.txt; echo hello >> first.txt");
    EXPECT_EQ(made(), jobs == 1 ? Texts{"apart"} : Texts{}) << jobs;
    EXPECT_EQ(list_folder(folder_ / "out"), (Texts{".lock", "apart", "first~failed"}));
  }
  EXPECT_EQ(slurp(folder_ / "out/first~failed/stdout.log"), "so far\n");
  run(kChain);
  EXPECT_EQ(made(), (Texts{"both1", "both2", "first", "last"}));
  EXPECT_FALSE(exists(folder_ / "out/first~failed"));
}

TEST_F(Run, ThrowsTheFirstFailureOfTheRecipeAndWarnsOfOthers) {
  const std::string recipe = "name: f\nsteps:\n  a: {run: sleep 0.05; exit 1}\n  b: {run: exit 2}\n";
  for (const int jobs : {1, 2}) {
    progress_.events.clear();
    EXPECT_EQ(failure(recipe, {.jobs = jobs}),
              "step a ended with status 1 (log: HERE/out/a~failed/stderr.log); its command was: sleep 0.05; exit 1");
    EXPECT_EQ(progress_.events.back().substr(0, 32), "warn step b ended with status 2 ");
  }
}

TEST_F(Run, CountsNothingHalfMade) {
  EXPECT_EQ(failure("name: f\nsteps:\n  a: {run: echo x > other, outputs: {o: model}}\n"),
            "step a did not make its output model (log: HERE/out/a~failed/stderr.log)");
  EXPECT_EQ(failure("name: f\nsteps:\n  a: {run: echo x, result: r.json}\n"),
            "step a did not make its result r.json (log: HERE/out/a~failed/stdout.log)");
  EXPECT_EQ(failure("name: f\nsteps:\n  a: {run: kill -9 $$}\n"),
            "step a ended with status 137 (log: HERE/out/a~failed/stderr.log); its command was: kill -9 $$");
  EXPECT_EQ(failure("name: f\nsteps:\n  a: {run: [no-such-program]}\n"),
            "step a: cannot run \"no-such-program\": no such program in PATH");
  EXPECT_FALSE(exists(folder_ / "out/a"));
  EXPECT_FALSE(exists(folder_ / "out/a~making"));
  EXPECT_EQ(failure("name: f\nsteps:\n  a: {run: echo x, inputs: dat}\n"),
            "HERE/dat: no such file; did you mean HERE/data?");
}

// A process that ends at the n-th event, for every n; then the same command.
TEST_F(Run, ContinuesAfterBeingKilledAtAnyEvent) {
  const auto expected = results(run(kChain, {.out = folder_ / "whole"}));
  const std::size_t events = progress_.events.size();
  ASSERT_GT(events, 10u);
  for (std::size_t n = 0; n < events; ++n) {
    const std::string out = folder_ / cat("out", n);
    made();
    const pid_t child = ::fork();
    if (child == 0) {
      Notes progress;
      progress.at_event = [&](std::size_t event) {
        if (event == n) ::_exit(9);
      };
      run_steps(read_recipe(folder_ / "r.yaml", false), {.out = out, .jobs = 1}, progress);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(WEXITSTATUS(status), 9) << n;
    EXPECT_EQ(results(run(kChain, {.out = out})), expected) << n;
    EXPECT_EQ(made(), kAll) << n << ": each step once, before or after";
  }
}

TEST_F(Run, MakesAgainWhatWasKilledInTheMiddle) {
  make_folders(folder_ / "out/first~making");
  put("out/first~making/first.txt", "half");
  put("out/first~making/stale", "");
  run(kChain);
  EXPECT_EQ(slurp(folder_ / "out/first/first.txt"), "some data\nhello\n");
  EXPECT_FALSE(exists(folder_ / "out/first/stale"));
}

TEST_F(Run, StopsAndKeepsWhatIsFinished) {
  progress_.at_event = [&](std::size_t) {
    if (exists(folder_ / "out/first/step.json")) request_stop(true);
  };
  try {
    run(kChain);
    FAIL() << "not interrupted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInterrupted);
    EXPECT_STREQ(error.what(), "interrupted (1 of 5 steps are done)");
  }
  progress_.at_event = nullptr;
  request_stop(false);
  run(kChain);
  EXPECT_EQ(made(), kAll);
}

TEST_F(Run, EndsARunningCommandWhenStopped) {
  std::thread stopper([&] {
    for (int i = 0; i < 2000 && !exists(folder_ / "started"); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    request_stop(true);
  });
  EXPECT_EQ(failure("name: s\nsteps:\n  a: {run: 'touch {here}/started; sleep 60'}\n  b: {run: echo, needs: a}\n"),
            "interrupted (0 of 2 steps are done)");
  stopper.join();
  EXPECT_EQ(list_folder(folder_ / "out"), Texts{".lock"});
}

TEST_F(Run, HasItsFolderForItself) {
  make_folders(folder_ / "out");
  const int other = ::open((folder_ / "out/.lock").c_str(), O_RDWR | O_CREAT, 0666);
  ASSERT_EQ(::flock(other, LOCK_EX), 0);
  EXPECT_EQ(failure(kChain), "another run is working in HERE/out; wait for it, or give another folder with --output");
  EXPECT_EQ(made(), Texts{});
  ::close(other);
  run(kChain);
  EXPECT_EQ(made(), kAll);
}

TEST_F(Run, QuotesWhatItPutsIntoAShellLine) {
  run("name: q\nparameters: {p: \"a  b; echo $HOME 'c'\", n: 3, e: ''}\nsteps:\n"
      "  a: {run: 'printf \"%s|\" {p} {n} {e} \"x{n}\" > o', outputs: {o: o}}\n"
      "  b: {run: 'printf \"%s|\" {v} > o; cat {here}/data {a.o} >> o', foreach: {v: ['x y', '$v']}, outputs: {o: "
      "o}}\n");
  EXPECT_EQ(slurp(folder_ / "out/a/o"), "a  b; echo $HOME 'c'|3||x3|");
  EXPECT_EQ(slurp(folder_ / "out/b/v=x%20y/o"), "x y|some data\na  b; echo $HOME 'c'|3||x3|");
  EXPECT_EQ(slurp(folder_ / "out/b/v=%24v/o").substr(0, 3), "$v|");
  EXPECT_EQ(
      failure("name: q\nparameters: {p: a b}\nsteps:\n  a: {run: \"echo '{p}'\"}\n"),
      "{p} stands in quotes in step a, but is 'a b' (HERE/r.yaml:4:3); leave out the quotes around it: values are "
      "quoted where they have to be");
}

TEST_F(Run, GivesWordsAsTheyAreWithoutAShell) {
  run("name: w\nparameters: {p: '$HOME  x'}\nsteps:\n"
      "  a: {run: [cp, '{here}/data', 'm n'], foreach: {v: [1, 2]}, outputs: {o: m n}}\n"
      "  b: {run: [printf, '%s|', '{p}', 'p={p}', '{a.*.o}'], outputs: {o: stdout.log}}\n");
  const std::string out = canonical(folder_ / "out");
  EXPECT_EQ(slurp(folder_ / "out/b/stdout.log"), cat("$HOME  x|p=$HOME  x|", out, "/a/v=1/m n|", out, "/a/v=2/m n|"));
}

TEST_F(Run, StaysFoundWhereItIsMovedTo) {
  run(kChain);
  made();
  make_folders(folder_ / "moved");
  for (const char* name : {"out", "data"}) rename_path(folder_ / name, folder_ / cat("moved/", name));
  put("moved/r.yaml", kChain);
  run_steps(read_recipe(folder_ / "moved/r.yaml", false), {.out = folder_ / "moved/out", .jobs = 1}, progress_);
  EXPECT_FALSE(exists(folder_ / "moved/made"));
}

TEST_F(Run, TakesTheObjectThatTheOutputEndsWith) {
  const auto result = [&](const std::string& output) {
    put("printed", output);
    return results(run("name: o\nsteps:\n  a: {run: 'cat {here}/printed', inputs: printed}\n")).at("a");
  };
  EXPECT_EQ(result("{\"a\": 1}"), R"({"a":1})");
  EXPECT_EQ(result("{\"a\": 0}\n{\"a\": 1}\n\n"), R"({"a":1})");
  EXPECT_EQ(result("epoch 1\n{\n  \"a\": {\n    \"b\": [1,\n 2]}\n}\n"), R"({"a":{"b":[1,2]}})");
  EXPECT_EQ(result("{\"a\": 1}\nbye\n"), "null");
  EXPECT_EQ(result("{'a': 1}\n"), "null");
  EXPECT_EQ(result("function() {\n}\n"), "null");
  EXPECT_EQ(result(""), "null");
}

}  // namespace
}  // namespace solera::recipe
