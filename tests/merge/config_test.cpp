#include "solera/merge/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/support.h"

namespace solera::merge {
namespace {

using checkpoint::DType;
using testing::ElementsAre;
using testing::IsEmpty;

MergeConfig parse(const std::string& yaml) { return parse_merge_config(parse_yaml(yaml, "c.yaml")); }
std::string message(const std::string& yaml) {
  return test::message_of([&] { parse(yaml); });
}
// The rest of a file that merges two models.
std::string with(const std::string& rest) { return "merge_method: ties\nmodels: [a, b]\nbase_model: c\n" + rest; }

TEST(Config, AnOrdinaryFile) {
  const MergeConfig config = parse(
      "merge_method: ties\n"
      "models:\n"
      "  - model: a\n"
      "    parameters: {density: 0.5, weight: [0, 1]}\n"
      "  - model: {model: {path: b}}\n"
      "base_model: c\n"
      "parameters: {lambda: 0.9}\n"
      "dtype: torch.float32\n"
      "out_dtype: bfloat16\n"
      "rules: paper\n");
  EXPECT_EQ(config.method, "ties");
  EXPECT_EQ(config.method_where, "c.yaml:1:15");
  ASSERT_EQ(config.models.size(), 2u);
  EXPECT_EQ(config.models[0].path, "a");
  EXPECT_EQ(config.models[0].parameters.at("density").as_double(), 0.5);
  EXPECT_EQ(config.models[0].where, "c.yaml:3:12");
  EXPECT_EQ(config.models[1].path, "b");
  EXPECT_TRUE(config.models[1].parameters.is_null());
  EXPECT_EQ(config.base_model, "c");
  EXPECT_EQ(config.parameters.at("lambda").as_double(), 0.9);
  EXPECT_EQ(config.dtype, DType::kF32);
  EXPECT_EQ(config.out_dtype, DType::kBF16);
  EXPECT_EQ(config.rules, Rules::kPaper);
  EXPECT_EQ(config.file, "c.yaml");
  EXPECT_THAT(config.slices, IsEmpty());
  EXPECT_THAT(config.notes, IsEmpty());
}

TEST(Config, SlicesAndTheDefaultModule) {
  const MergeConfig config = parse(
      "merge_method: linear\n"
      "modules:\n"
      "  default:\n"
      "    slices:\n"
      "      - sources:\n"
      "          - {model: a, layer_range: [0, 4]}\n"
      "          - {model: b, layer_range: [2, 6], parameters: {weight: 2}}\n"
      "        base_model: a\n"
      "        parameters: {weight: 1}\n"
      "      - sources: [{model: c, layer_range: [3, 4]}]\n"
      "        residual_weight: 0.5\n"
      "    parameters: {normalize: false}\n");
  EXPECT_THAT(config.models, IsEmpty());
  ASSERT_EQ(config.slices.size(), 2u);
  const SliceEntry& first = config.slices[0];
  ASSERT_EQ(first.sources.size(), 2u);
  EXPECT_EQ(first.sources[1].layers, (std::pair<std::int64_t, std::int64_t>(2, 6)));
  EXPECT_EQ(first.sources[1].parameters.at("weight").as_double(), 2);
  EXPECT_EQ(first.base_model, "a");
  EXPECT_EQ(first.base_where, "c.yaml:8:21");
  EXPECT_EQ(first.parameters.at("weight").as_double(), 1);
  EXPECT_EQ(first.where, "c.yaml:5:9");
  EXPECT_EQ(config.slices[1].base_model, "");
  EXPECT_TRUE(config.slices[1].parameters.is_null());
  EXPECT_NE(config.module_parameters.find("normalize"), nullptr);
  EXPECT_EQ(config.base_model, "");
  EXPECT_THAT(config.notes, ElementsAre("\"residual_weight\" does nothing (c.yaml:11:26)"));
}

TEST(Config, WhatDoesNothingIsNoted) {
  const MergeConfig config = parse(
      "shared: &d {density: 0.5}\n"
      "merge_method: task_arithmetic\n"
      "models: [{model: a, parameters: {<<: *d, lambda: 2}}]\n"
      "parameters: {int8_mask: true, rescale: true}\n");
  EXPECT_THAT(
      config.notes,
      ElementsAre(
          "the key \"shared\" is not used (c.yaml:1:1)", "\"int8_mask\" does nothing for task_arithmetic (c.yaml:4:14)",
          "\"rescale\" does nothing for task_arithmetic (c.yaml:4:31)",
          "\"density\" does nothing for task_arithmetic (c.yaml:1:13)",
          "\"lambda\" is one value for the whole merge and does nothing among a model's parameters (c.yaml:3:42)"));
}

TEST(Config, MistakesAreNamedWithTheirPlace) {
  EXPECT_EQ(message(""), "the configuration is empty; it needs merge_method and models");
  EXPECT_EQ(message("[1]"), "the configuration is not a map of keys and values (c.yaml:1:1)");
  EXPECT_EQ(message("models: [a]"), "\"merge_method\" is missing (c.yaml)");
  EXPECT_EQ(message("merge_method: passthru\nmodels: [a]"),
            "unknown merge method \"passthru\" (c.yaml:1:15); did you mean passthrough?");
  EXPECT_EQ(message("merge_method: ties\nmodels: []"),
            "\"models\" is missing or empty (c.yaml); list the models to merge");
  EXPECT_EQ(message("merge_method: ties\nmodels: a"), "\"models\" is not a list (c.yaml:2:9)");
  EXPECT_EQ(message("merge_method: ties\nmodels: [{modell: a}]"),
            "unknown key \"modell\" in an entry of the models (c.yaml:2:11); did you mean \"model\"?");
  EXPECT_EQ(message("merge_method: ties\nmodels: [{parameters: {}}]"),
            "an entry of the models has no \"model\" (c.yaml:2:10)");
  EXPECT_EQ(message("merge_method: ties\nmodels: [{model: [a]}]"), "\"model\" is not a text (c.yaml:2:18)");
  EXPECT_EQ(message("merge_method: ties\nmodels: [a, b, a]"),
            "model a is listed twice (c.yaml:2:16); keep one entry with the sum of the weights");
  EXPECT_EQ(message(with("dtpye: float32")), "unknown key \"dtpye\" (c.yaml:4:1); did you mean dtype?");
  EXPECT_EQ(message(with("dtype: int64")),
            "\"dtype\" is \"int64\", not a type to merge in (c.yaml:4:8); use float32, bfloat16, float16, float64");
  EXPECT_EQ(message(with("rules: peper")), "\"rules\" is \"peper\", neither mergekit nor paper (c.yaml:4:8)");
  EXPECT_EQ(message(with("parameters: [1]")), "\"parameters\" is not a map of keys and values (c.yaml:4:13)");
  EXPECT_EQ(message(with("parameters: {densty: 1}")),
            "unknown parameter \"densty\" of ties (c.yaml:4:14); did you mean density?");
  EXPECT_EQ(message(with("parameters: {flavor: 1}")),
            "unknown parameter \"flavor\" of ties (c.yaml:4:14); known are weight, density, lambda, alpha, normalize, "
            "granularity, vote, "
            "zero_vote, rescale");
  EXPECT_EQ(message(with("parameters: {weight: [{filter: a}]}")),
            "\"weight\" has an entry without a value (c.yaml:4:23); write {filter: ..., value: ...}");
}

TEST(Config, WhatIsNotSupportedYetIsSaidPlainly) {
  EXPECT_EQ(
      message(with("slices: []")),
      "more than one of \"models\", \"slices\" and \"modules\" is given (c.yaml:4:9); keep the one that is meant");
  EXPECT_EQ(message("merge_method: linear\nmodules: {vision: {models: [a]}}"),
            "the module \"vision\" is not supported yet (c.yaml:2:19); only the module \"default\", the whole model, "
            "can be merged");
}

TEST(Config, MistakesInSlices) {
  const auto sliced = [](const std::string& slices) { return message("merge_method: linear\nslices: " + slices); };
  EXPECT_EQ(sliced("[]"), "\"models\" is missing or empty (c.yaml); list the models to merge");
  EXPECT_EQ(sliced("{sources: []}"), "\"slices\" is not a list (c.yaml:2:9)");
  EXPECT_EQ(sliced("[{sources: []}]"),
            "a slice has no \"sources\" (c.yaml:2:10); list its models, each with a layer_range");
  EXPECT_EQ(sliced("[{source: []}]"), "unknown key \"source\" in a slice (c.yaml:2:11); did you mean \"sources\"?");
  EXPECT_EQ(sliced("[{sources: [{model: a}]}]"),
            "a slice's source has no \"layer_range\" (c.yaml:2:21); write layer_range: [first, end]; the end is not "
            "included");
  EXPECT_EQ(sliced("[{sources: [{model: a, layer_rang: [0, 1]}]}]"),
            "unknown key \"layer_rang\" in a source of a slice (c.yaml:2:32); did you mean \"layer_range\"?");
  EXPECT_EQ(sliced("[{sources: [{layer_range: [0, 1]}]}]"), "a source of a slice has no \"model\" (c.yaml:2:21)");
  EXPECT_EQ(sliced("[{sources: [{model: a, layer_range: 3}]}]"), "\"layer_range\" is not [first, end] (c.yaml:2:45)");
  EXPECT_EQ(sliced("[{sources: [{model: a, layer_range: [2, 2]}]}]"),
            "\"layer_range\" is [2, 2], which holds no layer (c.yaml:2:45); layers count from 0 and the end is not "
            "included");
  EXPECT_EQ(sliced("[{sources: [{model: a, layer_range: [-1, 2]}]}]"),
            "\"layer_range\" is [-1, 2], which holds no layer (c.yaml:2:45); layers count from 0 and the end is not "
            "included");
  EXPECT_EQ(sliced("[{sources: [{model: a, layer_range: [0, 2]}, {model: b, layer_range: [1, 2]}]}]"),
            "layer_range [1, 2] of b has 1 layer, [0, 2] of a has 2 (c.yaml:2:62); the sources of one slice have "
            "equally many layers");
  EXPECT_EQ(sliced("[{sources: [{model: a, layer_range: [0, 2]}, {model: a, layer_range: [1, 3]}]}]"),
            "model a is listed twice (c.yaml:2:62); layers of one model are stacked by slices of their own");
}

TEST(Config, ReferencesAreOneText) {
  const MergeConfig config = parse(
      "merge_method: linear\nmodels: [{model: {model: {path: org/name, revision: v1}}}, {model: 'org/name@v2'}]\n");
  EXPECT_EQ(config.models[0].path, "org/name@v1");
  EXPECT_EQ(config.models[1].path, "org/name@v2");
}

TEST(Config, WhatIsMadeInMemoryIsAFileToo) {
  MergeConfig config =
      parse_merge_config(parse_yaml("{merge_method: ties, rules: paper, base_model: base, parameters: {lambda: 0.1},\n"
                                    "models: [{model: a, parameters: {weight: [{tensor: w, value: "
                                    "0.30000000000000004}]}}, {model: 'https://h/b/?key=1'}]}"));
  const std::string text = config_yaml(config);
  const MergeConfig read = parse_merge_config(parse_yaml(text));
  EXPECT_EQ(read.method, "ties");
  EXPECT_EQ(read.rules, Rules::kPaper);
  EXPECT_EQ(read.base_model, "base");
  EXPECT_EQ(to_json(read.parameters), to_json(config.parameters));
  ASSERT_EQ(read.models.size(), 2u);
  EXPECT_EQ(to_json(read.models[0].parameters), to_json(config.models[0].parameters));
  EXPECT_EQ(read.models[1].path, "https://h/b/");  // a query may be a signature
}

TEST(Config, AFileKnowsItsFolder) {
  const TemporaryFolder folder;
  write_atomically(folder / "c.yaml", with(""));
  const MergeConfig config = read_merge_config(folder / "c.yaml");
  EXPECT_EQ(config.file, folder / "c.yaml");
  EXPECT_EQ(config.folder, folder.path());
  write_atomically(folder / "e.yaml", "# nothing\n");
  EXPECT_EQ(test::message_of([&] { read_merge_config(folder / "e.yaml"); }),
            "the configuration is empty (" + (folder / "e.yaml") + "); it needs merge_method and models");
}

}  // namespace
}  // namespace solera::merge
