// The same merge in a pseudo-terminal and in a pipe: the one repaints a line, the other gets plain lines.
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "solera/base/process.h"
#include "tests/support/support.h"

namespace solera {
namespace {

const std::string kSolera = SOLERA_BINARY_DIR "/bin/solera";

// Runs a shell line with a terminal of the given width as its input, output and error; all that it printed.
std::string in_terminal(const std::string& line, const std::string& folder, unsigned short width, const char* term) {
  winsize size{24, width, 0, 0};
  int terminal = -1;
  const pid_t child = forkpty(&terminal, nullptr, nullptr, &size);
  if (child == 0) {
    setenv("TERM", term, 1);
    unsetenv("NO_COLOR");
    unsetenv("CLICOLOR_FORCE");
    if (chdir(folder.c_str()) == 0) execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  std::string printed;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(terminal, buffer, sizeof buffer)) > 0;)
    printed.append(buffer, static_cast<std::size_t>(n));
  int status = 0;
  waitpid(child, &status, 0);
  close(terminal);
  EXPECT_EQ(status, 0) << printed;
  return printed;
}

class Drawing : public testing::Test {
 protected:
  Drawing() {
    using checkpoint::DType;
    test::write_model(folder / "a.safetensors", {test::tensor("w", DType::kF32, {2}, {1, 2})});
    test::write_model(folder / "b.safetensors", {test::tensor("w", DType::kF32, {2}, {3, 4})});
    write_atomically(folder / "blend.yaml",
                     "merge_method: linear\nmodels:\n- {model: a.safetensors, parameters: {weight: 1}}\n"
                     "- {model: b.safetensors, parameters: {weight: 1}}\ndtype: float32\n");
  }
  TemporaryFolder folder;
  const std::string command = kSolera + " merge blend.yaml -o out.safetensors";
};

TEST_F(Drawing, RepaintsALineInATerminal) {
  const std::string printed = in_terminal(command, folder.path(), 80, "xterm");
  EXPECT_NE(printed.find("\r  0 %  0 of "), std::string::npos) << printed;
  EXPECT_NE(printed.find("\033[K"), std::string::npos) << printed;
}

TEST_F(Drawing, StaysWithinANarrowTerminal) {
  const std::string printed = in_terminal(command, folder.path(), 20, "xterm");
  const std::size_t begin = printed.find("\r  0 %") + 1, end = printed.find("\033[K", begin);
  ASSERT_NE(end, std::string::npos) << printed;
  EXPECT_LT(end - begin, 20u) << printed;
}

TEST_F(Drawing, IsPlainInADumbTerminal) {
  const std::string printed = in_terminal(command, folder.path(), 80, "dumb");
  EXPECT_EQ(printed.find("\033"), std::string::npos) << printed;
  EXPECT_NE(printed.find("merge: "), std::string::npos) << printed;
}

TEST_F(Drawing, IsPlainInAPipe) {
  Command piped;
  piped.shell = command + " 2>&1 | cat";
  piped.folder = folder.path();
  const Outcome outcome = run(piped);
  EXPECT_EQ(outcome.output.find_first_of("\r\033"), std::string::npos) << outcome.output;
  EXPECT_NE(outcome.output.find("merge: "), std::string::npos) << outcome.output;
}

TEST_F(Drawing, ColorsErrorsInATerminalOnly) {
  const std::string line = kSolera + " nonsense || true";
  EXPECT_NE(in_terminal(line, folder.path(), 80, "xterm").find("\033[31;1merror\033[0m"), std::string::npos);
  EXPECT_EQ(in_terminal("NO_COLOR=1 " + kSolera + " nonsense || true", folder.path(), 80, "xterm").find('\033'),
            std::string::npos);
}

}  // namespace
}  // namespace solera
