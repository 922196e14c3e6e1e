#include "solera/merge/values.h"

#include <gtest/gtest.h>

#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera::merge {
namespace {

// The value as text, or "none".
std::string at(const std::string& setting, const TensorPlace& place, bool discrete = false) {
  const auto value = evaluate(parse_yaml(setting, "v.yaml"), place, discrete, "w");
  if (!value) return "none";
  const auto number = discrete ? std::nullopt : value->try_double();
  return number ? exact_text(*number) : value->as_text();
}
std::string at_t(const std::string& setting, double t) { return at(setting, {"x", t}); }

TEST(Values, GradientsGoBetweenTheirValues) {
  const std::string gradient = "[0, 0.5, 0.3, 0.7, 1]";
  const std::pair<double, std::string> known[] = {{0, "0"}, {0.125, "0.25"}, {0.25, "0.5"}, {0.5, "0.3"}, {1, "1"}};
  for (const auto& [t, value] : known) EXPECT_EQ(at_t(gradient, t), value) << t;
  EXPECT_EQ(at_t("[7]", 0), "7");
  EXPECT_EQ(at_t("[7]", 1), "7");
  EXPECT_EQ(at_t("['1e-1', 3.0e-1]", 0), "0.1");
  EXPECT_EQ(at_t("[false, true]", 0.25), "0.25");
  EXPECT_EQ(at_t("[]", 0.5), "none");
  EXPECT_EQ(at_t("0.5", 0.9), "0.5");
}

TEST(Values, WhatIsNoNumberIsPicked) {
  const std::string gradient = "[true, false, yes]";
  const std::pair<double, std::string> known[] = {
      {0, "true"}, {0.49, "true"}, {0.5, "false"}, {0.99, "false"}, {1, "yes"}};
  for (const auto& [t, value] : known) EXPECT_EQ(at(gradient, {"x", t}, true), value) << t;
}

TEST(Values, AnEntryMayNameOneTensor) {
  const std::string setting = "[{tensor: a.b, value: 1}, {tensor: '*', value: 2}, {value: 3}]";
  EXPECT_EQ(at(setting, {"a.b", 0}), "1");
  EXPECT_EQ(at(setting, {"x.a.b", 0}), "3");
  EXPECT_EQ(at(setting, {"*", 0}), "2");
  EXPECT_EQ(test::message_of([] { require_setting(parse_yaml("[{tensor: [a], value: 1}]", "v.yaml"), "w"); }),
            "\"w\" has a tensor that is not a name (v.yaml:1:11)");
}

TEST(Values, LayersSpreadOverTheGradient) {
  EXPECT_EQ(gradient_position(0, 4), 0.0);
  EXPECT_EQ(gradient_position(1, 4), 1.0 / 3.0);
  EXPECT_EQ(gradient_position(3, 4), 1.0);
  EXPECT_EQ(gradient_position(0, 1), 1.0);
}

TEST(Values, TheFirstEntryThatFitsCounts) {
  const std::string setting = "[{filter: attn, value: [1, 2]}, {filter: tt, value: 3}, {value: 4}]";
  EXPECT_EQ(at(setting, {"h.0.attn.w", 0.5}), "1.5");
  EXPECT_EQ(at(setting, {"h.0.battle.w", 0}), "3");
  EXPECT_EQ(at(setting, {"h.0.mlp.w", 0}), "4");
  EXPECT_EQ(at("[{filter: attn, value: 1}]", {"mlp", 0}), "none");
  EXPECT_EQ(at("{filter: attn, value: 1}", {"attn", 0}), "1");
  EXPECT_EQ(at("{filter: attn, value: 1}", {"mlp", 0}), "none");
  EXPECT_EQ(at("[{filter: '*', value: 1}, {value: 2}]", {"mlp", 0}), "1");
  EXPECT_EQ(at("[{filter: 'm*p', value: 1}, {value: 2}]", {"mlp", 0}), "2") << "a filter is a plain part of the name";
  EXPECT_EQ(at("[{filter: mlp, value: []}, {value: 2}]", {"mlp", 0}), "none") << "the entry fits, and says nothing";
}

TEST(Values, PatternsMatchWholeNamesAndRolesMatchTables) {
  EXPECT_EQ(at("[{pattern: '*.mlp.*', value: 1}, {value: 2}]", {"h.0.mlp.w", 0}), "1");
  EXPECT_EQ(at("[{pattern: 'mlp', value: 1}, {value: 2}]", {"h.0.mlp.w", 0}), "2");
  EXPECT_EQ(at("[{pattern: 're:^h\\.[02]', value: 1}, {value: 2}]", {"h.2.mlp.w", 0}), "1");
  const std::string roles = "[{role: embedding, value: 1}, {role: head, value: 2}, {value: 3}]";
  EXPECT_EQ(at(roles, {"e", 0, Role::kEmbedding}), "1");
  EXPECT_EQ(at(roles, {"e", 0, Role::kHead}), "2");
  EXPECT_EQ(at(roles, {"e", 0, Role::kBody}), "3");
}

TEST(Values, MistakesNameTheirPlace) {
  const auto message = [](const std::string& setting) {
    return test::message_of([&] { require_setting(parse_yaml(setting, "v.yaml"), "w"); });
  };
  EXPECT_EQ(message("[1, {value: 2}]"),
            "\"w\" mixes plain values with {filter, value} entries (v.yaml:1:2); write {value: ...} for the rest");
  EXPECT_EQ(message("[{filter: a}]"),
            "\"w\" has an entry without a value (v.yaml:1:2); write {filter: ..., value: ...}");
  EXPECT_EQ(message("[{filtre: a, value: 1}]"),
            "unknown key \"filtre\" in an entry of \"w\" (v.yaml:1:3); did you mean \"filter\"?");
  EXPECT_EQ(message("[{filter: [a], value: 1}]"), "\"w\" has a filter that is not a text (v.yaml:1:11)");
  EXPECT_EQ(message("[{role: haed, value: 1}]"),
            "\"w\" has a role that is neither embedding nor head (v.yaml:1:9); did you mean head?");
  EXPECT_EQ(message("[{filter: a, value: {b: 1}}]"),
            "\"w\" has an entry whose value is neither a value nor a list of values (v.yaml:1:21)");
  EXPECT_EQ(message("[0.5]"),
            "\"w\" is a gradient of one value (v.yaml:1:1); write the value without brackets, or one for the first and "
            "one for the last layer");
  EXPECT_EQ(
      message("[{filter: a, value: [true]}]"),
      "\"w\" is a gradient of one value (v.yaml:1:21); write the value without brackets, or one for the first and "
      "one for the last layer");
  EXPECT_EQ(message("[]"), "\"w\" is an empty list (v.yaml:1:1)");
  EXPECT_EQ(test::message_of([] { at_t("[0, high]", 0.5); }), "\"w\" is \"high\", not a number (v.yaml:1:5)");
}

}  // namespace
}  // namespace solera::merge
