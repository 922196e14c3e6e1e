// Every tests/cli/*.test, and the marked sessions of the documents, run against the program that was built.
#include "tests/support/transcript.h"

#include <cctype>

#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera::test {
namespace {

std::vector<std::string> transcript_files() {
  std::vector<std::string> files;
  for (const std::string& name : list_folder(SOLERA_SOURCE_DIR "/tests/cli")) {
    if (name.ends_with(".test")) files.push_back("tests/cli/" + name);
  }
  for (const char* folder : {"", "docs/", "docs/methods/"}) {
    for (const std::string& name : list_folder(cat(SOLERA_SOURCE_DIR "/", folder))) {
      const std::string path = folder + name;
      if (name.ends_with(".md") &&
          read_file(cat(SOLERA_SOURCE_DIR "/", path)).find("\n<!-- transcript -->\n") != std::string::npos) {
        files.push_back(path);
      }
    }
  }
  return files;
}

class Transcript : public testing::TestWithParam<std::string> {};

TEST_P(Transcript, PrintsWhatItSays) {
  const std::string text = read_file(cat(SOLERA_SOURCE_DIR "/", GetParam()));
  if (text.find("$ digits ") != std::string::npos && !exists(SOLERA_BINARY_DIR "/bin/digits"))
    GTEST_SKIP() << "the example programs are not built";
  const TemporaryFolder folder;
  run_transcript(parse_transcript(GetParam().ends_with(".md") ? marked_blocks(text) : text), folder.path(),
                 SOLERA_BINARY_DIR "/bin", GetParam());
}

INSTANTIATE_TEST_SUITE_P(Files, Transcript, testing::ValuesIn(transcript_files()), [](const auto& file) {
  std::string name = file.param;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
});

bool matches(const std::vector<std::string>& expected, const std::vector<std::string>& printed) {
  return lines_match(expected, printed);
}

TEST(TranscriptLines, CompareWholeLinesUnlessDotsSayOtherwise) {
  EXPECT_TRUE(matches({"a", "b"}, {"a", "b"}));
  EXPECT_FALSE(matches({"a"}, {"a", "b"}));
  EXPECT_FALSE(matches({"a", "b"}, {"a"}));
  EXPECT_FALSE(matches({"a"}, {"ab"}));
  EXPECT_TRUE(matches({}, {}));
  EXPECT_TRUE(matches({"\\"}, {""}));
  EXPECT_TRUE(matches({"...", "z"}, {"a", "b", "z"}));
  EXPECT_TRUE(matches({"...", "z"}, {"z"}));
  EXPECT_FALSE(matches({"...", "z"}, {"a"}));
  EXPECT_TRUE(matches({"a", "..."}, {"a"}));
}

TEST(TranscriptLines, DotsInsideALineAreAnyCharacters) {
  EXPECT_TRUE(matches({"in ... s"}, {"in 29.3 s"}));
  EXPECT_FALSE(matches({"in ... s"}, {"in 29.3 min"}));
  EXPECT_TRUE(matches({"...x...y"}, {"axbxy"}));
  EXPECT_FALSE(matches({"ab...ba"}, {"aba"}));
  EXPECT_TRUE(matches({"end..."}, {"end"}));
  EXPECT_TRUE(matches({"re:[0-9]+ s"}, {"12 s"}));
  EXPECT_FALSE(matches({"re:[0-9]+ s"}, {"12 s more"}));
}

TEST(TranscriptText, HasCommandsContinuationsStatusAndComments) {
  const auto steps = parse_transcript("# comment\n$ cat <<END\n> x\n> END\nx\n\n$ false\n? 1\n\nneeds data\n$ true\n");
  ASSERT_EQ(steps.size(), 3u);
  EXPECT_EQ(steps[0].command, "cat <<END\nx\nEND");
  EXPECT_EQ(steps[0].expected, std::vector<std::string>{"x"});
  EXPECT_EQ(steps[0].line, 2);
  EXPECT_EQ(steps[1].status, 1);
  EXPECT_FALSE(steps[1].needs_data);
  EXPECT_TRUE(steps[2].needs_data);
}

TEST(TranscriptText, OfADocumentIsItsMarkedBlocks) {
  const auto steps = parse_transcript(
      marked_blocks("words\n```\n$ not this\n```\n<!-- transcript -->\n```console\n$ this\nout\n```\n"));
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].command, "this");
  EXPECT_EQ(steps[0].line, 6);
}

}  // namespace
}  // namespace solera::test
