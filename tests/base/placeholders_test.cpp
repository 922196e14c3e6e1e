#include <map>
#include <string>

#include "solera/base/process.h"
#include "tests/support/support.h"

namespace solera {
namespace {

const std::map<std::string, std::string> kValues = {{"lr", "0.1"}, {"name", "it's \"a\" $HOME `b` \\ *;"}};

TEST(FillPlaceholders, PutsValuesIntoAnArgvAsTheyAre) {
  EXPECT_EQ(fill_placeholders("--lr={lr},{lr}", kValues, false), "--lr=0.1,0.1");
  EXPECT_EQ(fill_placeholders("{name}", kValues, false), kValues.at("name"));
  EXPECT_EQ(fill_placeholders("", kValues, false), "");
}

TEST(FillPlaceholders, DoubledBracesAreBraces) {
  EXPECT_EQ(fill_placeholders("{{lr}} {{{lr}}} }}", kValues, false), "{lr} {0.1} }");
  EXPECT_EQ(fill_placeholders("${{HOME}}", kValues, true), "${HOME}");
}

TEST(FillPlaceholders, AValueIsOneWordForTheShellWhereverItStands) {
  for (const std::string line :
       {"printf %s {name}", "printf %s \"{name}\"", "printf %s '{name}'", "printf %s \\\"{name}",
        "printf %s '\"'{name}", "printf %s \"'\"{name}", "printf %s \"$(printf %s '{name}')\"",
        "printf %s \"$(printf %s \"{name}\")\"", "(printf %s {name})", "# isn't \"it\nprintf %s {name}",
        "printf %s \"a(\"{name}", "case x in x) printf %s \"{name}\";; esac", "printf %s \"#'\"{name}"}) {
    SCOPED_TRACE(line);
    const std::string output = run({.shell = fill_placeholders(line, kValues, true)}).output;
    const std::string value = kValues.at("name");
    ASSERT_GE(output.size(), value.size());
    EXPECT_EQ(output.substr(output.size() - value.size()), value);
    EXPECT_LE(output.size(), value.size() + 2);
  }
}

TEST(FillPlaceholders, RefusesBackquotes) {
  EXPECT_EQ(test::message_of([] { fill_placeholders("echo `ls {lr}`", kValues, true); }),
            "placeholder {lr} stands inside backquotes (echo `ls {lr}`); use $( )");
  EXPECT_EQ(fill_placeholders("`date` '`' {lr}", kValues, true), "`date` '`' '0.1'");
}

TEST(FillPlaceholders, NamesTheKnownOnes) {
  EXPECT_EQ(test::message_of([] { fill_placeholders("train --lr {rate}", kValues, true); }),
            "unknown placeholder {rate} (train --lr {rate}); known: {lr}, {name}; write {{ for a brace");
  EXPECT_EQ(test::message_of([] { fill_placeholders("find . -exec ls {} +", {}, true); }),
            "unknown placeholder {} (find . -exec ls {} +); write {{ for a brace");
}

}  // namespace
}  // namespace solera
