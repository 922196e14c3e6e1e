#include "solera/base/files.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <csignal>

#include <cstdlib>

#include "solera/base/error.h"
#include "tests/support/support.h"

namespace solera {
namespace {

using test::message_of;

TEST(Files, ReadsUpToTheLimit) {
  const TemporaryFolder folder;
  const std::string path = folder / "f";
  for (const std::size_t size : {0u, 1u, 5u, 70'000u}) {
    const std::string content(size, 'x');
    write_atomically(path, content);
    EXPECT_EQ(read_file(path), content);
    EXPECT_EQ(read_file(path, size), content);
    EXPECT_EQ(file_size(path), size);
  }
  EXPECT_EQ(message_of([&] { read_file(path, 69'999); }),
            "the file has 70000 bytes, more than the 69999 allowed here (" + path + ")");
  EXPECT_EQ(message_of([&] { read_file("/dev/zero", 100'000); }),
            "the file has at least 131072 bytes, more than the 100000 allowed here (/dev/zero)");
}

TEST(Files, MissingOnesNameANeighbor) {
  const TemporaryFolder folder;
  write_atomically(folder / "blend.yaml", "");
  const std::string wrong = folder / "blnd.yaml", near = folder / "blend.yaml";
  EXPECT_EQ(missing_file(wrong).kind(), ErrorKind::kIo);
  const std::string message = wrong + ": no such file; did you mean " + near + "?";
  EXPECT_EQ(message_of([&] { read_file(wrong); }), message);
  EXPECT_EQ(message_of([&] { file_size(wrong); }), message);
  EXPECT_EQ(message_of([&] { list_folder(wrong); }), message);
  EXPECT_EQ(message_of([&] { copy_file(wrong, folder / "x"); }), message);
  EXPECT_EQ(message_of([&] { rename_path(wrong, folder / "x"); }), message);
  EXPECT_EQ(message_of([&] { read_file(folder / "quite_different"); }),
            (folder / "quite_different") + ": no such file");
  make_folders(folder / "models");
  EXPECT_EQ(message_of([&] { read_file(folder / "modles/a/b"); }),
            (folder / "modles/a/b") + ": no such file; did you mean " + (folder / "models") + "?");
  EXPECT_EQ(list_folder(folder.path()), (std::vector<std::string>{"blend.yaml", "models"}));
}

TEST(Files, PathsTakenApart) {
  const std::vector<std::array<std::string, 3>> parts = {
      {"a/b", "b", "a"}, {"a/b/", "b", "a"}, {"a", "a", "."},   {"/a", "a", "/"},    {"/", "/", "/"},
      {"", "", "."},     {"a//b", "b", "a"}, {"./a", "a", "."}, {"a/b//", "b", "a"}, {"//a", "a", "/"}};
  for (const auto& [path, name, parent] : parts) {
    EXPECT_EQ(file_name(path), name) << path;
    EXPECT_EQ(parent_folder(path), parent) << path;
  }
  EXPECT_EQ(join_path("a", "b"), "a/b");
  EXPECT_EQ(join_path("a/", "b"), "a/b");
  EXPECT_EQ(join_path("", "b"), "b");
  EXPECT_EQ(join_path("a", "/b"), "/b");
  EXPECT_EQ(join_path("a", ""), "a");
}

TEST(Files, CanonicalAndSame) {
  const TemporaryFolder folder;
  write_atomically(folder / "f", "1");
  write_atomically(folder / "g", "1");
  ASSERT_EQ(::symlink("f", (folder / "link").c_str()), 0);
  EXPECT_EQ(canonical(folder / "link"), canonical(folder / "f"));
  EXPECT_EQ(canonical(folder / "no/../x/"), canonical(folder.path()) + "/x");
  EXPECT_TRUE(same_file(folder / "link", folder / "f"));
  EXPECT_FALSE(same_file(folder / "g", folder / "f"));
  EXPECT_FALSE(same_file(folder / "nothing", folder / "f"));
  EXPECT_FALSE(same_file(folder / "nothing", folder / "nothing"));
}

TEST(Files, FoldersAreMadeAndRemoved) {
  const TemporaryFolder folder;
  make_folders(folder / "a/b/c");
  make_folders(folder / "a/b/c");
  EXPECT_TRUE(is_folder(folder / "a/b/c"));
  write_atomically(folder / "a/f", "x");
  EXPECT_TRUE(exists(folder / "a/f"));
  EXPECT_FALSE(is_folder(folder / "a/f"));
  EXPECT_EQ(message_of([&] { make_folders(folder / "a/f"); }),
            "cannot make the folder: Not a directory (" + (folder / "a/f") + ")");
  remove_all(folder / "a/b");
  remove_all(folder / "a/b");
  EXPECT_FALSE(exists(folder / "a/b"));
  remove_at_once(folder / "a");
  remove_at_once(folder / "a");
  EXPECT_EQ(list_folder(folder.path()), std::vector<std::string>{});
}

TEST(Files, CopyAndRenameReplace) {
  const TemporaryFolder folder;
  write_atomically(folder / "a", "one");
  write_atomically(folder / "b", "two");
  copy_file(folder / "a", folder / "b");
  EXPECT_EQ(read_file(folder / "b"), "one");
  rename_path(folder / "a", folder / "c");
  EXPECT_EQ(list_folder(folder.path()), (std::vector<std::string>{"b", "c"}));
  EXPECT_EQ(message_of([&] { copy_file(folder / "b", folder / "no/b"); }),
            "cannot copy " + (folder / "b") + ": No such file or directory (" + (folder / "no/b") + ")");
  make_folders(folder / "full/x");
  EXPECT_EQ(message_of([&] { copy_file(folder / "b", folder / "full"); }).substr(0, 14), "cannot rename ");
  EXPECT_EQ(list_folder(folder.path()), (std::vector<std::string>{"b", "c", "full"})) << "nothing remains";
}

TEST(WriteAtomically, KeepsTheUsualPermissionsAndLinks) {
  const TemporaryFolder folder;
  const mode_t old = ::umask(027);
  write_atomically(folder / "f", "1");
  ::umask(old);
  struct stat status{};
  ASSERT_EQ(::stat((folder / "f").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
  ASSERT_EQ(::symlink("f", (folder / "link").c_str()), 0);
  write_atomically(folder / "link", "2");
  EXPECT_EQ(read_file(folder / "f"), "2");
  write_atomically(folder / std::string(255, 'n'), "3");
  EXPECT_EQ(read_file(folder / std::string(255, 'n')), "3") << "the longest name that there is";
}

TEST(WriteAtomically, NothingRemainsOfAnError) {
  const TemporaryFolder folder;
  make_folders(folder / "taken/x");
  EXPECT_EQ(message_of([&] { write_atomically(folder / "taken", "1"); }),
            "cannot replace: Is a directory (" + (folder / "taken") + ")");
  EXPECT_EQ(message_of([&] { write_atomically(folder / "no/f", "1"); }),
            "cannot create: No such file or directory (" + (folder / "no/f") + ")");
  EXPECT_EQ(list_folder(folder.path()), std::vector<std::string>{"taken"});

  write_atomically(folder / "f", "old");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message = message_of([&] { write_atomically(folder / "f", std::string(2000, 'x')); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(message, "cannot write: File too large (" + (folder / "f") + ")");
  EXPECT_EQ(read_file(folder / "f"), "old");
  EXPECT_EQ(list_folder(folder.path()), (std::vector<std::string>{"f", "taken"}));
}

TEST(WriteAtomically, DevicesAreWrittenNotReplaced) {
  EXPECT_EQ(message_of([] { write_atomically("/dev/full", "x"); }),
            "cannot write: No space left on device (/dev/full)");
  write_atomically("/dev/null", "x");
  struct stat status{};
  ASSERT_EQ(::stat("/dev/null", &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
}

TEST(TemporaryFolder, IsItsOwnAndGone) {
  std::string path;
  {
    const TemporaryFolder one("abc"), two("abc");
    path = one.path();
    EXPECT_NE(path, two.path());
    EXPECT_TRUE(file_name(path).starts_with("abc-"));
    make_folders(one / "a/b");
    write_atomically(one / "a/b/f", "x");
  }
  EXPECT_FALSE(exists(path));
}

TEST(TemporaryFolder, IsBelowTmpdir) {
  const TemporaryFolder folder;
  const char* before = std::getenv("TMPDIR");
  const std::string saved = before ? before : "";
  ::setenv("TMPDIR", folder.path().c_str(), 1);
  const std::string parent = parent_folder(TemporaryFolder().path());
  ::setenv("TMPDIR", (folder / "no").c_str(), 1);
  const std::string message = message_of([] { TemporaryFolder("t"); });
  before ? ::setenv("TMPDIR", saved.c_str(), 1) : ::unsetenv("TMPDIR");
  EXPECT_EQ(parent, folder.path());
  EXPECT_EQ(message, "cannot make a temporary folder: No such file or directory (" + (folder / "no") +
                         "); set TMPDIR to a folder with room");
}

TEST(Stop, IsSeenWhenAskedFor) {
  EXPECT_FALSE(stop_requested());
  throw_if_stopped();
  request_stop(true);
  EXPECT_TRUE(stop_requested());
  try {
    throw_if_stopped();
    ADD_FAILURE() << "not stopped";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInterrupted);
    EXPECT_STREQ(error.what(), "stopped by a signal; the same command continues");
  }
  request_stop(false);
  EXPECT_FALSE(stop_requested());
}

TEST(StopDeathTest, TheSecondSignalEndsTheProcess) {
  EXPECT_EXIT(
      {
        std::signal(SIGINT, SIG_DFL);
        std::signal(SIGTERM, SIG_DFL);
        install_stop_signals();
        std::raise(SIGINT);
        if (!stop_requested()) std::_Exit(1);
        std::raise(SIGTERM);
        std::_Exit(2);
      },
      testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace solera
