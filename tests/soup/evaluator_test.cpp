// Running the command: placeholders, metrics, failures, and what a cached score depends on.
#include "solera/soup/evaluator.h"

#include <unistd.h>

#include <array>

#include <gmock/gmock.h>

#include "tests/soup/scalars.h"

namespace solera::soup {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class Evaluate : public test::Scalars {
 protected:
  SoupOptions pair(const std::string& command) {
    return options({file("a.safetensors", 0.4), file("b.safetensors", 0.8)}, command);
  }
  double score(const SoupOptions& soup) { return make(soup).search.score; }
};

TEST_F(Evaluate, GivesTheCheckpointInEveryWay) {
  SoupOptions soup = pair(
      "test {checkpoint} = \"$SOLERA_CHECKPOINT\" && test {scratch} = \"$SOLERA_SCRATCH\" && test -d {scratch} && "
      "test ! -e {scratch}/note && echo it >{scratch}/note && echo 7");
  EXPECT_EQ(score(soup), 7);
  EXPECT_THAT(recorder_.warnings, IsEmpty());
}

TEST_F(Evaluate, TakesAnArgvWithoutAShell) {
  peak_script();
  SoupOptions soup = pair("");
  soup.evaluator.argv = {"sh", folder_ / "peak.sh", "{checkpoint}", "$HOME; exit 1"};
  EXPECT_NEAR(score(soup), 0, 1e-6);
  EXPECT_EQ(runs(), 3);
}

TEST_F(Evaluate, SurvivesAnyPath) {
  make_folders(folder_ / "it's a \"place\"");
  SoupOptions soup = options(
      {file("it's a \"place\"/a b.safetensors", 0.4), file("it's a \"place\"/$c.safetensors", 0.8)}, peak_script());
  soup.out = folder_ / "it's a \"place\"/soup.safetensors";
  EXPECT_NEAR(score(soup), 0, 1e-6);
}

TEST_F(Evaluate, WarnsOfACommandWithoutACheckpoint) {
  SoupOptions soup = pair("echo 1");
  make(soup);
  EXPECT_THAT(recorder_.warnings,
              ::testing::ElementsAre(
                  "the command has no {checkpoint}: echo 1 must take the model from $SOLERA_CHECKPOINT by itself"));
}

TEST_F(Evaluate, ReadsMetricsOfOtherTools) {
  const auto prints = [&](const std::string& text) {
    write_atomically(folder_ / "output", text);
    return cat(": {checkpoint}; cat ", shell_quote(folder_ / "output"));
  };
  SoupOptions soup =
      pair(prints("loading\n{\n \"results\": {\"arc_easy\": {\"acc,none\": 0.62, \"acc_stderr,none\": 0.01}}\n}\n"));
  soup.evaluator.metric = "/results/arc_easy/acc,none";
  EXPECT_EQ(score(soup), 0.62);
  soup.force = true;
  soup.evaluator.shell = prints("epoch 1\n{\"accuracy\": 0.5, \"loss\": 2}\n\n");
  soup.evaluator.metric = "loss";
  soup.search.minimize = true;
  EXPECT_EQ(score(soup), 2);
  soup.evaluator.metric = "acuracy";
  EXPECT_EQ(refusal(soup),
            "the output has no metric acuracy (the evaluation of a.safetensors); did you mean accuracy?");
}

TEST_F(Evaluate, AFailureNamesTheCheckpointAndKeepsTheRest) {
  const std::string peak = peak_script();
  SoupOptions soup =
      options(files({1.0, 0.0, 0.4, 2.0}),
              cat("case {checkpoint} in *m2*) echo loading >&2; echo out of memory >&2; exit 3;; esac; ", peak));
  EXPECT_EQ(refusal(soup), cat("the evaluation of m2.safetensors ended with status 3: out of memory (",
                               soup.evaluator.shell, "); scores so far are kept"));
  expect_nothing_half_written(soup);
  EXPECT_EQ(JournalFile(default_log(soup.out)).read().size(), 2u);
  soup.evaluator.shell = cat("case {checkpoint} in *candidate*) exit 4;; esac; ", peak);
  EXPECT_EQ(refusal(soup), cat("the evaluation of m0.safetensors + m2.safetensors ended with status 4 (",
                               soup.evaluator.shell, "); scores so far are kept"));
  expect_nothing_half_written(soup);
  EXPECT_EQ(JournalFile(default_log(soup.out)).read().size(), 4u);
}

TEST_F(Evaluate, ARerunAfterAFailureGoesOn) {
  const std::string flag = folder_ / "ready";
  SoupOptions soup = options(files({1.0, 0.0, 0.4, 2.0}), cat("case {checkpoint} in *m3*) test -f ", shell_quote(flag),
                                                              " || exit 1;; esac; ", peak_script()));
  EXPECT_THAT(refusal(soup), StartsWith("the evaluation of m3.safetensors ended with status 1"));
  write_atomically(flag, "");
  const SoupReport report = make(soup);
  EXPECT_EQ(report.cached, 3);
  EXPECT_EQ(report.evaluations, 4);
  EXPECT_NEAR(report.search.score, -0.01, 1e-6);
}

TEST_F(Evaluate, RefusesScoresThatAreNone) {
  const auto says = [&](const std::string& text) {
    return refusal(pair(cat(": {checkpoint}; printf ", shell_quote(text))));
  };
  EXPECT_EQ(says("0.5\nnan\n"), "the metric is nan (the evaluation of a.safetensors)");
  EXPECT_EQ(says("inf"), "the metric is inf (the evaluation of a.safetensors)");
  EXPECT_THAT(says("\n\n"), StartsWith("the command printed nothing (the evaluation of a.safetensors)"));
  EXPECT_EQ(says("0.5\ndone\n"),
            "the last line of the output is \"done\", not a number or a JSON object (the evaluation of a.safetensors)");
  expect_nothing_half_written(pair(""));
  EXPECT_FALSE(exists(folder_ / ".solera-cache/evaluations.jsonl"));
}

TEST_F(Evaluate, StopsWhatTakesTooLong) {
  SoupOptions soup = pair(": {checkpoint}; exec sleep 60");
  soup.evaluator.timeout_seconds = 0.05;
  EXPECT_THAT(refusal(soup), StartsWith("the evaluation of a.safetensors took longer than "));
  EXPECT_THAT(refusal(soup), EndsWith("(: {checkpoint}; exec sleep 60); raise --timeout; scores so far are kept"));
  expect_nothing_half_written(soup);
}

TEST_F(Evaluate, TheCacheKnowsWhatAScoreDependsOn) {
  SoupOptions soup = pair(peak_script());
  write_atomically(folder_ / "data.txt", "1");
  make_folders(folder_ / "set/a");
  write_atomically(folder_ / "set/a/x", "1");
  soup.evaluator.data = {folder_ / "data.txt", folder_ / "set"};
  soup.force = true;
  const auto ran = [&] { return make(soup).evaluations; };
  EXPECT_EQ(ran(), 3);
  EXPECT_EQ(ran(), 0);
  write_atomically(folder_ / "data.txt", "2");
  EXPECT_EQ(ran(), 3);
  write_atomically(folder_ / "set/a/x", "2");
  EXPECT_EQ(ran(), 3);
  rename_path(folder_ / "set/a/x", folder_ / "set/a/y");
  EXPECT_EQ(ran(), 3);
  write_atomically(folder_ / "peak.sh", read_file(folder_ / "peak.sh") + "# changed\n");
  EXPECT_EQ(ran(), 3);
  soup.evaluator.shell += " more";
  EXPECT_EQ(ran(), 3);
  file("b.safetensors", 0.9);
  EXPECT_EQ(ran(), 2);  // b and the mean
  // Not what it does not depend on.
  soup.evaluator.timeout_seconds = 100;
  soup.search.accept = Accept::kGt;
  soup.out = folder_ / "other.safetensors";
  EXPECT_EQ(ran(), 0);
  rename_path(folder_ / "a.safetensors", folder_ / "renamed.safetensors");
  soup.checkpoints[0] = folder_ / "renamed.safetensors";
  EXPECT_EQ(ran(), 0);
}

TEST_F(Evaluate, RemovesWhatAKilledRunLeft) {
  SoupOptions soup = pair(peak_script());
  make(soup);
  const std::string cache = default_cache(soup.out);
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const std::string dead = join_path(cache, cat("scratch-", host.data(), "-999999999-1"));
  const std::string alive = join_path(cache, cat("scratch-", host.data(), "-", ::getpid(), "-77"));
  const std::string elsewhere = join_path(cache, "scratch-another.host-999999999-1");
  for (const std::string& folder : {dead, alive, elsewhere}) make_folders(folder);
  soup.force = true;
  make(soup);
  EXPECT_FALSE(exists(dead));
  EXPECT_TRUE(exists(alive));
  EXPECT_TRUE(exists(elsewhere));
}

}  // namespace
}  // namespace solera::soup
