// A merge that is really killed: SIGKILL at twenty instants of a run, then the same command to its end. The result must
// be that of a run that nobody disturbed, byte for byte, for 1, 2 and 7 threads and three chunk sizes (which --memory
// sets).

#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "solera/base/random.h"
#include "solera/base/text.h"
#include "tests/support/processes.h"
#include "tests/support/support.h"

namespace solera {
namespace {

using Clock = std::chrono::steady_clock;

const std::string kProgram = std::string(SOLERA_BINARY_DIR) + "/bin/solera";

class Killed : public testing::Test {
 protected:
  Killed() {
    for (std::uint64_t model = 0; model < 3; ++model) {
      std::vector<checkpoint::NamedBytes> tensors;
      for (int t = 0; t < 24; ++t) {
        const std::string name = cat("layers.", t, ".weight");
        checkpoint::NamedBytes tensor{{name, checkpoint::DType::kBF16, {512, 300}}, {}};
        tensor.bytes.resize(tensor.info.bytes());
        const RandomStream stream({.seed = 2, .purpose = "test.kill", .input = model, .name = name});
        for (std::size_t i = 0; i < tensor.bytes.size(); i += 2) {
          tensor.bytes[i] = static_cast<std::byte>(stream.below(i, 256));
          tensor.bytes[i + 1] = static_cast<std::byte>(0x3C + stream.below(i + 1, 2));  // about 0.01 to 0.1
        }
        tensors.push_back(std::move(tensor));
      }
      test::write_model(folder_ / cat("m", model, ".safetensors"), tensors);
    }
    write_atomically(folder_ / "ties.yaml",
                     cat("merge_method: ties\nbase_model: ", folder_ / "m0.safetensors",
                         "\nmodels:\n  - {model: ", folder_ / "m1.safetensors",
                         ", parameters: {weight: 0.7, density: 0.4}}\n  - {model: ", folder_ / "m2.safetensors",
                         ", parameters: {weight: 0.4, density: 0.6}}\n"));
  }

  pid_t start(const std::string& out, int threads, const std::string& memory) {
    const std::vector<std::string> words = {kProgram,      "merge",     folder_ / "ties.yaml",   "-o",
                                            folder_ / out, "--threads", std::to_string(threads), "--memory",
                                            memory};
    return test::start_quietly(words);
  }

  TemporaryFolder folder_;
};

TEST_F(Killed, AtTwentyInstantsAndContinued) {
  const auto begin = Clock::now();
  ASSERT_EQ(test::wait_for(start("whole.safetensors", 2, "256MiB")), 0);
  const double whole = std::chrono::duration<double>(Clock::now() - begin).count();
  const std::string expected = test::slurp(folder_ / "whole.safetensors");
  const RandomStream instants({.seed = 3, .purpose = "test.kill"});
  const int threads[] = {1, 2, 7};
  const std::string memory[] = {"128MiB", "256MiB", "1GiB"};
  int killed = 0;
  for (std::uint64_t i = 0; i < 20; ++i) {
    const std::string out = folder_ / "out.safetensors";
    remove_all(out);
    const pid_t child = start("out.safetensors", threads[i % 3], memory[i / 3 % 3]);
    std::this_thread::sleep_for(std::chrono::duration<double>(whole * instants.uniform(i)));
    ::kill(child, SIGKILL);
    killed += WIFSIGNALED(test::wait_for(child));
    // The same command, whatever the kill has left; a run that had ended is repeated where nothing is left to do.
    if (!exists(out) || exists(out + ".partial")) {
      ASSERT_EQ(test::wait_for(start("out.safetensors", threads[(i + 1) % 3], memory[(i + 1) % 3])), 0)
          << "instant " << i;
    }
    ASSERT_TRUE(test::slurp(out) == expected) << "instant " << i;
    ASSERT_FALSE(exists(out + ".partial"));
  }
  EXPECT_GT(killed, 0);
}

}  // namespace
}  // namespace solera
