#include "solera/base/document.h"
#include "tests/support/support.h"

namespace solera {
namespace {

using test::message_of;

std::string refusal(const std::string& text) {
  return message_of([&] { parse_json(text, "f.json"); });
}

TEST(Json, KeepsTextKindsAndPlaces) {
  const Node node =
      parse_json("{\"a\": [1, -2.50e+1, true, null, \"\\u00e9\\n\\\"\\ud83d\\ude00\"],\n \"b\" : {} }", "f.json");
  EXPECT_EQ(to_json(node), "{\"a\":[1,-2.50e+1,true,null,\"\xC3\xA9\\n\\\"\xF0\x9F\x98\x80\"],\"b\":{}}");
  const auto items = node.at("a").items();
  EXPECT_EQ(items[1].as_text(), "-2.50e+1");
  EXPECT_TRUE(items[3].is_null());
  EXPECT_TRUE(items[4].is_quoted());
  EXPECT_FALSE(items[0].is_quoted());
  EXPECT_EQ(items[0].where(), "f.json:1:8");
  EXPECT_EQ(items[1].where(), "f.json:1:11");
  EXPECT_EQ(node.at("b").where(), "f.json:2:8");
  EXPECT_EQ(node.at("b").key_where(), "f.json:2:2");
  EXPECT_FALSE(parse_json("\"null\"").is_null());
  EXPECT_EQ(parse_json("{\"\xC3\xA9\": \"\xE2\x82\xAC\", \"b\": 1}").at("b").column(), 17)
      << "columns count characters";
  EXPECT_EQ(parse_json("{\"a\\nb\": 1}").at("a\nb").as_int(), 1);
}

TEST(Json, RootsOfEveryKind) {
  EXPECT_EQ(parse_json(" 12 ").as_int(), 12);
  EXPECT_EQ(parse_json("\n\"x\"\n").as_text(), "x");
  EXPECT_TRUE(parse_json("null").is_null());
  EXPECT_TRUE(parse_json("true").as_bool());
  EXPECT_EQ(to_json(parse_json("\xEF\xBB\xBF[1]")), "[1]") << "a byte order mark";
}

TEST(Json, RefusalsPointAtTheText) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "the text is empty (f.json:1:1)"},
      {" \n ", "the text is empty (f.json:2:2)"},
      {"[1,2", "a bracket is not closed (f.json:1:5)"},
      {"{\"a\": [1}", "a comma, colon or bracket is missing or too many (f.json:1:9)"},
      {"[1,]", "\"]\" is not a value (f.json:1:4)"},
      {"[,1]", "\",\" is not a value (f.json:1:2)"},
      {"[1 2]", "a comma, colon or bracket is missing or too many (f.json:1:4)"},
      {"{\"a\" 1}", "a comma, colon or bracket is missing or too many (f.json:1:6)"},
      {"{\"a\": 1,}", "a comma, colon or bracket is missing or too many (f.json:1:9)"},
      {"{a: 1}", "a comma, colon or bracket is missing or too many (f.json:1:2)"},
      {"[1] 2", "text after the end (f.json:1:5)"},
      {"[1]]", "text after the end (f.json:1:4)"},
      {"{} {}", "text after the end (f.json:1:4)"},
      {"1 2", "text after the end (f.json:1:3)"},
      {"\"a\" x", "text after the end (f.json:1:5)"},
      {"[\n  tru]", "\"tru\" is not a value (f.json:2:3)"},
      {"nul", "\"nul\" is not a value (f.json:1:1)"},
      {"[01]", "\"01\" is not a value (f.json:1:2)"},
      {"[1.]", "\"1.\" is not a value (f.json:1:2)"},
      {"[.5]", "\".5\" is not a value (f.json:1:2)"},
      {"[+1]", "\"+1\" is not a value (f.json:1:2)"},
      {"[-]", "\"-\" is not a value (f.json:1:2)"},
      {"[1e]", "\"1e\" is not a value (f.json:1:2)"},
      {"[NaN]", "\"NaN\" is not a value (f.json:1:2)"},
      {"[\"a\n\"]", "a control character in a string (f.json:1:4)"},
      {"[\"a\\\", 1]", "a string is not closed (f.json:1:2)"},
      {"[\"\\x\"]", "a bad escape in a string (f.json:1:2)"},
      {"[\"\\ud800\"]", "a bad escape in a string (f.json:1:2)"},
  };
  for (const auto& [text, problem] : cases) EXPECT_EQ(refusal(text), "not valid JSON: " + problem) << text;
  EXPECT_EQ(refusal("{\"a\":\n\"\xFF\"}"), "not UTF-8 (f.json:2:2)");
}

TEST(Json, DuplicateKeysAreRefusedInMapsOfAnySize) {
  EXPECT_EQ(refusal("{\"a\": 1,\n \"\\u0061\": 2}"), "duplicate key \"a\" (f.json:2:2); it is at line 1 already");
  for (const int n : {1, 15, 16, 17, 100}) {
    std::string text = "{";
    for (int i = 0; i < n; ++i) text += cat("\"k", i, "\": ", i, ", ");
    EXPECT_EQ(parse_json(text + "\"x\": 0}").entries().size(), static_cast<std::size_t>(n) + 1);
    EXPECT_EQ(refusal(text + "\n\"k0\": 0}"), "duplicate key \"k0\" (f.json:2:1); it is at line 1 already");
  }
}

TEST(Json, DepthIsLimited) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(parse_json(nested(256)).is_list());
  EXPECT_EQ(refusal(nested(257)), "nested more than 256 deep (f.json:1:257)");
  EXPECT_EQ(refusal(nested(100'000)).substr(0, 25), "nested more than 256 deep");
  EXPECT_EQ(refusal(std::string(100'000, '[')).substr(0, 15), "not valid JSON:");
}

TEST(Json, EveryTruncationIsRefused) {
  const std::string text = R"({"a": [1, -2.5e3, true, null], "b\n": {"c": "x\u00e9\\"}, "d": ""})";
  parse_json(text);
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_NE(refusal(text.substr(0, size)), "") << size;
}

TEST(Json, ReadsFiles) {
  const TemporaryFolder folder;
  write_atomically(folder / "f.json", "{\"a\": 1}");
  EXPECT_EQ(read_json(folder / "f.json").at("a").where(), (folder / "f.json") + ":1:7");
  EXPECT_EQ(message_of([&] { read_json(folder / "g.json"); }),
            (folder / "g.json") + ": no such file; did you mean " + (folder / "f.json") + "?");
}

}  // namespace
}  // namespace solera
