#include "solera/base/document.h"

#include <cmath>

#include "tests/support/support.h"

namespace solera {
namespace {

using test::message_of;

TEST(Node, KindsAndBuilding) {
  Node node;
  EXPECT_TRUE(node.is_null());
  node.set("b", Node::integer(1));
  node.set("a", Node::text("x"));
  node.set("b", Node::boolean(true));
  EXPECT_TRUE(node.is_map());
  EXPECT_EQ(to_json(node), R"({"b":true,"a":"x"})");
  EXPECT_EQ(node.at("a").name(), "a");
  EXPECT_TRUE(node.at("a").is_quoted());
  EXPECT_FALSE(node.at("b").is_quoted());
  EXPECT_TRUE(node.erase("b"));
  EXPECT_FALSE(node.erase("b"));
  EXPECT_EQ(node.find("b"), nullptr);
  Node list;
  list.push(Node::number(0.5));
  list.push(node);
  EXPECT_EQ(to_json(list), R"([0.5,{"a":"x"}])");
  EXPECT_EQ(to_json(Node::map({{"a", {}}, {"b", Node::list()}, {"a", Node::integer(2)}})), R"({"a":2,"b":[]})");
  EXPECT_EQ(message_of([&] { list.set("k", {}); }),
            "the key \"k\" is set on a list; this is a bug in Solera, please report it");
  EXPECT_EQ(message_of([&] { node.push({}); }), "an item is added to a map; this is a bug in Solera, please report it");
}

// Small maps are searched, large ones hashed: the same behavior across the border, whatever is added and erased.
TEST(Node, FindsEveryKeyInMapsOfAnySize) {
  Node node = Node::map();
  std::vector<std::string> keys;
  for (int n = 0; n < 300; ++n) {
    keys.push_back("model.layers." + std::to_string(n * 7));
    node.set(keys.back(), Node::integer(n));
    if (n % 5 == 4) {
      EXPECT_TRUE(node.erase(keys[keys.size() / 2]));
      keys.erase(keys.begin() + static_cast<std::ptrdiff_t>(keys.size() / 2));
    }
    ASSERT_EQ(node.entries().size(), keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      ASSERT_EQ(node.find(keys[i]), &node.entries()[i].second) << n;
      ASSERT_EQ(node.entries()[i].first, keys[i]);
    }
    ASSERT_EQ(node.find("model.layers.1"), nullptr);
    ASSERT_EQ(node.find(""), nullptr);
  }
  const Node copy = node;
  node.erase(keys[3]);
  EXPECT_NE(copy.find(keys[3]), nullptr);
}

TEST(Node, NumbersAsPeopleWriteThem) {
  const auto number = [](const char* text) { return parse_yaml(text).try_double(); };
  EXPECT_EQ(number("1e-3"), 0.001);
  EXPECT_EQ(number("'1.25'"), 1.25);
  EXPECT_EQ(number("+.5"), 0.5);
  EXPECT_EQ(number("0x1f"), 31);
  EXPECT_EQ(number("0o17"), 15);
  EXPECT_EQ(number("017"), 17);
  EXPECT_EQ(number(".inf"), HUGE_VAL);
  EXPECT_EQ(number("-.INF"), -HUGE_VAL);
  EXPECT_TRUE(std::isnan(number(".NaN").value()));
  for (const char* text : {"nan", "inf", "infinity", "1_000", "one", "''", "true", "0x", "0x1g", "1 2", "[1]", "~"}) {
    EXPECT_EQ(number(text), std::nullopt) << text;
  }
}

TEST(Node, IntegersAreExact) {
  EXPECT_EQ(parse_json("9223372036854775807").as_int(), INT64_MAX);
  EXPECT_EQ(parse_json("-9223372036854775808").as_int(), INT64_MIN);
  EXPECT_EQ(parse_json("18446744073709551615").as_uint(), UINT64_MAX);
  EXPECT_EQ(parse_json("9007199254740993").as_int(), 9007199254740993);
  EXPECT_EQ(parse_yaml("3.0").as_int(), 3);
  EXPECT_EQ(parse_yaml("-1e3").as_int(), -1000);
  EXPECT_EQ(parse_yaml("0xff").as_int(), 255);
  EXPECT_EQ(parse_yaml("'12'").as_uint(), 12u);
  EXPECT_EQ(parse_yaml("2.0").as_uint(), 2u);
  EXPECT_EQ(message_of([] { parse_json("9223372036854775808").as_int(); }),
            "\"9223372036854775808\" is not a whole number (line 1:1)");
  EXPECT_EQ(message_of([] { parse_json("18446744073709551616").as_uint(); }),
            "\"18446744073709551616\" is not a whole number from 0 (line 1:1)");
}

TEST(Node, BooleansInEverySpelling) {
  for (const char* text : {"true", "True", "TRUE", "yes", "Yes", "on", "ON", "'true'", "\"yes\""}) {
    EXPECT_TRUE(parse_yaml(text).as_bool()) << text;
  }
  for (const char* text : {"false", "False", "no", "NO", "off", "Off", "'no'"}) {
    EXPECT_FALSE(parse_yaml(text).as_bool()) << text;
  }
  for (const char* text : {"1", "0", "y", "truely", "~", "[true]"}) {
    EXPECT_EQ(parse_yaml(text).try_bool(), std::nullopt) << text;
  }
}

TEST(Node, AccessorsSayWhatAndWhere) {
  const Node node =
      parse_yaml("density: high\nempty:\nlist: [1, x]\nmap: {a: 1}\nhalf: 0.5\nminus: -3\n", "blend.yaml");
  const auto message = [&](const char* key, auto&& as) { return message_of([&] { as(node.at(key)); }); };
  const auto as_double = [](const Node& n) { n.as_double(); };
  const auto as_int = [](const Node& n) { n.as_int(); };
  const auto as_uint = [](const Node& n) { n.as_uint(); };
  const auto as_bool = [](const Node& n) { n.as_bool(); };
  const auto as_text = [](const Node& n) { n.as_text(); };
  EXPECT_EQ(message("density", as_double), "\"density\" is \"high\", not a number (blend.yaml:1:10)");
  EXPECT_EQ(message("empty", as_double), "\"empty\" is empty, not a number (blend.yaml:2:1)");
  EXPECT_EQ(message("list", as_double), "\"list\" is a list, not a number (blend.yaml:3:7)");
  EXPECT_EQ(message("map", as_text), "\"map\" is a map, not text (blend.yaml:4:6)");
  EXPECT_EQ(message("half", as_int), "\"half\" is \"0.5\", not a whole number (blend.yaml:5:7)");
  EXPECT_EQ(message("minus", as_uint), "\"minus\" is \"-3\", not a whole number from 0 (blend.yaml:6:8)");
  EXPECT_EQ(message("half", as_bool), "\"half\" is \"0.5\", not true or false (blend.yaml:5:7)");
  EXPECT_EQ(message_of([&] { node.at("list").items()[1].as_double(); }), "\"x\" is not a number (blend.yaml:3:11)");
  EXPECT_EQ(message_of([&] { node.at("list").at("k"); }), "\"list\" is a list, not a map (blend.yaml:3:7)");
  EXPECT_EQ(message_of([&] { node.at("desnity"); }), "missing key \"desnity\" (blend.yaml:1:1); there is \"density\"");
  EXPECT_EQ(message_of([&] { node.at("map").at("weight"); }), "missing key \"weight\" in \"map\" (blend.yaml:4:6)");
  EXPECT_EQ(message_of([] { Node::text("a\nb").as_int(); }), "\"a\\nb\" is not a whole number");
  EXPECT_EQ(message_of([] { Node().as_text(); }), "an empty value is not text");
  EXPECT_EQ(message_of([] { Node::text(std::string(59, 'x') + "\xC3\xA9z").as_int(); }),
            "\"" + std::string(59, 'x') + "...\" is not a whole number")
      << "long texts are cut between characters";
}

TEST(Node, Places) {
  EXPECT_EQ(Node().where(), "");
  EXPECT_EQ(parse_yaml("a: 1").at("a").where(), "line 1:4");
  const Node node = parse_yaml("\xC3\xA9: \n  b: 1\n", "f.yaml");
  const Node& value = node.entries()[0].second;
  EXPECT_EQ(value.where(), "f.yaml:2:3");
  EXPECT_EQ(value.key_where(), "f.yaml:1:1");
  EXPECT_EQ(value.at("b").where(), "f.yaml:2:6");
  EXPECT_EQ(node.key_where(), "f.yaml:1:1");
  const Node copy = value.at("b");
  EXPECT_EQ(copy.line(), 2);
  EXPECT_EQ(copy.column(), 6);
  EXPECT_EQ(copy.name(), "b");
}

// The examples of RFC 6901, section 5.
TEST(Node, Pointers) {
  const Node node = parse_json(
      R"({"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8})");
  EXPECT_EQ(node.pointer(""), &node);
  EXPECT_EQ(node.pointer("/foo"), &node.at("foo"));
  EXPECT_EQ(node.pointer("/foo/0")->as_text(), "bar");
  const std::vector<std::pair<std::string, int>> whole = {{"/", 0},     {"/a~1b", 1}, {"/c%d", 2},
                                                          {"/e^f", 3},  {"/g|h", 4},  {"/i\\j", 5},
                                                          {"/k\"l", 6}, {"/ ", 7},    {"/m~0n", 8}};
  for (const auto& [path, value] : whole) {
    ASSERT_NE(node.pointer(path), nullptr) << path;
    EXPECT_EQ(node.pointer(path)->as_int(), value) << path;
  }
  for (const char* path : {"foo", "/foo/2", "/foo/-", "/foo/01", "/foo/+1", "/foo/", "/foo/0/x", "/m~n", "/m~2n", "/m~",
                           "/nothing", "/foo/99999999999999999999"}) {
    EXPECT_EQ(node.pointer(path), nullptr) << path;
  }
  EXPECT_EQ(
      parse_json(R"({"results": {"arc_easy": {"acc,none": 0.5}}})").pointer("/results/arc_easy/acc,none")->as_double(),
      0.5);
}

TEST(RequireKnownKeys, NamesTheKeyItsPlaceAndTheNearest) {
  const std::vector<std::string> known = {"density", "weight"};
  const Node node = parse_yaml("weight: 1\nparameters:\n  densty:\n    - 1\n", "f.yaml");
  const Node& parameters = node.at("parameters");
  EXPECT_EQ(message_of([&] { require_known_keys(parameters, known); }),
            "unknown key \"densty\" (f.yaml:3:3); did you mean \"density\"?");
  EXPECT_EQ(message_of([&] { require_known_keys(parameters, known, "in a model's parameters"); }),
            "unknown key \"densty\" in a model's parameters (f.yaml:3:3); did you mean \"density\"?");
  EXPECT_EQ(message_of([&] { require_known_keys(node, known); }),
            "unknown key \"parameters\" (f.yaml:2:1); known keys: density, weight");
  EXPECT_EQ(message_of([&] { require_known_keys(node, {}); }), "unknown key \"weight\" (f.yaml:1:1)");
  EXPECT_EQ(message_of([&] { require_known_keys(node.at("weight"), known); }),
            "\"weight\" is \"1\", not a map (f.yaml:1:9)");
  require_known_keys(Node(), known);
  require_known_keys(parse_yaml("{density: 1, weight: 2}"), known);
}

}  // namespace
}  // namespace solera
