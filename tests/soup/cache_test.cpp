#include "solera/soup/cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <set>

#include <gmock/gmock.h>

#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera::soup {
namespace {

class CacheTest : public ::testing::Test {
 protected:
  // A file that was last changed long ago.
  std::string settled(const std::string& name, const std::string& content) {
    write_atomically(folder_ / name, content);
    const timespec old[2] = {{1'000'000'000, 5}, {1'000'000'000, 5}};
    ::utimensat(AT_FDCWD, (folder_ / name).c_str(), old, 0);
    return folder_ / name;
  }
  TemporaryFolder folder_;
  const std::string place_ = folder_ / "cache";
};

TEST_F(CacheTest, KeepsScoresExactly) {
  const double score = 0.1 + 0.2;
  {
    Cache cache(place_);
    EXPECT_FALSE(exists(place_));
    EXPECT_FALSE(cache.find("k").has_value());
    cache.add("k", {score, 1.5}, "a + b", "eval {checkpoint}");
    EXPECT_EQ(cache.find("k")->score, score);
  }
  const Cache again(place_);
  EXPECT_EQ(again.find("k")->score, score);
  EXPECT_EQ(again.find("k")->seconds, 1.5);
  EXPECT_EQ(read_file(place_ + "/evaluations.jsonl"),
            "{\"key\":\"k\",\"score\":0.30000000000000004,\"seconds\":1.5,\"candidate\":\"a + b\",\"command\":\"eval "
            "{checkpoint}\"}\n");
}

TEST_F(CacheTest, SurvivesALineCutAnywhere) {
  Cache(place_).add("a", {1, 0}, "a", "c");
  const std::string path = place_ + "/evaluations.jsonl";
  const std::string first = read_file(path);
  Cache(place_).add("b", {2, 0}, "b", "c");
  const std::string both = read_file(path);
  for (std::size_t size = first.size(); size < both.size(); ++size) {
    write_atomically(path, both.substr(0, size));
    Cache cache(place_);
    EXPECT_EQ(cache.find("a")->score, 1) << size;
    EXPECT_EQ(cache.find("b").has_value(), size == both.size() - 1) << size;  // whole but for the line's end
    cache.add("c", {3, 0}, "c", "c");
    EXPECT_EQ(Cache(place_).find("a")->score, 1);
    EXPECT_EQ(Cache(place_).find("c")->score, 3);
  }
}

TEST_F(CacheTest, SkipsWhatIsNoScore) {
  make_folders(place_);
  write_atomically(
      place_ + "/evaluations.jsonl",
      "[1]\n3\n\n{\"key\": \"a\"}\n{\"key\": \"b\", \"score\": \"high\"}\n{\"key\": \"c\", \"score\": null}\n"
      "{\"key\": [], \"score\": 1}\n{\"score\": 1}\n{\"key\": \"d\", \"score\": 4}\n");
  const Cache cache(place_);
  for (const char* key : {"a", "b", "c"}) EXPECT_FALSE(cache.find(key).has_value()) << key;
  EXPECT_EQ(cache.find("d")->score, 4);
}

TEST_F(CacheTest, RemembersHashesOfSettledFiles) {
  const std::string file = settled("f", "one");
  const std::string hash = Cache(place_).hash(file);
  EXPECT_EQ(hash, Cache(place_).hash(file));
  EXPECT_EQ(JournalFile(place_ + "/hashes.jsonl").read().size(), 1u);
  settled("f", "two");  // the same size and time: taken for unchanged, as make does
  EXPECT_EQ(Cache(place_).hash(file), hash);
  settled("f", "three");
  EXPECT_NE(Cache(place_).hash(file), hash);
}

TEST_F(CacheTest, ReadsFreshFilesAgain) {
  write_atomically(folder_ / "f", "one");
  Cache cache(place_);
  const std::string hash = cache.hash(folder_ / "f");
  write_atomically(folder_ / "f", "two");
  EXPECT_NE(cache.hash(folder_ / "f"), hash);
  EXPECT_FALSE(exists(place_));
}

TEST_F(CacheTest, HashesFoldersByNamesAndContent) {
  Cache cache(place_);
  make_folders(folder_ / "d/e");
  const std::string empty = cache.hash(folder_ / "d");
  write_atomically(folder_ / "d/e/f", "1");
  const std::string one = cache.hash(folder_ / "d");
  write_atomically(folder_ / "d/e/f", "2");
  const std::string two = cache.hash(folder_ / "d");
  rename_path(folder_ / "d/e/f", folder_ / "d/e/g");
  EXPECT_EQ((std::set{empty, one, two, cache.hash(folder_ / "d")}).size(), 4u);
  EXPECT_EQ(test::message_of([&] { cache.hash(folder_ / "nowhere/x"); }), cat(folder_ / "nowhere/x", ": no such file"));
}

}  // namespace
}  // namespace solera::soup
