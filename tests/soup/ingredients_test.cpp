#include "solera/soup/ingredients.h"

#include <gmock/gmock.h>

#include "tests/support/support.h"

namespace solera::soup {
namespace {

using ::testing::ElementsAre;

TEST(ShortNames, AreTheShortestEndsThatDiffer) {
  const auto names = [](std::vector<std::string> paths) { return short_names(paths); };
  EXPECT_THAT(names({"/m/run0.safetensors", "/m/run1.safetensors"}),
              ElementsAre("run0.safetensors", "run1.safetensors"));
  EXPECT_THAT(names({"out/a/checkpoint-5", "out/b/checkpoint-5/", "out/b/checkpoint-6"}),
              ElementsAre("a/checkpoint-5", "b/checkpoint-5", "b/checkpoint-6"));
  EXPECT_THAT(names({"a", "./b", "c/a"}), ElementsAre("a", "b", "c/a"));
  EXPECT_THAT(names({"same", "same"}), ElementsAre("same", "same"));
  EXPECT_THAT(names({"only"}), ElementsAre("only"));
}

TEST(Ingredients, NameMixes) {
  Ingredients ingredients;
  ingredients.labels = {"a", "b", "c"};
  EXPECT_EQ(ingredients.name_of({0, 1, 0}), "b");
  EXPECT_EQ(ingredients.name_of({1, 0, 1}), "a + c");
}

}  // namespace
}  // namespace solera::soup
