#include <cmath>
#include <limits>

#include "solera/base/document.h"
#include "solera/base/random.h"
#include "tests/support/support.h"

namespace solera {
namespace {

Node sample() {
  return Node::map({{"name", Node::text("ties")},
                    {"steps", Node::integer(3)},
                    {"rate", Node::number(0.1)},
                    {"on", Node::boolean(true)},
                    {"none", Node()},
                    {"models", Node::list({Node::map({{"a", Node::integer(1)}, {"b", Node::list({Node::list()})}}),
                                           Node::list({Node::integer(1), Node::map()}), Node::text("x")})}});
}

TEST(ToJson, OneLineOrIndented) {
  EXPECT_EQ(to_json(sample()),
            R"({"name":"ties","steps":3,"rate":0.1,"on":true,"none":null,"models":[{"a":1,"b":[[]]},[1,{}],"x"]})");
  EXPECT_EQ(to_json(sample(), 2), R"({
  "name": "ties",
  "steps": 3,
  "rate": 0.1,
  "on": true,
  "none": null,
  "models": [
    {
      "a": 1,
      "b": [
        []
      ]
    },
    [
      1,
      {}
    ],
    "x"
  ]
})");
}

TEST(ToJson, NumbersReadBackEqual) {
  for (const double value : {0.1, 1.0 / 3, 1e300, 5e-324, -0.0, 3.0, std::numeric_limits<double>::max()}) {
    EXPECT_EQ(parse_json(to_json(Node::number(value))).as_double(), value);
    EXPECT_EQ(parse_yaml(to_yaml(Node::number(value))).as_double(), value);
  }
  EXPECT_EQ(to_json(Node::number(std::nan(""))), "null");
  EXPECT_EQ(to_json(Node::number(-HUGE_VAL)), "null");
  EXPECT_EQ(to_yaml(Node::number(-HUGE_VAL)), "-.inf\n");
  EXPECT_EQ(parse_yaml(to_yaml(Node::number(HUGE_VAL))).as_double(), HUGE_VAL);
  EXPECT_EQ(to_json(Node::integer(INT64_MIN)), "-9223372036854775808");
}

TEST(ToJson, EscapesAndRepairs) {
  EXPECT_EQ(to_json(Node::text("\"\\\n\r\t\x01\x7F/\xC3\xA9")), "\"\\\"\\\\\\n\\r\\t\\u0001\\u007f/\xC3\xA9\"");
  EXPECT_EQ(to_json(Node::text("a\xFF"
                               "b\xC3\xA9\xE2\x82")),
            "\"a\xEF\xBF\xBD"
            "b\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

TEST(ToYaml, BlockStyle) {
  EXPECT_EQ(to_yaml(sample()), R"(name: "ties"
steps: 3
rate: 0.1
on: true
none: null
models:
  - a: 1
    b:
      - []
  - - 1
    - {}
  - "x"
)");
  EXPECT_EQ(to_yaml(Node()), "null\n");
  EXPECT_EQ(to_yaml(Node::list()), "[]\n");
}

// Kinds, keys, texts and the values that a plain scalar has.
bool same(const Node& a, const Node& b) {
  if (a.kind() != b.kind() || a.items().size() != b.items().size() || a.entries().size() != b.entries().size()) {
    return false;
  }
  if (a.is_scalar()) return a.as_text() == b.as_text() && to_json(a) == to_json(b);
  for (std::size_t i = 0; i < a.items().size(); ++i) {
    if (!same(a.items()[i], b.items()[i])) return false;
  }
  for (std::size_t i = 0; i < a.entries().size(); ++i) {
    if (a.entries()[i].first != b.entries()[i].first || !same(a.entries()[i].second, b.entries()[i].second))
      return false;
  }
  return true;
}

const std::vector<std::string> kTexts = {"",
                                         " ",
                                         "a",
                                         "null",
                                         "~",
                                         "true",
                                         "yes",
                                         "1",
                                         "0x1",
                                         ".inf",
                                         "-",
                                         "- a",
                                         "a: b",
                                         "a #b",
                                         "#",
                                         "? a",
                                         "<<",
                                         "---",
                                         "...",
                                         "--- a",
                                         "a\nb",
                                         "\n",
                                         " a ",
                                         "\t",
                                         "[",
                                         "{}",
                                         "*a",
                                         "&a",
                                         "!a",
                                         "|",
                                         ">",
                                         "'",
                                         "\"",
                                         "\\",
                                         "%a",
                                         "@",
                                         "`",
                                         "a:",
                                         ":",
                                         ":a",
                                         ",",
                                         "\xC3\xA9",
                                         "\xE2\x80\xA8",
                                         "\xC2\x85",
                                         "\xEF\xBB\xBF",
                                         "\xF0\x9F\x98\x80",
                                         "\x01\x7F\r",
                                         std::string(1, '\0'),
                                         std::string(300, 'k'),
                                         std::string(2000, 'k'),
                                         "k\n" + std::string(1500, ' ')};

TEST(ToYaml, EveryAwkwardTextReadsBack) {
  for (const std::string& text : kTexts) {
    for (const Node& node :
         {Node::text(text), Node::list({Node::text(text)}), Node::map({{text, Node::text(text)}}),
          Node::map({{text, Node::map({{text, Node()}})}}), Node::map({{text, Node::list({Node()})}})}) {
      EXPECT_TRUE(same(parse_yaml(to_yaml(node)), node)) << to_yaml(node);
      EXPECT_TRUE(same(parse_json(to_json(node)), node)) << to_json(node);
      EXPECT_TRUE(same(parse_json(to_json(node, 1)), node)) << to_json(node, 1);
    }
  }
}

Node random_node(const RandomStream& stream, std::uint64_t& at, int depth) {
  switch (stream.below(at++, depth > 0 ? 8 : 5)) {
    case 0:
      return {};
    case 1:
      return Node::integer(static_cast<std::int64_t>(stream.u32(at++)) - (std::int64_t{1} << 31));
    case 2:
      return Node::number(stream.normal(at++));
    case 3:
      return Node::boolean(stream.bernoulli(at++, 0.5));
    case 4:
      return Node::text(kTexts[stream.below(at++, kTexts.size())]);
    case 5: {
      Node list = Node::list();
      for (std::uint64_t n = stream.below(at++, 4); n > 0; --n) list.push(random_node(stream, at, depth - 1));
      return list;
    }
    default: {
      Node map = Node::map();
      for (std::uint64_t n = stream.below(at++, 4); n > 0; --n) {
        map.set(kTexts[stream.below(at++, kTexts.size())], random_node(stream, at, depth - 1));
      }
      return map;
    }
  }
}

TEST(ToYaml, RandomTreesReadBack) {
  const RandomStream stream({5, "trees"});
  std::uint64_t at = 0;
  for (int i = 0; i < 500; ++i) {
    const Node node = random_node(stream, at, 4);
    ASSERT_TRUE(same(parse_yaml(to_yaml(node)), node)) << to_yaml(node);
    ASSERT_TRUE(same(parse_json(to_json(node, i % 4 - 1)), node)) << to_json(node);
  }
}

}  // namespace
}  // namespace solera
