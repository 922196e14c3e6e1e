// Which tensors share weights.
#include "solera/soup/groups.h"

#include <gmock/gmock.h>

#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera::soup {
namespace {

using test::message_of;
using ::testing::ElementsAre;

// "a: x y | b: z"
std::string shown(const Groups& groups) {
  std::vector<std::string> parts;
  for (int g = 0; g < groups.count(); ++g) {
    std::string part = groups.names[static_cast<std::size_t>(g)] + ":";
    for (const Groups::Member& member : groups.members)
      if (member.group == g) part += " " + member.tensor;
    parts.push_back(part);
  }
  return join(parts, " | ");
}

const std::vector<std::string> kNames = {"emb.weight",        "head.weight",       "model.layers.0.a",
                                         "model.layers.1.a",  "model.layers.10.a", "model.layers.2.a",
                                         "model.layers.2.b.3"};

TEST(Groups, WholeAndSingle) {
  const std::vector<std::string> two = {"a", "b"};
  EXPECT_EQ(shown(whole_model(two)), "all: a b");
  EXPECT_EQ(shown(each_tensor(two)), "a: a | b: b");
}

TEST(Groups, LayersGoInNumericOrder) {
  EXPECT_EQ(shown(even_layers(kNames, 2)),
            "model.layers.0 to model.layers.1: model.layers.0.a model.layers.1.a | model.layers.2 to model.layers.10: "
            "model.layers.10.a model.layers.2.a model.layers.2.b.3 | rest: emb.weight head.weight");
  EXPECT_EQ(even_layers(kNames, 4).names, std::vector<std::string>({"model.layers.0", "model.layers.1",
                                                                    "model.layers.2", "model.layers.10", "rest"}));
  EXPECT_EQ(even_layers(kNames, 1).names.front(), "model.layers.0 to model.layers.10");
}

// A number at the end is no block; stacks stand in order of their names, and there need not be a rest.
TEST(Groups, StacksFollowOneAnother) {
  const std::vector<std::string> names = {"layer2.0.w", "layer1.1.w", "layer1.0.w", "layer2.1.w", "layer3.0.w"};
  EXPECT_EQ(shown(even_layers(names, 3)),
            "layer1.0 to layer1.1: layer1.1.w layer1.0.w | layer2.0 to layer2.1: layer2.0.w layer2.1.w | layer3.0: "
            "layer3.0.w");
}

TEST(Groups, EvenGroupsDifferByOneAtMost) {
  for (int n = 1; n <= 40; ++n) {
    std::vector<std::string> names;
    for (int i = 0; i < n; ++i) names.push_back(cat("h.", i, ".w"));
    for (int count = 1; count <= n; ++count) {
      const Groups groups = even_layers(names, count);
      ASSERT_EQ(groups.count(), count);
      for (int g = 0; g < count; ++g) {
        EXPECT_GE(groups.size_of(g), n / count);
        EXPECT_LE(groups.size_of(g), (n + count - 1) / count);
      }
    }
  }
}

TEST(Groups, TheFirstPatternTakesATensor) {
  const std::vector<Pattern> patterns = {Pattern("*.2.*"), Pattern("model.*")};
  EXPECT_EQ(shown(by_patterns(kNames, patterns)),
            "*.2.*: model.layers.2.a model.layers.2.b.3 | model.*: model.layers.0.a model.layers.1.a "
            "model.layers.10.a | rest: emb.weight head.weight");
  EXPECT_EQ(shown(by_patterns(kNames, std::vector<Pattern>{Pattern("*")})).substr(0, 3), "*: ");
}

TEST(Groups, RefusesWhatCannotBe) {
  const std::vector<std::string> flat = {"a.weight", "fc.3"};
  EXPECT_EQ(
      message_of([&] { even_layers(flat, 2); }),
      "the names of the tensors have no numbered layers to split; say what belongs together with --group PATTERN");
  EXPECT_EQ(message_of([&] { even_layers(kNames, 5); }), "--groups 5, but the models have only 4 layers");
  EXPECT_EQ(message_of([&] { even_layers(kNames, 0); }), "--groups is 0, less than 1");
  EXPECT_EQ(message_of([&] { by_patterns(kNames, std::vector<Pattern>{Pattern("model.*"), Pattern("*.0.*")}); }),
            "--group '*.0.*' gets no tensor; names look like model.layers.1.a");
}

TEST(Groups, TheHashIsThatOfTheMembers) {
  Groups a = even_layers(kNames, 2), b = a;
  b.names[0] = "another name";
  EXPECT_EQ(a.hash(), b.hash());
  b.members[0].group = 0;
  EXPECT_NE(a.hash(), b.hash());
}

TEST(Blend, IsAsSimpleAsItCanBe) {
  const Blend even{{{1, 0, 2}, {1, 0, 2}}}, odd{{{1, 0, 2}, {0, 0, 1}}};
  EXPECT_EQ(even.simplest().rows.size(), 1u);
  EXPECT_EQ(odd.simplest().rows.size(), 2u);
  EXPECT_THAT(odd.reach(), ElementsAre(1, 0, 1));
}

}  // namespace
}  // namespace solera::soup
