#include "solera/cli/options.h"

#include "tests/support/support.h"

namespace solera::cli {
namespace {

using test::message_of;

struct Values {
  std::string out, config, mode = "fast";
  int threads = 0;
  std::int64_t seed = 7;
  double alpha = 0.5;
  std::uint64_t memory = 1 << 30;
  bool force = false;
  std::vector<std::string> excluded, models;
  OptionList options;

  Values() {
    options.positional("CONFIG", "a configuration", config);
    options.value("--output", "-o", "OUT", "where it goes", out).must();
    options.value("--threads", "-j", "N", "worker threads", threads);
    options.value("--seed", "", "N", "seed", seed);
    options.value("--alpha", "", "X", "factor", alpha);
    options.value("--exclude", "", "PATTERN", "leave out", excluded);
    options.bytes("--memory", "", "memory", memory);
    options.choice("--mode", "", "mode", {"fast", "exact"}, mode);
    options.flag("--force", "-f", "replace", force);
  }
};

std::string refusal(std::vector<std::string> arguments) {
  Values values;
  return message_of([&] { values.options.parse(std::move(arguments)); });
}

TEST(Options, ReadEveryKindInEitherSpelling) {
  Values v;
  v.options.parse({"a.yaml", "--output=x=y", "-j", "3", "--seed", "-1", "--alpha=1e-3", "--exclude", "a", "--exclude=b",
                   "--memory", "2GiB", "--mode", "exact", "-f"});
  EXPECT_EQ(v.config, "a.yaml");
  EXPECT_EQ(v.out, "x=y");
  EXPECT_EQ(v.threads, 3);
  EXPECT_EQ(v.seed, -1);
  EXPECT_EQ(v.alpha, 1e-3);
  EXPECT_EQ(v.excluded, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(v.memory, 2ull << 30);
  EXPECT_EQ(v.mode, "exact");
  EXPECT_TRUE(v.force);
}

TEST(Options, ShortNamesTakeTheirValueAttached) {
  Values v;
  v.options.parse({"-oout", "-j12", "-"});
  EXPECT_EQ(v.out, "out");
  EXPECT_EQ(v.threads, 12);
  EXPECT_EQ(v.config, "-");
}

TEST(Options, KeepDefaultsThatNobodyTouches) {
  Values v;
  v.options.parse({"c", "-o", "x"});
  EXPECT_EQ(v.seed, 7);
  EXPECT_EQ(v.alpha, 0.5);
  EXPECT_EQ(v.mode, "fast");
  EXPECT_FALSE(v.force);
}

TEST(Options, WhatFollowsTwoDashesIsNoOption) {
  Values v;
  v.options.parse({"-o", "x", "--", "--force"});
  EXPECT_EQ(v.config, "--force");
  EXPECT_FALSE(v.force);

  Values w;
  w.options.takes_rest("COMMAND", "a command");
  w.options.parse({"c", "-o", "x", "--", "./train.sh", "--lr", "1"});
  EXPECT_EQ(w.options.rest(), (std::vector<std::string>{"./train.sh", "--lr", "1"}));
  EXPECT_EQ(w.config, "c");
}

TEST(Options, SeveralArgumentsGoToTheLastPositional) {
  OptionList options;
  std::string first;
  std::vector<std::string> others;
  options.positional("FIRST", "one", first);
  options.positional("OTHER", "more", others);
  options.parse({"a", "b", "c"});
  EXPECT_EQ(first, "a");
  EXPECT_EQ(others, (std::vector<std::string>{"b", "c"}));
}

TEST(Options, AnOptionalPositionalMayBeLeftOut) {
  OptionList options;
  std::string name;
  options.positional("NAME", "a name", name).optional();
  options.parse({});
  EXPECT_EQ(name, "");
}

TEST(Options, RefuseWithWholeMessages) {
  EXPECT_EQ(refusal({"c", "-o", "x", "--thread", "2"}), "unknown option \"--thread\"; did you mean --threads?");
  EXPECT_EQ(refusal({"c", "-o", "x", "--zzzzzzzz"}), "unknown option \"--zzzzzzzz\"");
  EXPECT_EQ(refusal({"c", "-x"}), "unknown option \"-x\"");
  EXPECT_EQ(refusal({"c", "-o"}), "--output needs a value: OUT");
  EXPECT_EQ(refusal({"c", "-o", "--force"}),
            "--output needs a value: OUT; write --output=--force if that is the value");
  EXPECT_EQ(refusal({"c", "-o", "x", "--force=1"}), "--force takes no value");
  EXPECT_EQ(refusal({"c", "-o", "x", "-o", "y"}), "--output is given twice");
  EXPECT_EQ(refusal({"c", "-o", "x", "-j", "two"}), "--threads is \"two\", not a whole number");
  EXPECT_EQ(refusal({"c", "-o", "x", "-j", "2.5"}), "--threads is \"2.5\", not a whole number");
  EXPECT_EQ(refusal({"c", "-o", "x", "-j", "4294967296"}),
            "--threads is 4294967296, outside -2147483648 .. 2147483647");
  EXPECT_EQ(refusal({"c", "-o", "x", "--alpha", "half"}), "--alpha is \"half\", not a number");
  EXPECT_EQ(refusal({"c", "-o", "x", "--mode", "exakt"}),
            "--mode is \"exakt\", not one of fast, exact; did you mean exact?");
  EXPECT_EQ(refusal({"-o", "x"}), "missing argument CONFIG");
  EXPECT_EQ(refusal({"c"}), "missing option --output OUT");
  EXPECT_EQ(refusal({"c", "d", "-o", "x"}), "one argument too many: \"d\"");
}

TEST(Options, NameTheOptionOfABadSize) {
  EXPECT_EQ(refusal({"c", "-o", "x", "--memory", "lots"}).rfind("--memory: ", 0), 0u);
}

TEST(Options, TellTheirDefaults) {
  const Values v;
  std::vector<std::string> defaults;
  for (const Option& option : v.options.list()) defaults.push_back(option.default_text);
  EXPECT_EQ(defaults, (std::vector<std::string>{"", "", "0", "7", "0.5", "", "1.0 GiB", "fast", ""}));
}

}  // namespace
}  // namespace solera::cli
