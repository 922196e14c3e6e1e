#include "solera/checkpoint/remote.h"

#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/checkpoint/checkpoint.h"
#include "solera/checkpoint/http.h"
#include "solera/checkpoint/remote_cache.h"
#include "tests/support/http_server.h"
#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using test::ServedFile;

constexpr std::uint64_t kBlock = kRemoteBlock;

std::string bytes_of(std::uint64_t size, unsigned seed = 1) {
  std::string text(size, '\0');
  std::uint64_t state = seed;
  for (char& c : text) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>(state >> 56);
  }
  return text;
}

std::string view(const Source& source, std::uint64_t offset, std::uint64_t length) {
  std::vector<std::byte> scratch;
  const auto bytes = source.view(offset, length, scratch);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Remote : public test::RemoteTest {
 protected:
  // An error's line with this server's and this test's places taken out.
  std::string message(const std::function<void()>& action) const {
    std::string text = test::message_of(action);
    for (const auto& [from, to] :
         {std::pair(server_.url(), std::string("SERVER")), std::pair(folder_.path(), std::string("FOLDER"))})
      for (auto at = text.find(from); at != std::string::npos; at = text.find(from)) text.replace(at, from.size(), to);
    return text;
  }
  std::shared_ptr<const Source> open(const std::string& path = "/m.safetensors") const {
    return open_file(server_.url(path));
  }
  std::string open_message(const std::string& path = "/m.safetensors") const {
    return message([&] { (void)open(path); });
  }
  std::vector<std::string> ranges() const {
    std::vector<std::string> all;
    for (const auto& request : server_.requests()) all.push_back(request.header("range"));
    return all;
  }
};

TEST_F(Remote, AViewFetchesTheBlocksThatItTouchesOnce) {
  const std::string content = bytes_of(5 * kBlock + 100);
  server_.serve("/m.safetensors", {.content = content});
  const auto source = open();
  EXPECT_EQ(source->size(), content.size());
  EXPECT_EQ(source->path(), server_.url("/m.safetensors"));
  server_.forget();
  EXPECT_EQ(view(*source, kBlock - 2, 4), content.substr(kBlock - 2, 4));
  EXPECT_EQ(ranges(), (std::vector<std::string>{cat("bytes=0-", 2 * kBlock - 1)}));
  EXPECT_EQ(view(*source, 10, 100), content.substr(10, 100));
  EXPECT_EQ(view(*source, content.size() - 50, 50), content.substr(content.size() - 50));
  EXPECT_EQ(view(*source, content.size(), 0), "");
  EXPECT_EQ(server_.requests().size(), 2u);
  EXPECT_EQ(view(*source, 0, content.size()), content);
  source->check();
  EXPECT_EQ(message([&] { view(*source, content.size(), 1); }),
            cat("1 bytes at ", content.size(), " pass the end of the file, which has ", content.size(),
                " bytes (SERVER/m.safetensors)"));
}

TEST_F(Remote, EveryRangeAsksForTheVersionThatWasOpened) {
  server_.serve("/m.safetensors", {.content = bytes_of(3 * kBlock), .etag = "\"v1\""});
  const auto source = open();
  server_.forget();
  view(*source, 0, 3 * kBlock);
  for (const auto& request : server_.requests()) EXPECT_EQ(request.header("if-match"), "\"v1\"");
  EXPECT_EQ(source->version(), "\"v1\"");
}

TEST_F(Remote, WhatIsExpectedComesInTheBackground) {
  const std::string content = bytes_of(40 * kBlock);
  server_.serve("/m.safetensors", {.content = content});
  const auto source = open();
  source->expect(0, content.size());
  EXPECT_EQ(view(*source, 39 * kBlock, kBlock), content.substr(39 * kBlock));
  EXPECT_EQ(view(*source, 0, content.size()), content);
  server_.forget();
  EXPECT_EQ(view(*source, 0, content.size()), content);
  EXPECT_EQ(server_.requests().size(), 0u);
}

TEST_F(Remote, ASourceThatGoesAwayCallsItsTransfersOff) {
  server_.serve("/m.safetensors", {.content = bytes_of(64 * kBlock), .milliseconds_per_chunk = 20});
  auto source = open();
  source->expect(0, 64 * kBlock);
  source.reset();
  EXPECT_LT(server_.count("/m.safetensors"), 60u);
}

TEST_F(Remote, ManyThreadsReadOneFile) {
  const std::string content = bytes_of(20 * kBlock + 7);
  server_.serve("/m.safetensors", {.content = content});
  const auto source = open();
  Pool pool(4);
  pool.for_each(200, [&](std::int64_t i, int) {
    const std::uint64_t offset = static_cast<std::uint64_t>(i) * 7919 * 13 % (content.size() - 5000);
    if (i % 3 == 0) source->want(offset + kBlock, kBlock);
    ASSERT_EQ(view(*source, offset, 5000), content.substr(offset, 5000));
  });
}

TEST_F(Remote, ABrokenConnectionGoesOnWhereItBroke) {
  const std::string content = bytes_of(4 * kBlock);
  server_.serve("/m.safetensors", {.content = content, .breaks_after = 1'500'000, .breaks = 2});
  const auto source = open();
  server_.forget();
  EXPECT_EQ(view(*source, 0, content.size()), content);
  const auto asked = ranges();
  ASSERT_EQ(asked.size(), 3u);
  EXPECT_EQ(asked[0], cat("bytes=0-", content.size() - 1));
  // What the system had not handed over when the connection was reset is lost, but nothing before it is asked for
  // twice.
  const auto first = [](const std::string& range) { return parse_int(range.substr(6, range.find('-') - 6)).value(); };
  EXPECT_GT(first(asked[1]), 0);
  EXPECT_LE(first(asked[1]), 1'500'000);
  EXPECT_GT(first(asked[2]), first(asked[1]));
}

TEST_F(Remote, AServerThatGivesLessThanItWasAskedForIsAskedForTheRest) {
  const std::string content = bytes_of(2 * kBlock);
  server_.serve("/m.safetensors", {.content = content, .part_limit = 700'000});
  EXPECT_EQ(view(*open(), 0, content.size()), content);
}

TEST_F(Remote, SilenceCountsAsABreak) {
  http_settings().silence = std::chrono::seconds(1);
  const std::string content = bytes_of(2 * kBlock);
  server_.serve("/m.safetensors", {.content = content, .breaks_after = 300'000, .breaks = 1, .stalls = true});
  EXPECT_EQ(view(*open(), 0, content.size()), content);
}

TEST_F(Remote, BusyAnswersAreWaitedFor) {
  const std::string content = bytes_of(1000);
  server_.serve("/m.safetensors", {.content = content, .status = 503});
  std::atomic<int> asked = 0;
  server_.on_request([&](const auto&) {
    if (++asked == 3) server_.change("/m.safetensors", [](ServedFile& file) { file.status = 200; });
  });
  EXPECT_EQ(view(*open(), 0, 1000), content);
  server_.on_request({});
  server_.change("/m.safetensors", [](ServedFile& file) { file.status = 429; });
  EXPECT_EQ(open_message(),
            "the server answers 429, 4 times in a row (SERVER/m.safetensors); try again later, or download the file "
            "first and give its path");
}

TEST_F(Remote, AConnectionThatBreaksForGoodIsAnError) {
  server_.serve("/m.safetensors", {.content = bytes_of(2 * kBlock)});
  const auto source = open();
  server_.change("/m.safetensors", [](ServedFile& file) {
    file.breaks_after = 0;
    file.breaks = 1000;
  });
  const std::string line = message([&] { view(*source, 0, 10); });
  EXPECT_NE(line.find("(at byte 0 of 2097152), 4 times in a row (SERVER/m.safetensors); try again later"),
            std::string::npos)
      << line;
  EXPECT_EQ(message([&] { source->check(); }), line);
}

TEST_F(Remote, AServerThatEndsEarlyIsAnError) {
  const std::string content = bytes_of(2 * kBlock);
  server_.serve("/m.safetensors", {.content = content});
  const auto source = open();
  server_.change("/m.safetensors", [](ServedFile& file) { file.part_limit = 0; });
  EXPECT_EQ(
      message([&] { view(*source, 0, 10); }),
      "the server ends the transfer at byte 0 of 2097152, 4 times in a row (SERVER/m.safetensors); try again later, "
      "or download the file first and give its path");
}

TEST_F(Remote, AServerWithoutRangesIsRefused) {
  server_.serve("/m.safetensors", {.content = bytes_of(kBlock), .ranges = false});
  EXPECT_EQ(open_message(),
            "the server ignores ranges: it sends the whole file where a part is asked for (SERVER/m.safetensors); "
            "download the file first and give its path");
}

TEST_F(Remote, AServerThatForgetsItsRangesIsRefused) {
  server_.serve("/m.safetensors", {.content = bytes_of(2 * kBlock)});
  const auto source = open();
  server_.change("/m.safetensors", [](ServedFile& file) { file.ranges = false; });
  EXPECT_EQ(message([&] { view(*source, kBlock, 10); }),
            "the server ignores ranges: it sends the whole file where a part is asked for (SERVER/m.safetensors); "
            "download the file first and give its path");
}

TEST_F(Remote, AFileThatChangesIsRefused) {
  const std::string changed =
      "SERVER/m.safetensors: the file changed on the server while it was read; run again to read the new one";
  for (const bool checks_match : {true, false}) {
    server_.serve("/m.safetensors", {.content = bytes_of(2 * kBlock), .checks_match = checks_match});
    const auto source = open();
    view(*source, 0, 10);
    server_.serve("/m.safetensors", {.content = bytes_of(2 * kBlock, 2), .checks_match = checks_match});
    EXPECT_EQ(message([&] { view(*source, kBlock, 10); }), changed);
    EXPECT_EQ(message([&] { source->check(); }), changed);
  }
  server_.serve("/m.safetensors", {.content = bytes_of(2 * kBlock), .etag = "\"same\"", .checks_match = false});
  const auto source = open();
  server_.serve("/m.safetensors", {.content = bytes_of(2 * kBlock + 1), .etag = "\"same\"", .checks_match = false});
  EXPECT_EQ(message([&] { view(*source, kBlock, 10); }), changed);
}

TEST_F(Remote, AFileWithoutAVersionIsRefused) {
  server_.serve("/m.safetensors", {.content = bytes_of(10)}, true);
  EXPECT_EQ(open_message(),
            "the server gives neither ETag nor Last-Modified, so that a change could go unseen (SERVER/m.safetensors); "
            "download the file first and give its path");
  server_.serve("/w.safetensors", {.content = bytes_of(10), .etag = "W/\"weak\""});
  EXPECT_NE(open_message("/w.safetensors").find("neither ETag nor"), std::string::npos);
  server_.serve("/d.safetensors",
                {.content = bytes_of(10), .headers = {{"Last-Modified", "Sun, 29 Nov 2026 02:00:00 GMT"}}}, true);
  const auto source = open("/d.safetensors");
  server_.forget();
  view(*source, 0, 10);
  EXPECT_EQ(server_.requests().back().header("if-unmodified-since"), "Sun, 29 Nov 2026 02:00:00 GMT");
}

TEST_F(Remote, WhatIsNotThereOrNotOursSaysSo) {
  EXPECT_EQ(open_message("/none.safetensors"), "the server has no such file (SERVER/none.safetensors)");
  server_.serve("/m.safetensors", {.status = 401});
  EXPECT_EQ(open_message(),
            "the server answers 401 (no access) (SERVER/m.safetensors); put a name and password for this host into "
            "~/.netrc");
  server_.serve("/m.safetensors", {.status = 418});
  EXPECT_EQ(open_message(), "the server answers 418 (SERVER/m.safetensors)");
}

TEST_F(Remote, NobodyThereSaysSo) {
  std::string url;
  {
    const test::HttpServer gone;
    url = gone.url("/m.safetensors");
  }
  const std::string line = message([&] { (void)open_file(url); });
  EXPECT_NE(line.find(", 4 times in a row ("), std::string::npos) << line;
  EXPECT_NE(line.find(url), std::string::npos) << line;
}

TEST_F(Remote, RedirectsAreFollowedAndRememberedUntilTheyGoStale) {
  const std::string content = bytes_of(3 * kBlock);
  test::HttpServer other;
  other.serve("/store/x?sig=1", {.content = content});
  other.serve("/store/x?sig=2", {.content = content});
  server_.serve("/m.safetensors", {.redirect = other.url("/store/x?sig=1")});
  const auto source = open();
  EXPECT_EQ(view(*source, 0, 10), content.substr(0, 10));
  EXPECT_EQ(server_.requests().size(), 1u);
  other.change("/store/x?sig=1", [](ServedFile& file) { file.status = 403; });
  server_.serve("/m.safetensors", {.redirect = other.url("/store/x?sig=2")});
  EXPECT_EQ(view(*source, 2 * kBlock, 10), content.substr(2 * kBlock, 10));
  EXPECT_EQ(server_.requests().size(), 2u);
}

TEST_F(Remote, ARedirectToAnotherFileIsAChange) {
  server_.serve("/1", {.content = bytes_of(2 * kBlock)});
  server_.serve("/2", {.content = bytes_of(2 * kBlock, 2)});
  server_.serve("/m.safetensors", {.redirect = "/1"});
  const auto source = open();
  server_.serve("/m.safetensors", {.redirect = "2"});
  server_.change("/1", [](ServedFile& file) { file.status = 404; });
  EXPECT_EQ(message([&] { view(*source, 0, 10); }),
            "SERVER/m.safetensors: the file changed on the server while it was read; run again to read the new one");
}

TEST_F(Remote, RedirectsInACircleOrElsewhereAreRefused) {
  server_.serve("/m.safetensors", {.redirect = "/m.safetensors"});
  EXPECT_EQ(open_message(),
            "more than 8 redirects, the last to SERVER (SERVER/m.safetensors); download the file first and give its "
            "path");
  server_.serve("/m.safetensors", {.redirect = "file:///etc/passwd"});
  EXPECT_EQ(open_message(),
            "the server redirects to where HTTP does not lead (SERVER/m.safetensors); download the file first and give "
            "its path");
}

TEST_F(Remote, NameAndPasswordOfNetrcStayWithTheirHost) {
  const std::string content = bytes_of(100);
  test::HttpServer other;
  other.serve("/x", {.content = content});
  server_.serve("/m.safetensors", {.redirect = other.url("/x")});
  server_.serve("/n.safetensors", {.content = content});
  write_atomically(folder_ / "home/.netrc", "machine 127.0.0.1 login me password secret\n");
  EXPECT_EQ(view(*open(), 0, 100), content);
  for (const auto& request : server_.requests()) EXPECT_EQ(request.header("authorization"), "Basic bWU6c2VjcmV0");
  ASSERT_GE(other.requests().size(), 2u);
  for (const auto& request : other.requests()) EXPECT_EQ(request.header("authorization"), "");
  server_.forget();
  EXPECT_EQ(view(*open("/n.safetensors"), 0, 100), content);
  for (const auto& request : server_.requests()) EXPECT_EQ(request.header("authorization"), "Basic bWU6c2VjcmV0");
}

TEST_F(Remote, TheCacheKeepsWhatWasFetched) {
  const std::string content = bytes_of(3 * kBlock + 5);
  server_.serve("/m.safetensors", {.content = content});
  view(*open(), kBlock, 10);
  server_.forget();
  EXPECT_EQ(view(*open(), kBlock, kBlock), content.substr(kBlock, kBlock));
  EXPECT_EQ(ranges(), std::vector<std::string>{"bytes=0-0"});
  EXPECT_EQ(view(*open(), 0, content.size()), content);

  // Damage is seen, and only what is damaged comes again.
  const std::string cache = folder_ / "cache/solera/remote";
  for (const std::string& name : list_folder(cache)) {
    if (!name.ends_with(".bytes")) continue;
    std::string kept = test::slurp(join_path(cache, name));
    kept[2 * kBlock + 3] ^= 1;
    write_atomically(join_path(cache, name), kept);
  }
  server_.forget();
  EXPECT_EQ(view(*open(), 0, content.size()), content);
  EXPECT_EQ(ranges(), (std::vector<std::string>{"bytes=0-0", cat("bytes=", 2 * kBlock, "-", 3 * kBlock - 1)}));
}

TEST_F(Remote, AnotherVersionTakesTheOldOnesPlaceInTheCache) {
  server_.serve("/m.safetensors", {.content = bytes_of(10, 1)});
  view(*open(), 0, 10);
  server_.serve("/m.safetensors", {.content = bytes_of(10, 2)});
  EXPECT_EQ(view(*open(), 0, 10), bytes_of(10, 2));
  EXPECT_EQ(list_folder(folder_ / "cache/solera/remote").size(), 3u);
}

TEST_F(Remote, WithoutACacheNothingIsLeft) {
  const std::string content = bytes_of(2 * kBlock);
  server_.serve("/m.safetensors", {.content = content});
  set("SOLERA_CACHE", "off");
  const auto source = open();
  EXPECT_EQ(view(*source, 0, content.size()), content);
  source->check();
  for (const std::string& name : list_folder(folder_.path())) EXPECT_TRUE(name == "home") << name;
}

TEST_F(Remote, TheCacheMayHaveAnotherPlace) {
  server_.serve("/m.safetensors", {.content = bytes_of(10)});
  set("SOLERA_CACHE", folder_ / "here");
  view(*open(), 0, 10);
  EXPECT_EQ(list_folder(folder_ / "here/remote").size(), 3u);
  EXPECT_FALSE(exists(folder_ / "cache"));
}

TEST_F(Remote, AQueryIsUsedAndNotShown) {
  server_.serve("/m.safetensors?sig=secret", {.content = bytes_of(10)});
  const auto source = open_file(server_.url("/m.safetensors?sig=secret"));
  EXPECT_EQ(source->path(), server_.url("/m.safetensors"));
  EXPECT_EQ(view(*source, 0, 10), bytes_of(10));
  require_same_version(source->path(), source->version());
  const std::string cache = folder_ / "cache/solera/remote";
  for (const std::string& name : list_folder(cache))
    EXPECT_EQ(test::slurp(join_path(cache, name)).find("secret"), std::string::npos) << name;
  EXPECT_EQ(message([&] { (void)open_file(server_.url("/n.safetensors?sig=secret")); }),
            "the server has no such file (SERVER/n.safetensors)");
}

TEST_F(Remote, AnEmptyFileIsEmpty) {
  server_.serve("/m.safetensors", {});
  EXPECT_EQ(open()->size(), 0u);
}

}  // namespace
}  // namespace solera::checkpoint
