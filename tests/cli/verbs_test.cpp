// What holds for every verb of the table, those of later days included.
#include "solera/cli/verbs.h"

#include <map>
#include <set>
#include <utility>

#include "solera/base/text.h"
#include "solera/cli/help.h"
#include "tests/support/support.h"

namespace solera::cli {
namespace {

class EveryVerb : public testing::TestWithParam<std::string> {
 protected:
  EveryVerb() : verb(find_verb(GetParam())) { prepare_verb(verb, prepared); }
  const Verb& verb;
  Prepared prepared;
};

std::vector<std::string> names() {
  std::vector<std::string> result;
  for (const Verb& verb : verbs()) result.push_back(verb.name);
  return result;
}

TEST_P(EveryVerb, HasNoOptionTwice) {
  std::set<std::string> seen;
  for (const Option& option : prepared.options.list()) {
    if (option.positional) continue;
    EXPECT_TRUE(seen.insert(option.name).second) << option.name;
    if (option.short_name.empty()) continue;
    EXPECT_TRUE(seen.insert(option.short_name).second) << option.short_name;
  }
}

TEST_P(EveryVerb, DocumentsEveryOption) {
  for (const Option& option : prepared.options.list()) {
    const std::string& name = option.positional ? option.value_name : option.name;
    EXPECT_FALSE(option.help.empty()) << name;
    EXPECT_TRUE(!option.help.ends_with('.') || option.help.ends_with("...")) << name << ": a clause, no full stop";
    if (option.positional) {
      EXPECT_EQ(name.find_first_of("abcdefghijklmnopqrstuvwxyz"), std::string::npos) << name << ": in capitals";
    } else {
      EXPECT_TRUE(name.size() > 3 && name.starts_with("--")) << name;
      EXPECT_EQ(name.find('_'), std::string::npos) << name << ": words are joined by -";
    }
  }
}

TEST_P(EveryVerb, ExplainsItselfInEightyColumns) {
  const std::string page = verb_page(verb, prepared.options);
  for (const std::string& line : split(page, '\n')) EXPECT_LE(line.size(), 80u) << line;
  EXPECT_NE(page.find("\nExamples:\n"), std::string::npos);
  EXPECT_EQ(page.find('\t'), std::string::npos);
}

TEST_P(EveryVerb, HasASummaryWithoutFullStop) {
  EXPECT_FALSE(verb.summary.empty());
  EXPECT_FALSE(verb.summary.ends_with('.'));
}

// An example is a command line; redirections and quotes are the shell's.
TEST_P(EveryVerb, HasExamplesThatItsParserTakes) {
  ASSERT_FALSE(verb.examples.empty());
  for (const std::string& example : verb.examples) {
    std::vector<std::string> words;
    std::string word;
    char quote = 0;
    for (const char c : example + " ") {
      if (quote ? c == quote : c == '\'' || c == '"') {
        quote = quote ? 0 : c;
      } else if (c == ' ' && !quote) {
        if (!word.empty()) words.push_back(std::exchange(word, ""));
      } else {
        word += c;
      }
    }
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (words[i] == ">" || words[i] == "|" || words[i] == "&&") words.resize(i);
    }
    ASSERT_GE(words.size(), 2u) << example;
    EXPECT_EQ(words[0], "solera") << example;
    EXPECT_EQ(words[1], verb.name) << example;
    Prepared fresh;
    prepare_verb(verb, fresh);
    EXPECT_NO_THROW(fresh.options.parse({words.begin() + 2, words.end()})) << example;
  }
}

INSTANTIATE_TEST_SUITE_P(Verbs, EveryVerb, testing::ValuesIn(names()), [](const auto& verb) { return verb.param; });

// An option means one thing: verbs that share its name agree on whether it takes a value, and a short name belongs to
// one long name.
TEST(Verbs, AgreeOnSharedOptions) {
  std::map<std::string, bool> flags;
  std::map<std::string, std::string> long_names;
  for (const Verb& verb : verbs()) {
    Prepared prepared;
    prepare_verb(verb, prepared);
    for (const Option& option : prepared.options.list()) {
      if (option.positional) continue;
      const bool flag = option.value_name.empty();
      EXPECT_EQ(flags.emplace(option.name, flag).first->second, flag) << verb.name << " " << option.name;
      if (option.short_name.empty()) continue;
      EXPECT_EQ(long_names.emplace(option.short_name, option.name).first->second, option.name) << verb.name;
    }
  }
}

TEST(Verbs, HaveDifferentNames) {
  const auto list = names();
  EXPECT_EQ(std::set<std::string>(list.begin(), list.end()).size(), list.size());
}

TEST(Verbs, AreAllOnTheFrontPage) {
  const std::string page = front_page();
  for (const Verb& verb : verbs()) EXPECT_NE(page.find("\n  " + verb.name + " "), std::string::npos) << verb.name;
  for (const std::string& line : split(page, '\n')) EXPECT_LE(line.size(), 80u) << line;
}

TEST(Help, ShowsRequiredRepeatedAndDefaults) {
  OptionList options;
  std::string config, out;
  std::vector<std::string> excluded;
  int threads = 0, seed = 3;
  options.positional("CONFIG", "a merge configuration", config);
  options.value("--output", "-o", "OUT", "where the result goes", out).must();
  options.value("--exclude", "", "PATTERN", "tensors left as they are", excluded);
  options.value("--threads", "", "N", "worker threads (default: all)", threads).in("Resources");
  options.value("--seed", "", "N",
                "seed of everything that is random, the same for any number of threads and for any memory limit", seed);
  Verb verb;
  verb.name = "merge";
  verb.summary = "blend checkpoints";
  verb.examples = {"solera merge a.yaml -o b"};
  EXPECT_EQ(verb_page(verb, options),
            "Blend checkpoints.\n"
            "\n"
            "Usage: solera merge CONFIG --output OUT [options]\n"
            "\n"
            "Arguments:\n"
            "  CONFIG  a merge configuration\n"
            "\n"
            "Options:\n"
            "  -o, --output OUT       where the result goes (required)\n"
            "      --exclude PATTERN  tensors left as they are (may be repeated)\n"
            "      --seed N           seed of everything that is random, the same for any\n"
            "                         number of threads and for any memory limit (default 3)\n"
            "\n"
            "Resources:\n"
            "      --threads N  worker threads (default: all)\n"
            "\n"
            "Examples:\n"
            "  solera merge a.yaml -o b\n");
}

}  // namespace
}  // namespace solera::cli
