#include "solera/checkpoint/source.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using test::message_of;

std::string pattern_bytes(std::size_t count) {
  std::string text(count, '\0');
  for (std::size_t i = 0; i < count; ++i) text[i] = static_cast<char>(i * 7 + i / 256 + 1);
  return text;
}

std::string write_file(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void truncate_to(const std::string& path, off_t size) { ASSERT_EQ(::truncate(path.c_str(), size), 0); }

class SourceTest : public ::testing::TestWithParam<Access> {
 protected:
  TemporaryFolder folder_;
};

TEST_P(SourceTest, EveryRangeOfASmallFile) {
  const std::string content = pattern_bytes(9);
  const auto source = open_file(write_file(folder_ / "x", content), GetParam());
  ASSERT_EQ(source->size(), 9u);
  std::vector<std::byte> scratch;
  for (std::uint64_t offset = 0; offset <= 9; ++offset) {
    for (std::uint64_t length = 0; length <= 9 - offset; ++length) {
      EXPECT_EQ(text_of(source->view(offset, length, scratch)), content.substr(offset, length));
    }
  }
  source->check();
}

TEST_P(SourceTest, AnEmptyFileHasAnEmptyView) {
  const auto source = open_file(write_file(folder_ / "x", ""), GetParam());
  std::vector<std::byte> scratch;
  EXPECT_EQ(source->size(), 0u);
  EXPECT_TRUE(source->view(0, 0, scratch).empty());
  source->check();
}

TEST_P(SourceTest, RangesPastTheEndAreRefused) {
  const std::string path = write_file(folder_ / "x", "12345");
  const auto source = open_file(path, GetParam());
  std::vector<std::byte> scratch;
  EXPECT_EQ(message_of([&] { source->view(3, 3, scratch); }),
            "3 bytes at 3 pass the end of the file, which has 5 bytes (" + path + ")");
  EXPECT_THROW(source->view(6, 0, scratch), Error);
  EXPECT_THROW(source->view(1, UINT64_MAX, scratch), Error);
  EXPECT_THROW(source->view(UINT64_MAX, 2, scratch), Error);
  EXPECT_TRUE(scratch.empty());
}

TEST_P(SourceTest, AdviceForAnyRangeChangesNothing) {
  const std::string content = pattern_bytes(20000);
  const auto source = open_file(write_file(folder_ / "x", content), GetParam());
  std::vector<std::byte> scratch;
  for (const std::uint64_t offset : {0ull, 1ull, 4096ull, 19999ull, 20000ull, 1ull << 40}) {
    for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{9000}, UINT64_MAX}) {
      source->want(offset, length);
      source->release(offset, length);
      EXPECT_EQ(text_of(source->view(0, 20000, scratch)), content);
    }
  }
}

// The file loses bytes behind our back: at a page boundary, within a page, within its last page, and all of them.
TEST_P(SourceTest, AShrinkingFileIsAnErrorNotASignal) {
  const std::string content = pattern_bytes(5 * 4096 + 100);
  for (const off_t size : {3 * 4096, 3 * 4096 + 5, 5 * 4096 + 7, 0}) {
    const std::string path = write_file(folder_ / ("x" + std::to_string(size)), content);
    const auto source = open_file(path, GetParam());
    std::vector<std::byte> scratch;
    truncate_to(path, size);
    const std::string shrank = path + ": the file shrank while it was read; run again when nothing else writes to it";
    if (GetParam() == Access::kMap) {
      std::string expected = content.substr(0, static_cast<std::size_t>(size));
      expected.resize(content.size(), '\0');
      EXPECT_EQ(text_of(source->view(0, content.size(), scratch)), expected);
    } else {
      EXPECT_EQ(message_of([&] { source->view(0, content.size(), scratch); }), shrank);
    }
    EXPECT_EQ(message_of([&] { source->check(); }), shrank);
  }
}

TEST_P(SourceTest, AReplacedOrRemovedFileIsStillWhole) {
  const std::string content = pattern_bytes(9000);
  const std::string path = write_file(folder_ / "x", content);
  const auto source = open_file(path, GetParam());
  std::vector<std::byte> scratch;
  rename_path(write_file(folder_ / "y", "short"), path);
  source->check();
  remove_all(path);
  source->check();
  EXPECT_EQ(text_of(source->view(0, 9000, scratch)), content);
}

TEST_P(SourceTest, ThreadsMayLoseTheSameMappingAtOnce) {
  const std::string path = write_file(folder_ / "x", pattern_bytes(64 * 4096));
  const auto source = open_file(path, GetParam());
  truncate_to(path, 4096);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::vector<std::byte> scratch;
      for (std::uint64_t page = 63; page > 0; --page) {
        if (GetParam() == Access::kMap) {
          EXPECT_EQ(source->view(page * 4096 + static_cast<std::uint64_t>(t), 1, scratch)[0], std::byte{0});
        } else {
          EXPECT_THROW(source->view(page * 4096, 1, scratch), Error);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THROW(source->check(), Error);
}

INSTANTIATE_TEST_SUITE_P(Access, SourceTest, ::testing::Values(Access::kMap, Access::kRead),
                         [](const auto& row) { return row.param == Access::kMap ? "Map" : "Read"; });

TEST(SourceGuardTest, ManyMappingsComeAndGoWhileOneIsLost) {
  const TemporaryFolder folder;
  const std::string lost_path = write_file(folder / "lost", pattern_bytes(4096));
  const std::string kept_path = write_file(folder / "kept", pattern_bytes(4096));
  const auto lost = open_file(lost_path, Access::kMap);
  std::vector<std::shared_ptr<const Source>> kept;
  for (int i = 0; i < 200; ++i) kept.push_back(open_file(kept_path, Access::kMap));  // more than a block of the table
  truncate_to(lost_path, 0);
  std::thread churn([&] {
    for (int i = 0; i < 500; ++i) open_file(kept_path, Access::kMap);
  });
  std::vector<std::byte> scratch;
  EXPECT_EQ(lost->view(9, 1, scratch)[0], std::byte{0});
  churn.join();
  EXPECT_THROW(lost->check(), Error);
  for (const auto& source : kept) source->check();
}

// Runs in a child: a fault outside our mappings goes to the handler that was there before the first mapping.
TEST(SourceGuardDeathTest, OtherFaultsReachThePreviousHandler) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const TemporaryFolder folder;
  const std::string path = write_file(folder / "x", pattern_bytes(4096));
  EXPECT_EXIT(
      {
        struct sigaction action = {};
        action.sa_handler = [](int) { ::_exit(42); };
        ::sigaction(SIGBUS, &action, nullptr);
        const auto source = open_file(path, Access::kMap);
        ::raise(SIGBUS);
      },
      ::testing::ExitedWithCode(42), "");
  EXPECT_EXIT(
      {
        ::signal(SIGBUS, SIG_DFL);
        const auto source = open_file(path, Access::kMap);
        ::raise(SIGBUS);
      },
      ::testing::KilledBySignal(SIGBUS), "");
}

TEST(OpenFileTest, WhatIsNotAFileIsNamed) {
  const TemporaryFolder folder;
  write_file(folder / "model.safetensors", "x");
  EXPECT_EQ(message_of([&] { open_file(folder / "model.safetensor"); }),
            folder.path() + "/model.safetensor: no such file; did you mean " + folder.path() + "/model.safetensors?");
  EXPECT_EQ(message_of([&] { open_file(folder.path()); }), folder.path() + " is a folder, not a file");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(message_of([&] { open_file(folder / "pipe"); }), folder.path() + "/pipe is not a regular file");
}

TEST(MemorySourceTest, ServesItsBytesUnderItsName) {
  const auto source = memory_source("unpacked", {std::byte{1}, std::byte{2}});
  std::vector<std::byte> scratch;
  EXPECT_EQ(source->path(), "unpacked");
  EXPECT_EQ(source->view(1, 1, scratch)[0], std::byte{2});
  EXPECT_EQ(message_of([&] { source->view(2, 1, scratch); }),
            "1 bytes at 2 pass the end of the file, which has 2 bytes (unpacked)");
}

}  // namespace
}  // namespace solera::checkpoint
