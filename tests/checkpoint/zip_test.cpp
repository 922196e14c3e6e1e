#include "solera/checkpoint/zip.h"

#include <algorithm>
#include <set>

#include "solera/base/files.h"
#include "solera/checkpoint/inflated.h"
#include "solera/checkpoint/zip_writer.h"
#include "tests/checkpoint/archives.h"
#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using test::message_of;

std::string refusal(const std::string& archive) {
  return message_of([&] { read_zip_directory(*source_of(archive)); });
}

std::vector<std::string> contents(const std::string& archive) {
  const auto source = source_of(archive);
  std::vector<std::string> result;
  for (const ZipMember& member : read_zip_directory(*source))
    result.push_back(member.name + "=" + text_of(read_zip_member(*source, member)));
  return result;
}

const std::vector<TestMember> kThree = {{"a", "first"}, {"b/c", ""}, packed_member("d", std::string(300, 'x') + "y")};
const std::vector<std::string> kThreeContents = {"a=first", "b/c=", "d=" + std::string(300, 'x') + "y"};

TEST(ZipTest, ReadsStoredAndDeflatedMembers) {
  EXPECT_EQ(contents(zip_of(kThree)), kThreeContents);
  EXPECT_TRUE(contents(zip_of({})).empty());
}

TEST(ZipTest, ReadsZip64) {
  std::vector<TestMember> wide = kThree;
  for (TestMember& member : wide) member.wide = true;
  EXPECT_EQ(contents(zip_of(wide)), kThreeContents);
  EXPECT_EQ(contents(zip_of(wide, "", true)), kThreeContents);
  EXPECT_EQ(contents(zip_of(kThree, "", true)), kThreeContents);
}

TEST(ZipTest, AnEndSignatureInTheCommentIsAComment) {
  const std::string end = zip_of({});
  EXPECT_EQ(contents(zip_of(kThree, "see " + end.substr(0, 12))), kThreeContents);
}

// What is accepted in spite of a cut or a flip must still say the same.
TEST(ZipTest, TruncationAtEveryByteIsRefused) {
  for (const bool zip64 : {false, true}) {
    const std::string whole = zip_of(kThree, "", zip64);
    for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_NE(refusal(whole.substr(0, n)), "") << n;
  }
}

TEST(ZipTest, AFlippedByteIsRefusedOrHarmless) {
  for (const bool zip64 : {false, true}) {
    std::vector<TestMember> members = kThree;
    members[0].wide = zip64;
    const std::string whole = zip_of(members, "", zip64);
    std::size_t refused = 0;
    for (std::size_t i = 0; i < whole.size(); ++i) {
      for (const int bit : {1, 0x10, 0x80, 0xff}) {
        std::string damaged = whole;
        damaged[i] = static_cast<char>(damaged[i] ^ bit);
        try {
          EXPECT_EQ(contents(damaged), kThreeContents) << "byte " << i;
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::kInput) << error.what();
          ++refused;
        }
      }
    }
    // Only versions, dates, attributes, flags without meaning and the zip64 version fields may change unseen.
    EXPECT_GT(refused, whole.size() * 4 * 6 / 10);
  }
}

TEST(ZipTest, Refusals) {
  EXPECT_EQ(refusal("not a zip archive at all"),
            "no zip directory at the end: the file is cut off or not an archive (f.pt)");
  EXPECT_EQ(refusal(zip_of({{"a", "1"}, {"a", "2"}})), "two zip members are named a (f.pt)");
  for (const std::string name : {"../a", "/a", "a/../b", "", "\xff"})
    EXPECT_EQ(refusal(zip_of({{name, "1"}})),
              "a zip member's name is empty, not UTF-8 or leads out of the archive (f.pt)");
  EXPECT_EQ(refusal(zip_of({{"a", "1", 0, 1}})), "the zip member is encrypted (f.pt: a)");
  EXPECT_EQ(refusal(zip_of({{"a", "1", 0, 0, 7}})),
            "the zip member claims to unpack 1 bytes to 7, which cannot be (f.pt: a)");
  EXPECT_EQ(refusal(zip_of({{"a", "1", 8, 0, 1u << 30}})),
            "the zip member claims to unpack 1 bytes to 1073741824, which cannot be (f.pt: a)");
  EXPECT_EQ(refusal(zip_of({{"a", "1", 0, 0, {}, {}, 1'000'000}})), "a zip member lies outside the file (f.pt: a)");
  EXPECT_EQ(refusal(zip_of({{"a", "1", 0, 0, {}, {}, 1}})), "a zip member has no local header (f.pt: a)");
  EXPECT_EQ(refusal(zip_of({{"a", "same"}, {"a", "same", 0, 0, {}, {}, 0}})), "zip members overlap: a and a (f.pt)");
  EXPECT_EQ(refusal(zip_of({{"a", "one"}, {"b", "one", 0, 0, {}, {}, 0}})),
            "a zip member's own header and the directory disagree (f.pt: b)");
}

TEST(ZipTest, AMemberInsideAnotherIsAnOverlap) {
  // The inner archive's member lies in the outer member's bytes; a directory of both names the bytes twice.
  const std::string inner = zip_of({{"in", "1234"}});
  std::string local = inner.substr(0, 30 + 2 + 4);
  const std::string archive = zip_of({{"out", local}, {"in", "1234", 0, 0, {}, {}, 30 + 3}});
  EXPECT_EQ(refusal(archive), "zip members overlap: out and in (f.pt)");
}

TEST(ZipTest, MembersThatDoNotUnpackToTheirSize) {
  const auto read = [](TestMember member) {
    const auto source = source_of(zip_of({std::move(member)}));
    return message_of([&] { read_zip_member(*source, read_zip_directory(*source).front()); });
  };
  TestMember member = packed_member("a", "some text, some text, some text");
  const std::string good = member.content;
  member.size = 30;
  EXPECT_EQ(read(member), "the deflated zip member does not unpack to 30 bytes (f.pt: a)");
  member.size = 32;
  EXPECT_EQ(read(member), "the deflated zip member does not unpack to 32 bytes (f.pt: a)");
  member.size = 31;
  member.content = good + "?";
  EXPECT_EQ(read(member), "the deflated zip member does not unpack to 31 bytes (f.pt: a)");
  member.content = good.substr(0, good.size() - 1);
  EXPECT_EQ(read(member), "the deflated zip member does not unpack to 31 bytes (f.pt: a)");
  member.content = good;
  member.crc = 1;
  EXPECT_EQ(read(member), "the zip member's checksum is wrong: the file is damaged (f.pt: a)");
  EXPECT_EQ(read({"a", "x", 12}), "the zip member is packed by method 12 (f.pt: a); only stored and deflated are read");
}

TEST(ZipWriterTest, RoundTripsAlignedMembers) {
  const TemporaryFolder folder;
  const std::string path = folder / "out.zip";
  std::vector<std::string> expected;
  {
    ZipWriter zip(path);
    for (int n = 0; n < 200; ++n) {
      const std::string name = "m" + std::string(static_cast<std::size_t>(n), 'n'),
                        content(static_cast<std::size_t>(n), 'c');
      zip.add(name, content);
      expected.push_back(name + "=" + content);
    }
    EXPECT_FALSE(exists(path));
    zip.finish();
  }
  const std::string archive = read_file(path);
  EXPECT_EQ(contents(archive), expected);
  for (const ZipMember& member : read_zip_directory(*source_of(archive)))
    EXPECT_EQ(member.offset % 64, 0u) << member.name;
  EXPECT_EQ(list_folder(folder.path()), std::vector<std::string>{"out.zip"});
}

TEST(ZipWriterTest, MoreMembersThan16BitsCount) {
  const TemporaryFolder folder;
  ZipWriter zip(folder / "out.zip");
  for (int i = 0; i < 65'536; ++i) zip.add(std::to_string(i), "");
  zip.finish();
  const std::string archive = read_file(folder / "out.zip");
  EXPECT_EQ(read_zip_directory(*source_of(archive)).size(), 65'536u);
}

TEST(ZipWriterTest, NothingRemainsUnlessFinished) {
  const TemporaryFolder folder;
  {
    ZipWriter zip(folder / "out.zip");
    zip.add("a", "content");
    EXPECT_EQ(message_of([&] { zip.add("../a", ""); }),
              "\"../a\" cannot be the name of a zip member (" + folder / "out.zip" + ")");
  }
  EXPECT_TRUE(list_folder(folder.path()).empty());
  EXPECT_EQ(message_of([&] { ZipWriter zip(folder / "no/out.zip"); }),
            "cannot create (No such file or directory) (" + folder / "no/out.zip.partial" + ")");
}

// 9 MiB cross two kept states; every order of reading gives the same bytes.
TEST(InflatedTest, AnyRangeInAnyOrder) {
  std::string text;
  for (std::uint32_t i = 0; text.size() < 9u << 20; ++i) text += std::to_string(i * 2654435761u);
  const auto archive = source_of(zip_of({packed_member("a", text)}));
  const auto member = read_zip_directory(*archive).front();
  const std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges = {
      {text.size() - 5, 5}, {0, 1},           {(4u << 20) - 3, 6}, {8u << 20, 100},
      {(8u << 20) - 1, 1},  {text.size(), 0}, {0, text.size()}};
  for (std::size_t start = 0; start < ranges.size(); start += 3) {
    const auto source = inflated_source(archive, member);
    std::vector<std::byte> scratch;
    for (std::size_t k = 0; k < ranges.size(); ++k) {
      const auto [first, count] = ranges[(start + k) % ranges.size()];
      EXPECT_TRUE(text_of(source->view(first, count, scratch)) == text.substr(first, count)) << first;
    }
  }
}

TEST(InflatedTest, DamageIsFoundWhereItIsRead) {
  TestMember member = packed_member("a", "some text, some text, some text");
  const auto read = [&](std::uint64_t first, std::uint64_t count) {
    const auto archive = source_of(zip_of({member}));
    const auto source = inflated_source(archive, read_zip_directory(*archive).front());
    std::vector<std::byte> scratch;
    return text_of(source->view(first, count, scratch));
  };
  EXPECT_EQ(message_of([&] { read(30, 2); }), "a read past the end of a zip member (f.pt: a)");
  member.size = 32;
  EXPECT_EQ(read(0, 4), "some");
  EXPECT_EQ(message_of([&] { read(0, 32); }), "the deflated zip member does not unpack to 32 bytes (f.pt: a)");
  member.size = 30;
  EXPECT_EQ(message_of([&] { read(0, 30); }), "the deflated zip member does not unpack to 30 bytes (f.pt: a)");
}

}  // namespace
}  // namespace solera::checkpoint
