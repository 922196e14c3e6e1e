#include "solera/base/document.h"
#include "tests/support/support.h"

namespace solera {
namespace {

using test::message_of;

std::string refusal(const std::string& text) {
  return message_of([&] { parse_yaml(text, "f.yaml"); });
}

std::string json_of(const std::string& text) { return to_json(parse_yaml(text)); }

TEST(Yaml, AConfigurationInEverySpelling) {
  const Node node = parse_yaml(R"(# every spelling here is accepted
common: &ties_defaults
  density: 0.5
  weight: 0.5
merge_method: "ties"
models:
  - model:
      model: {path: models/gpt2/a}
    parameters:
      <<: *ties_defaults
      weight: 3.0e-1
  - model: 'models/gpt2/b'
    parameters: *ties_defaults
base_model: >-
  models/gpt2/base
parameters:
  normalize: "true"
  int8_mask: yes
  lambda: "1.25"
dtype: torch.float32
)",
                               "blend.yaml");
  EXPECT_EQ(to_json(node),
            R"({"common":{"density":0.5,"weight":0.5},"merge_method":"ties","models":[{"model":{"model":{"path":)"
            R"("models/gpt2/a"}},"parameters":{"density":0.5,"weight":3.0e-1}},{"model":"models/gpt2/b",)"
            R"("parameters":{"density":0.5,"weight":0.5}}],"base_model":"models/gpt2/base","parameters":)"
            R"({"normalize":"true","int8_mask":"yes","lambda":"1.25"},"dtype":"torch.float32"})");
  const Node& first = node.at("models").items()[0];
  EXPECT_EQ(first.at("model").at("model").at("path").where(), "blend.yaml:8:21");
  EXPECT_EQ(first.at("parameters").at("weight").where(), "blend.yaml:11:15");
  EXPECT_EQ(first.at("parameters").at("density").where(), "blend.yaml:3:12") << "where it is written";
  EXPECT_EQ(node.at("models").items()[1].at("parameters").at("density").name(), "density");
  EXPECT_EQ(node.at("models").items()[1].at("parameters").name(), "parameters");
  EXPECT_TRUE(node.at("parameters").at("normalize").as_bool());
  EXPECT_TRUE(node.at("parameters").at("int8_mask").as_bool());
  EXPECT_EQ(node.at("parameters").at("lambda").as_double(), 1.25);
}

TEST(Yaml, GoldenConfigurationsAreReadAndWrittenBack) {
  SOLERA_NEEDS_DATA();
  const std::string folder = test::data_folder() + "/golden/mergekit/configs";
  int count = 0;
  for (const std::string& name : list_folder(folder)) {
    if (!name.ends_with(".yaml")) continue;
    for (const Node& node : parse_yaml_stream(read_file(join_path(folder, name)), name)) {
      EXPECT_EQ(to_json(parse_yaml(to_yaml(node), name)), to_json(node)) << name;
      ++count;
    }
  }
  EXPECT_GT(count, 80);
}

TEST(Yaml, Scalars) {
  EXPECT_EQ(json_of("[null, ~, , Null, NULL]"), "[null,null,null,null,null]");
  EXPECT_EQ(json_of("[True, FALSE, yes, 'true']"), R"([true,false,"yes","true"])");
  EXPECT_EQ(json_of("[1, +1, .5, 1., 0x1F, 0o17, 1e3, .inf, -.Inf, .nan, 1_0, 18446744073709551615]"),
            R"([1,1,0.5,1,31,15,1e3,null,null,null,"1_0",18446744073709551615])");
  EXPECT_EQ(json_of("|\n  a\n\n    b\n"), R"("a\n\n  b\n")");
  EXPECT_EQ(json_of("|-\n  a\n  b\n"), R"("a\nb")");
  EXPECT_EQ(json_of("|+\n  a\n\n"), R"("a\n\n")");
  EXPECT_EQ(json_of(">\n  a\n  b\n\n  c\n"), R"("a b\nc\n")");
  EXPECT_EQ(json_of("a: b\n  c"), R"({"a":"b c"})");
  EXPECT_EQ(json_of("\"\\x41\\u00e9\\U0001F600\\t\""), "\"A\xC3\xA9\xF0\x9F\x98\x80\\t\"");
  EXPECT_EQ(json_of("'it''s'"), R"("it's")");
  EXPECT_EQ(json_of("\xEF\xBB\xBF"
                    "a: 1\r\nb: 2\r\n"),
            R"({"a":1,"b":2})");
  EXPECT_TRUE(parse_yaml("|\n  5\n").is_quoted());
  EXPECT_TRUE(parse_yaml("").is_null());
  EXPECT_TRUE(parse_yaml("# nothing\n").is_null());
}

TEST(Yaml, Tags) {
  EXPECT_EQ(json_of("[!!str 3, !!int '3', !!float 1, !!bool yes, !!null '', !!seq [], !!map {}, ! 5]"),
            R"(["3",3,1,"yes",null,[],{},"5"])");
  EXPECT_EQ(refusal("a: !!int x"), "\"x\" is not a whole number (f.yaml:1:4)");
  EXPECT_EQ(refusal("a: !mine 1"), "unknown tag \"!mine\" (f.yaml:1:4); remove it");
  EXPECT_EQ(refusal("a: !!python/name:os.system ''"),
            "unknown tag \"tag:yaml.org,2002:python/name:os.system\" (f.yaml:1:4); remove it");
  EXPECT_EQ(refusal("!!map [1]"), "unknown tag \"tag:yaml.org,2002:map\" (f.yaml:1:1); remove it");
}

TEST(Yaml, AliasesRepeatWhatTheyName) {
  EXPECT_EQ(json_of("[&a 1, &b [*a], *b, &a 2, *a]"), "[1,[1],[1],2,2]");
  EXPECT_EQ(json_of("- &k key\n- *k : 2"), R"(["key",{"key":2}])");
  EXPECT_EQ(refusal("- &k [1]\n- *k : 2"), "a key that is not text (f.yaml:2:3)");
}

TEST(Yaml, MergeKeysFillWhatIsNotGiven) {
  const std::string base = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\n";
  const auto merged = [&](const std::string& text) { return to_json(parse_yaml(base + text).at("m")); };
  EXPECT_EQ(merged("m: {<<: *a, y: 5}"), R"({"x":1,"y":5})");
  EXPECT_EQ(merged("m: {y: 5, <<: *a}"), R"({"y":5,"x":1})");
  EXPECT_EQ(merged("m: {w: 0, <<: [*a, *b], v: 6}"), R"({"w":0,"x":1,"y":2,"z":4,"v":6})");
  EXPECT_EQ(merged("m: {<<: [*b, *a]}"), R"({"y":3,"z":4,"x":1})");
  EXPECT_EQ(merged("m: {<<: {q: 1}}"), R"({"q":1})");
  EXPECT_EQ(merged("m: {\"<<\": *a}"), R"({"<<":{"x":1,"y":2}})") << "a quoted key is a key like others";
  EXPECT_EQ(merged("n: &n {<<: *a, z: 1}\nm: {<<: *n, x: 9}"), R"({"y":2,"z":1,"x":9})");
  EXPECT_EQ(refusal("m: {<<: 1}"), "the merge key \"<<\" takes a map or a list of maps (f.yaml:1:5)");
  EXPECT_EQ(refusal("m: {<<: [{}, 1]}"), "the merge key \"<<\" takes a map or a list of maps (f.yaml:1:5)");
  EXPECT_EQ(refusal("m:\n  <<: {a: 1}\n  <<: {b: 1}"), "duplicate key \"<<\" (f.yaml:3:3); give it a list of maps");
}

TEST(Yaml, AliasesCannotExplode) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    bomb += cat("a", i, ": &a", i, " [");
    for (int k = 0; k < 10; ++k) bomb += cat(k > 0 ? ", " : "", "*a", i - 1);
    bomb += "]\n";
  }
  EXPECT_EQ(refusal(bomb).substr(0, 34), "aliases expand to more than 64 MiB");
  std::string deep = "- &a0 []\n";
  for (int i = 1; i < 300; ++i) deep += cat("- &a", i, " [*a", i - 1, "]\n");
  EXPECT_EQ(refusal(deep), "nested more than 256 deep (f.yaml:256:10)");
  EXPECT_EQ(refusal("&a [1, *a]"), "an alias inside the value that it names (f.yaml:1:8)");
  EXPECT_EQ(refusal("[*a]"), "not valid YAML: the referenced anchor is not defined (f.yaml:1:2)");
}

TEST(Yaml, RefusalsPointAtTheText) {
  EXPECT_EQ(refusal("a: 1\nb: 2\na: 3\n"), "duplicate key \"a\" (f.yaml:3:1); it is at line 1 already");
  EXPECT_EQ(refusal("a: {b: 1, 'b': 2}"), "duplicate key \"b\" (f.yaml:1:11); it is at line 1 already");
  EXPECT_EQ(refusal("a: [1, 2\nb: 3\n"), "not valid YAML: end of sequence flow not found (f.yaml:2:2)");
  EXPECT_EQ(refusal("a: 1\n b: 2\n"), "not valid YAML: illegal map value (f.yaml:2:3)");
  EXPECT_EQ(refusal("a: \"x\n"), "not valid YAML: a quoted text is not closed (f.yaml:1:4)");
  EXPECT_EQ(refusal("a: 'x"), "not valid YAML: a quoted text is not closed (f.yaml:1:4)");
  EXPECT_EQ(refusal("a: \"x\nb: 1\n# c\n\n"), "not valid YAML: a quoted text is not closed (f.yaml:1:4)");
  EXPECT_EQ(refusal("a: [\"x\n"), "not valid YAML: a quoted text is not closed (f.yaml:1:5)");
  EXPECT_EQ(refusal("a: 1\nb\n"), "not valid YAML: end of map not found (f.yaml:2:1)");
  EXPECT_EQ(refusal("a: 1\nb\n---\nc: 1\n"), "not valid YAML: end of map not found (f.yaml:2:1)");
  EXPECT_EQ(refusal("[1] [2]"), "not valid YAML: text after the end (f.yaml:1:5)");
  EXPECT_EQ(refusal(", a"), "not valid YAML: text after the end (f.yaml:1:1)")
      << "yaml-cpp finds documents without end";
  EXPECT_EQ(refusal("a: 1\n... # end\n... x\n"), "not valid YAML: text after the end (f.yaml:3:5)");
  EXPECT_EQ(refusal("a: 1\n]\n").substr(0, 16), "not valid YAML: ");
  EXPECT_EQ(refusal("? [a]\n: 1\n"), "a key that is not text (f.yaml:1:3)");
  EXPECT_EQ(refusal("~: 1\n"), "an empty key (f.yaml:1:1); put quotes around it if it is text");
  EXPECT_EQ(refusal("- a\n- \xC3\n"), "not UTF-8 (f.yaml:2:3)");
  EXPECT_EQ(refusal("- a\n- \x04\n"), "a control character (code 4) (f.yaml:2:3); write it as an escape in quotes");
  EXPECT_EQ(refusal(std::string("a\0b", 3)),
            "a control character (code 0) (f.yaml:1:2); write it as an escape in quotes");
}

TEST(Yaml, DepthIsLimited) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(parse_yaml(nested(256)).is_list());
  EXPECT_EQ(refusal(nested(257)), "nested more than 256 deep (f.yaml:1:257)");
  EXPECT_EQ(refusal(nested(20'000)), "nested more than 256 deep (f.yaml:1:257)");
}

TEST(Yaml, Streams) {
  EXPECT_EQ(parse_yaml_stream("").size(), 0u);
  EXPECT_EQ(parse_yaml_stream("a: 1").size(), 1u);
  const auto nodes = parse_yaml_stream("name: first\n---\nname: second\n...\n# more\n---\n- 3\n", "f.yaml");
  ASSERT_EQ(nodes.size(), 3u);
  EXPECT_EQ(nodes[1].at("name").where(), "f.yaml:3:7");
  EXPECT_EQ(to_json(nodes[2]), "[3]");
  EXPECT_EQ(refusal("a: 1\n---\nb: 2\n"), "2 YAML documents where one is expected (f.yaml:3:1)");
  EXPECT_EQ(to_json(parse_yaml("---\na: 1\n...\n")), R"({"a":1})");
  EXPECT_EQ(to_json(parse_yaml("%YAML 1.2\n--- # one\na: 1\n")), R"({"a":1})");
  EXPECT_EQ(to_json(parse_yaml("a: |\n  --- x\nb: ---y\n")), R"({"a":"--- x\n","b":"---y"})");
  EXPECT_EQ(refusal("a: 1\n--- \"x\n---\nb: 1\n"), "not valid YAML: a quoted text is not closed (f.yaml:2:5)");
}

TEST(Yaml, ReadsFiles) {
  const TemporaryFolder folder;
  write_atomically(folder / "f.yaml", "a: 1\n");
  EXPECT_EQ(read_yaml(folder / "f.yaml").at("a").where(), (folder / "f.yaml") + ":1:4");
}

}  // namespace
}  // namespace solera
