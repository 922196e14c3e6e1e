#include "solera/base/pattern.h"

#include <gmock/gmock.h>

#include "tests/support/support.h"

namespace solera {
namespace {

using test::message_of;
using ::testing::HasSubstr;

// Globs of *, ?, a and b by the recursive definition.
bool matches_by_definition(std::string_view glob, std::string_view name) {
  if (glob.empty()) return name.empty();
  if (glob[0] == '*') {
    return matches_by_definition(glob.substr(1), name) ||
           (!name.empty() && matches_by_definition(glob, name.substr(1)));
  }
  return !name.empty() && (glob[0] == '?' || glob[0] == name[0]) &&
         matches_by_definition(glob.substr(1), name.substr(1));
}

std::vector<std::string> words(std::string_view letters, std::size_t longest) {
  std::vector<std::string> all = {""};
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].size() == longest) break;
    for (const char c : letters) all.push_back(all[i] + c);
  }
  return all;
}

TEST(Pattern, EveryShortGlobAgreesWithTheDefinition) {
  const auto names = words("ab", 5);
  for (const std::string& glob : words("*?ab", 4)) {
    const Pattern pattern(glob);
    EXPECT_EQ(pattern.text(), glob);
    for (const std::string& name : names) {
      ASSERT_EQ(pattern.matches(name), matches_by_definition(glob, name)) << glob << " on " << name;
    }
  }
}

TEST(Pattern, SetsQuotesAndCharacters) {
  const auto match = [](const char* glob, std::string_view name) { return Pattern(glob).matches(name); };
  EXPECT_TRUE(match("h.*.mlp.weight", "h.10.mlp.weight"));
  EXPECT_TRUE(match("*weight", "a.b.weight")) << "dots are characters like others";
  EXPECT_FALSE(match("weight", "a.weight")) << "the whole name must match";
  EXPECT_TRUE(match("h.[0-3].w", "h.2.w"));
  EXPECT_FALSE(match("h.[0-3].w", "h.4.w"));
  EXPECT_TRUE(match("h.[!0-3].w", "h.4.w"));
  EXPECT_FALSE(match("h.[!0-3].w", "h..w"));
  EXPECT_TRUE(match("[]]", "]"));
  EXPECT_TRUE(match("[!]]", "a"));
  EXPECT_FALSE(match("[!]]", "]"));
  EXPECT_TRUE(match("[a-]", "-"));
  EXPECT_TRUE(match("[\\]x]", "]"));
  EXPECT_TRUE(match("[\\a-c]", "b"));
  EXPECT_TRUE(match("\\*", "*"));
  EXPECT_FALSE(match("\\*", "a"));
  EXPECT_TRUE(match("\\[a]", "[a]"));
  EXPECT_TRUE(match("]", "]"));
  EXPECT_TRUE(match("???", "a\xC3\xA9\xE2\x82\xAC")) << "one character, however many bytes";
  EXPECT_FALSE(match("*??", "\xE2\x82\xAC"));
  EXPECT_TRUE(match("[\xC3\xA0-\xC3\xBF]", "\xC3\xA9"));
  EXPECT_FALSE(match("[!\xC3\xA9]", "\xC3\xA9"));
  EXPECT_TRUE(match("?\xFF", "\xFE\xFF")) << "bytes that are not UTF-8 are characters of their own";
}

TEST(Pattern, ManyRunsAreNotExponential) {
  std::string glob;
  for (int i = 0; i < 50; ++i) glob += "*a";
  EXPECT_FALSE(Pattern(glob + "b").matches(std::string(2000, 'a')));
}

TEST(Pattern, RegularExpressionsMatchSomewhere) {
  const Pattern pattern("re:h\\.(\\d+)\\.attn");
  EXPECT_TRUE(pattern.matches("model.h.12.attn.q"));
  EXPECT_FALSE(pattern.matches("model.h.x.attn.q"));
  EXPECT_TRUE(Pattern("re:").matches("anything"));
  EXPECT_FALSE(Pattern("re:^a$").matches("ab"));
  EXPECT_TRUE(Pattern("re:^(?!.*vision).*proj$").matches("text.q_proj")) << "as adapters' target_modules are written";
  EXPECT_FALSE(Pattern("re:^(?!.*vision).*proj$").matches("vision.q_proj"));
  EXPECT_TRUE(Pattern("re:^.\\w$").matches("\xE2\x82\xAC\xC3\xA9")) << "characters, not bytes";
  EXPECT_TRUE(
      Pattern("re:b$").matches("\xFF"
                               "b"))
      << "names that are not UTF-8";
}

TEST(Pattern, RefusesWhatIsNotAPattern) {
  EXPECT_EQ(message_of([] { Pattern("a[b"); }),
            "pattern 'a[b' has a set without ']'; write \\[ for the character itself");
  EXPECT_EQ(message_of([] { Pattern("[]"); }),
            "pattern '[]' has a set without ']'; write \\[ for the character itself");
  EXPECT_EQ(message_of([] { Pattern("[c-a]"); }), "pattern '[c-a]' has the range 'c-a' backwards");
  EXPECT_EQ(message_of([] { Pattern("a\\"); }), "pattern 'a\\' ends in a backslash; write \\\\ for a backslash");
  EXPECT_EQ(message_of([] { Pattern("[\\"); }), "pattern '[\\' ends in a backslash; write \\\\ for a backslash");
  EXPECT_EQ(message_of([] { Pattern("re:a("); }),
            "pattern 're:a(' is not a regular expression: missing closing parenthesis (byte 2)");
  EXPECT_EQ(message_of([] { Pattern("re:*"); }),
            "pattern 're:*' is not a regular expression: quantifier does not follow a repeatable item (byte 0)");
  for (const char* text : {"re:[a", "re:a{777777}", "re:((((a{999}){999}){999}){999})", "re:\xFF"})
    EXPECT_THAT(message_of([&] { Pattern{text}; }), HasSubstr("' is not a regular expression: ")) << text;
}

TEST(Pattern, NoRegularExpressionTakesForeverOrTheStack) {
  const std::string long_name(100000, 'a');
  EXPECT_THAT(message_of([&] { Pattern("re:^(a|aa)+$").matches(std::string(200, 'a') + "b"); }),
              HasSubstr("match limit exceeded; avoid repetitions within repetitions"));
  EXPECT_TRUE(Pattern("re:^(a)+$").matches(long_name));
  EXPECT_FALSE(Pattern("re:b").matches(long_name));
}

TEST(Selected, IncludeThenExclude) {
  const std::vector<Pattern> none, a = {Pattern("a*"), Pattern("b")}, x = {Pattern("*x")};
  EXPECT_TRUE(selected("c", none, none));
  EXPECT_TRUE(selected("ab", a, none));
  EXPECT_TRUE(selected("b", a, x));
  EXPECT_FALSE(selected("c", a, none));
  EXPECT_FALSE(selected("ax", a, x));
  EXPECT_FALSE(selected("cx", none, x));
}

}  // namespace
}  // namespace solera
