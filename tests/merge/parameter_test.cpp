#include "solera/merge/parameter.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "solera/base/document.h"
#include "solera/merge/method.h"
#include "tests/support/support.h"

namespace solera::merge {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

enum class Taste { kDry, kSweet };
struct Wine {
  double sugar = 0.25;
  std::int64_t years = 3;
  bool oak = true;
  Taste taste = Taste::kSweet;
};
template <class Visitor>
void fields(Wine& w, Visitor&& field) {
  field("sugar", w.sugar, "grams", "(0, 1]").alias("glucose").alias("fructose").mergekit(0.5);
  field("years", w.years, "in the cask", "[1, inf)").mergekit(7);
  field("oak", w.oak, "of what wood").mergekit(false);
  field("taste", w.taste, "of the wine", "dry | sweet").mergekit("dry");
}

Lookup from(const std::string& yaml) {
  return [node = parse_yaml(yaml, "w.yaml")](const std::string& name) -> std::optional<Node> {
    const Node* found = node.find(name);
    return found ? std::optional(*found) : std::nullopt;
  };
}

std::string resolved(const std::string& yaml, Rules rules, std::vector<std::string>* warnings = nullptr) {
  Wine wine;
  std::vector<Field> list = fields_of(wine);
  std::vector<std::string> lines;
  resolve_fields(list, from(yaml), rules, "rioja", warnings ? *warnings : lines);
  return describe_fields(list);
}

TEST(Parameter, DefaultsFollowTheRules) {
  EXPECT_EQ(resolved("{}", Rules::kPaper), "sugar 0.25, years 3, oak true, taste sweet");
  EXPECT_EQ(resolved("{}", Rules::kMergekit), "sugar 0.5, years 7, oak false, taste dry");
}

TEST(Parameter, ValuesAreReadAsPeopleWriteThem) {
  const std::string all = "sugar 1, years 12, oak true, taste sweet";
  EXPECT_EQ(resolved("{sugar: 1, years: 12, oak: yes, taste: sweet}", Rules::kMergekit), all);
  EXPECT_EQ(resolved("{glucose: '1e0', years: 12.0, oak: 1, taste: 'sweet'}", Rules::kMergekit), all);
  EXPECT_EQ(resolved("{fructose: true, years: '12', oak: 'true'}", Rules::kMergekit),
            "sugar 1, years 12, oak true, taste dry");
}

TEST(Parameter, WhatIsNoValueIsRefusedWithItsPlace) {
  const auto message = [](const std::string& yaml) {
    return test::message_of([&] { resolved(yaml, Rules::kMergekit); });
  };
  EXPECT_EQ(message("sugar: high"), "\"sugar\" is \"high\", not a number (w.yaml:1:8)");
  EXPECT_EQ(message("sugar: .inf"), "\"sugar\" is \".inf\", not finite (w.yaml:1:8)");
  EXPECT_EQ(message("sugar: .nan"), "\"sugar\" is \".nan\", not finite (w.yaml:1:8)");
  EXPECT_EQ(message("sugar: {a: 1}"), "\"sugar\" is not a single value (w.yaml:1:8); give a number");
  EXPECT_EQ(message("years: 2.5"), "\"years\" is \"2.5\", not a whole number (w.yaml:1:8)");
  EXPECT_EQ(message("oak: 2"), "\"oak\" is \"2\", not true or false (w.yaml:1:6)");
  EXPECT_EQ(message("taste: swet"), "\"taste\" is \"swet\", not one of dry, sweet (w.yaml:1:8); did you mean sweet?");
  EXPECT_EQ(message("{sugar: 1, glucose: 1}"),
            "\"sugar\" and \"glucose\" are both given, and are one parameter (w.yaml:1:21); keep one of them");
  EXPECT_EQ(message("{glucose: 1, fructose: 1}"),
            "\"glucose\" and \"fructose\" are both given, and are one parameter (w.yaml:1:24); keep one of them");
}

struct Cellar {
  FilePath map;
};
template <class Visitor>
void fields(Cellar& c, Visitor&& field) {
  field("map", c.map, "of the cellar").must();
}

TEST(Parameter, AFileIsNamedByItsText) {
  Cellar cellar;
  std::vector<Field> list = fields_of(cellar);
  std::vector<std::string> warnings;
  resolve_fields(list, from("{map: below/12.txt}"), Rules::kMergekit, "", warnings);
  EXPECT_EQ(cellar.map.path, "below/12.txt");
  EXPECT_TRUE(list[0].is_file());
  EXPECT_TRUE(list[0].discrete());
  EXPECT_EQ(list[0].default_text(), "below/12.txt");
  const auto message = [&](const std::string& yaml) {
    return test::message_of([&] { resolve_fields(list, from(yaml), Rules::kMergekit, "", warnings); });
  };
  EXPECT_EQ(message("{map: [a, b]}"), "\"map\" is not a single value (w.yaml:1:7); give the name of a file");
  EXPECT_EQ(message("{map: ''}"), "\"map\" is \"\", not the name of a file (w.yaml:1:7)");
  EXPECT_EQ(message("{}"), "missing parameter \"map\"");
}

TEST(Parameter, OutsideItsRangeIsAWarningOrAnError) {
  std::vector<std::string> warnings;
  EXPECT_EQ(resolved("{sugar: 0, years: 0}", Rules::kMergekit, &warnings), "sugar 0, years 0, oak false, taste dry");
  EXPECT_THAT(warnings, ElementsAre("rioja: \"sugar\" is 0, outside (0, 1] (w.yaml:1:9)",
                                    "rioja: \"years\" is 0, outside [1, inf) (w.yaml:1:19)"));
  EXPECT_EQ(test::message_of([] { resolved("sugar: 1.5", Rules::kPaper); }),
            "\"sugar\" is 1.5, outside (0, 1] (w.yaml:1:8)");
}

TEST(Parameter, RangesAreReadOrLeftToTheMethod) {
  EXPECT_FALSE(in_range(0, "(0, 1]"));
  EXPECT_TRUE(in_range(1, "(0, 1]"));
  EXPECT_FALSE(in_range(1, "[0, 1)"));
  EXPECT_TRUE(in_range(0, "[0, 1)"));
  EXPECT_TRUE(in_range(1e300, "[0, inf)"));
  EXPECT_FALSE(in_range(-1, "[0, inf)"));
  EXPECT_TRUE(in_range(-1e300, "(-inf, 0]"));
  for (const char* free : {"finite", "", "[0, 1 - keep]", "a | b", "(0,"}) EXPECT_TRUE(in_range(-7, free)) << free;
}

struct Cork {
  double width = 1, length = 2;
};
template <class Visitor>
void fields(Cork& c, Visitor&& field) {
  field("width", c.width, "of the cork").mergekit_required();
  field("length", c.length, "of the cork").must();
}

TEST(Parameter, WhatMustBeGivenIsNamedWithItsOwner) {
  const auto message = [](const std::string& yaml, Rules rules, const std::string& owner) {
    return test::message_of([&] {
      Cork cork;
      std::vector<Field> list = fields_of(cork);
      std::vector<std::string> warnings;
      resolve_fields(list, from(yaml), rules, owner, warnings);
    });
  };
  EXPECT_EQ(message("{length: 1}", Rules::kMergekit, "fine-a"), "missing parameter \"width\" for fine-a");
  EXPECT_EQ(message("{width: 1}", Rules::kPaper, ""), "missing parameter \"length\"");
}

void nothing(const TensorPass&, const Cork&, std::span<const Wine>) {}

TEST(Parameter, AProgramKeepsTheParametersOfEveryTensor) {
  const auto program = typed_program<Cork, Wine>(nothing);
  const auto bind = [&](std::size_t index, const std::string& global, const std::string& model) {
    Binding binding;
    binding.rules = Rules::kPaper;
    binding.global = from(global);
    binding.models = {from(model), from("{}")};
    binding.model_names = {"a", "b"};
    program->bind(index, binding);
  };
  bind(0, "{length: 4}", "{years: 5}");
  bind(1, "{length: 6, width: 0.5}", "{oak: no}");
  EXPECT_EQ(
      program->describe(0),
      "width 1, length 4 [sugar 0.25, years 5, oak true, taste sweet] [sugar 0.25, years 3, oak true, taste sweet]");
  EXPECT_EQ(
      program->describe(1),
      "width 0.5, length 6 [sugar 0.25, years 3, oak false, taste sweet] [sugar 0.25, years 3, oak true, taste sweet]");
  EXPECT_EQ(test::message_of([&] { bind(5, "{length: 1}", "{}"); }),
            "tensors are bound out of order; this is a bug in Solera, please report it");
}

}  // namespace
}  // namespace solera::merge
