// Ranks that really run at once, in two to four processes, and are really killed: SIGKILL at random instants, then the
// same command again, until all have ended. The folder must be that of one process, byte for byte, and nothing else may
// remain: for a method without a look at the whole model and for three with one.
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <map>
#include <thread>

#include "solera/base/random.h"
#include "solera/base/text.h"
#include "tests/support/processes.h"
#include "tests/support/support.h"

namespace solera {
namespace {

using checkpoint::DType;
using checkpoint::NamedBytes;
using Clock = std::chrono::steady_clock;

const std::string kProgram = std::string(SOLERA_BINARY_DIR) + "/bin/solera";

struct Case {
  std::string name, method, first, second;  // parameters of the two models
};

const Case kCases[] = {
    {"linear", "merge_method: linear", "weight: 0.7", "weight: 0.4"},
    {"ties", "merge_method: ties", "weight: 0.7, density: 0.4", "weight: 0.4, density: 0.6"},
    {"ties_model", "merge_method: ties\nrules: paper\nparameters: {granularity: model, zero_vote: majority}",
     "weight: 0.7, density: 0.4", "weight: 0.4, density: 0.6"},
    {"fisher", "merge_method: fisher", "weight: 0.7, fisher: f1.safetensors", "weight: 0.4, fisher: f2.safetensors"},
};

class KilledRanks : public testing::TestWithParam<Case> {
 protected:
  KilledRanks() {
    for (std::uint64_t m = 0; m < 3; ++m) {
      std::vector<NamedBytes> weights, fishers = {test::tensor("n", DType::kI64, {}, {9})};
      for (int t = 0; t < 16; ++t) {
        const std::string name = cat("layers.", t, ".weight");
        weights.push_back(random({name, DType::kBF16, {256, 40 + 16 * t}}, m, 0x3C, 0xBC));
        fishers.push_back(random({name + ".fisher", DType::kBF16, {256, 40 + 16 * t}}, m, 0x3C, 0x3B));
      }
      test::write_model(folder_ / cat("m", m, ".safetensors"), weights);
      test::write_model(folder_ / cat("f", m, ".safetensors"), fishers);
    }
    std::string text = GetParam().method;
    if (GetParam().name.starts_with("ties")) text += cat("\nbase_model: ", folder_ / "m0.safetensors");
    for (const int m : {1, 2})
      text += cat(m == 1 ? "\nmodels:" : "", "\n  - {model: ", folder_ / cat("m", m, ".safetensors"), ", parameters: {",
                  m == 1 ? GetParam().first : GetParam().second, "}}");
    write_atomically(folder_ / "c.yaml", text + "\n");
    make_folders(folder_ / "alone");
    EXPECT_EQ(test::wait_for(test::start_quietly(words(folder_ / "alone/out"))), 0);
    expected_ = contents(folder_ / "alone/out");
  }

  // About 0.01 to 0.1; the second byte of each number is one of two.
  static NamedBytes random(checkpoint::TensorInfo info, std::uint64_t input, int one, int other) {
    NamedBytes tensor{std::move(info), {}};
    tensor.bytes.resize(tensor.info.bytes());
    const RandomStream stream({.seed = 5, .purpose = "test.ranks", .input = input, .name = tensor.info.name});
    for (std::size_t i = 0; i < tensor.bytes.size(); i += 2) {
      tensor.bytes[i] = static_cast<std::byte>(stream.below(i, 256));
      tensor.bytes[i + 1] = static_cast<std::byte>(stream.below(i + 1, 2) ? one : other);
    }
    return tensor;
  }

  std::vector<std::string> words(const std::string& out) const {
    return {kProgram, "merge", folder_ / "c.yaml", "-o", out, "--shard-size", "200kB", "--of", "1"};
  }
  pid_t start(int rank, int of) const {
    std::vector<std::string> all = words(folder_ / "out");
    all.back() = std::to_string(of);
    all.insert(all.end(), {"--rank", std::to_string(rank), "--threads", std::to_string(1 + rank % 2)});
    return test::start_quietly(all);
  }
  static std::map<std::string, std::string> contents(const std::string& folder) {
    std::map<std::string, std::string> files;
    for (const std::string& name : list_folder(folder)) files[name] = test::slurp(join_path(folder, name));
    return files;
  }

  // A rank that was started again when all was over finds the output and is refused.
  bool may_end_with(int status) const {
    return status == 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 2 && exists(folder_ / "out"));
  }
  void require_result(const std::string& where) const {
    ASSERT_TRUE(exists(folder_ / "out")) << where;
    EXPECT_TRUE(contents(folder_ / "out") == expected_) << where;
    EXPECT_FALSE(exists(folder_ / "out.partial")) << where;
  }

  TemporaryFolder folder_;
  std::map<std::string, std::string> expected_;
};

TEST_P(KilledRanks, AtOnce) {
  ASSERT_GE(expected_.size(), 8u);
  for (const int of : {2, 3, 4}) {
    remove_all(folder_ / "out");
    std::vector<pid_t> children;
    for (int r = of - 1; r >= 0; --r) children.push_back(start(r, of));
    for (const pid_t child : children) EXPECT_EQ(test::wait_for(child), 0) << of;
    require_result(cat(of, " ranks"));
  }
}

TEST_P(KilledRanks, AtRandomInstantsAndStartedAgain) {
  const RandomStream random({.seed = 6, .purpose = "test.ranks.instants", .name = GetParam().name});
  std::uint64_t drawn = 0;
  const auto begin = Clock::now();
  ASSERT_EQ(test::wait_for(start(0, 2)), 0);
  const double whole = 2 * std::chrono::duration<double>(Clock::now() - begin).count();
  remove_all(folder_ / "out.partial");
  int killed = 0;
  for (int round = 0; round < 12; ++round) {
    const int of = 2 + round % 3;
    remove_all(folder_ / "out");
    std::vector<pid_t> children;
    for (int r = 0; r < of; ++r) children.push_back(start(r, of));
    for (int kill = 0; kill < 4; ++kill) {
      std::this_thread::sleep_for(std::chrono::duration<double>(whole / 4 * random.uniform(drawn++)));
      const int victim = static_cast<int>(random.below(drawn++, static_cast<std::uint64_t>(of)));
      ::kill(children[static_cast<std::size_t>(victim)], SIGKILL);
      const int status = test::wait_for(children[static_cast<std::size_t>(victim)]);
      killed += WIFSIGNALED(status);
      ASSERT_TRUE(WIFSIGNALED(status) || may_end_with(status)) << "round " << round << ", rank " << victim;
      children[static_cast<std::size_t>(victim)] = start(victim, of);
    }
    for (const pid_t child : children) ASSERT_TRUE(may_end_with(test::wait_for(child))) << "round " << round;
    require_result(cat("round ", round));
  }
  EXPECT_GT(killed, 0);
}

// The rank that comes first looks at the whole model; the others must not wait for its ghost.
TEST_P(KilledRanks, TheFirstIsKilledWhileTheOthersWait) {
  for (const double part : {0.1, 0.3, 0.5, 0.7}) {
    remove_all(folder_ / "out");
    const pid_t first = start(0, 3);
    std::this_thread::sleep_for(std::chrono::duration<double>(part / 10));
    const pid_t second = start(1, 3), third = start(2, 3);
    std::this_thread::sleep_for(std::chrono::duration<double>(part / 20));
    ::kill(first, SIGKILL);
    test::wait_for(first);
    EXPECT_EQ(test::wait_for(second), 0);
    EXPECT_EQ(test::wait_for(third), 0);
    ASSERT_TRUE(may_end_with(test::wait_for(start(0, 3))));
    require_result(cat("part ", part));
  }
}

TEST_P(KilledRanks, TwiceAtTheSameTime) {
  for (int round = 0; round < 3; ++round) {
    remove_all(folder_ / "out");
    std::vector<pid_t> children;
    for (int copy = 0; copy < 2; ++copy)
      for (int r = 0; r < 2; ++r) children.push_back(start(r, 2));
    for (const pid_t child : children) {
      const int status = test::wait_for(child);
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) <= 2) << status;  // done, or refused
    }
    if (!exists(folder_ / "out"))
      for (int r = 0; r < 2; ++r) test::wait_for(start(r, 2));
    require_result(cat("round ", round));
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, KilledRanks, testing::ValuesIn(kCases),
                         [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace solera
