// How long the program takes to begin: `solera --version`, and `solera inspect` of a folder of 1,000 tensors, against
// starting /bin/true. A fresh process a sample, in turn; medians of 51.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/checkpoint/writer.h"

extern char** environ;

namespace {

using namespace solera;

double milliseconds(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  const auto begin = std::chrono::steady_clock::now();
  pid_t child = 0;
  int status = 0;
  if (posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ) != 0 ||
      ::waitpid(child, &status, 0) != child || status != 0)
    throw io_error("failed", command[0]);
  posix_spawn_file_actions_destroy(&actions);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

void run() {
  const std::string solera = join_path(parent_folder(canonical("/proc/self/exe")), "solera");
  const TemporaryFolder folder;
  std::vector<checkpoint::TensorInfo> tensors;
  for (int i = 0; i < 1000; ++i)
    tensors.push_back({cat("model.layers.", i / 10, ".block.", i % 10, ".weight"), checkpoint::DType::kF16, {64, 64}});
  const auto layout = checkpoint::plan_layout(tensors, {.shard_bytes = 2'000'000});
  checkpoint::ShardWriter(folder.path(), layout).sync();
  if (!layout.index.empty()) write_atomically(folder / "model.safetensors.index.json", layout.index);
  const std::vector<std::vector<std::string>> commands = {
      {"/bin/true"}, {solera, "--version"}, {solera, "inspect", folder.path()}};
  std::vector<std::vector<double>> times(commands.size());
  for (int sample = 0; sample < 51; ++sample)
    for (std::size_t c = 0; c < commands.size(); ++c) times[c].push_back(milliseconds(commands[c]));
  const char* names[] = {"/bin/true", "solera --version", "solera inspect (1,000 tensors, 5 shards)"};
  for (std::size_t c = 0; c < commands.size(); ++c) {
    std::sort(times[c].begin(), times[c].end());
    std::printf("%-42s median %.1f ms (%.1f to %.1f)\n", names[c], times[c][25], times[c].front(), times[c].back());
  }
}

}  // namespace

int main() {
  try {
    run();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "bench_start: " << error.what() << "\n";
    return 1;
  }
}
