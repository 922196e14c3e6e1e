// Which numbers of a configuration are open, where they start, and what a configuration with other values is.
#include "solera/soup/varied_config.h"

#include <gmock/gmock.h>

#include "solera/merge/plan.h"
#include "tests/soup/scalars.h"

namespace solera::soup {
namespace {

using test::message_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Varied : public test::Scalars {
 protected:
  Varied() {
    for (const char* name : {"base", "a", "b"}) file(cat(name, ".safetensors"), *name - 'a');
  }
  std::string config(const std::string& text, const std::string& name = "m.yaml") {
    write_atomically(folder_ / name, text);
    return folder_ / name;
  }
  VariedConfig varied(const std::string& text, const std::vector<std::string>& vary = {}) {
    std::vector<Variation> variations;
    for (const std::string& one : vary) variations.push_back(parse_variation(one));
    return {config(text), variations};
  }
  std::string refusal(const std::string& text, const std::vector<std::string>& vary = {}) {
    std::string message = message_of([&] { varied(text, vary); });
    const std::string root = folder_.path() + "/";
    for (auto at = message.find(root); at != std::string::npos; at = message.find(root)) message.erase(at, root.size());
    return message;
  }
  static std::vector<std::string> labels(const VariedConfig& varied) {
    std::vector<std::string> list;
    for (const Coordinate& one : varied.coordinates())
      list.push_back(
          cat(one.label(), " ", number_text(one.low), " ", number_text(one.start), " ", number_text(one.high)));
    return list;
  }
};

const std::string kTask = "merge_method: task_arithmetic\nbase_model: base.safetensors\n";

TEST_F(Varied, TheWeightsOfTheModelsByDefault) {
  EXPECT_THAT(labels(varied(kTask + "models: [a.safetensors, {model: b.safetensors, parameters: {weight: 0.5}}]\n")),
              ElementsAre("weight of a.safetensors 0 1 2", "weight of b.safetensors 0 0.5 2"));
  EXPECT_THAT(labels(varied(kTask + "models: [base.safetensors, a.safetensors]\nparameters: {weight: 0.3}\n")),
              ElementsAre("weight of a.safetensors 0 0.3 2"));
  EXPECT_THAT(labels(varied(kTask + "modules: {default: {models: [a.safetensors], parameters: {weight: 0.2}}}\n")),
              ElementsAre("weight of a.safetensors 0 0.2 2"));
}

TEST_F(Varied, ParametersOfTheMergeByAnyOfTheirNames) {
  EXPECT_THAT(labels(varied(kTask + "models: [a.safetensors, b.safetensors]\nparameters: {alpha: 0.7}\n",
                            {"weight=0.5..1.5", "lambda=0..3"})),
              ElementsAre("weight of a.safetensors 0.5 1 1.5", "weight of b.safetensors 0.5 1 1.5", "lambda 0 0.7 3"));
  EXPECT_THAT(labels(varied("merge_method: slerp\nbase_model: a.safetensors\nmodels: [b.safetensors]\n", {"t=0..1"})),
              ElementsAre("t 0 0.5 1"));
  EXPECT_THAT(labels(varied("merge_method: breadcrumbs\nbase_model: base.safetensors\nmodels: [a.safetensors]\n",
                            {"gamma=0..0.1"})),
              ElementsAre("remove of a.safetensors 0 0.01 0.1"));
}

TEST_F(Varied, ValuesTakeThePlaceOfAllSpellings) {
  const VariedConfig open =
      varied("x: &all {alpha: 0.7}\n" + kTask +
                 "models:\n- base.safetensors\n- a.safetensors\n- {model: b.safetensors, "
                 "parameters: {weight: 0.5}}\nparameters: {<<: *all, weight: 0.3, normalize: no}\n",
             {"weight", "lambda=0..3"});
  const std::vector<double> values = {0.25, 1.75, 2.5};
  const merge::MergeConfig config = open.with(values);
  merge::Plan plan = merge::make_plan(config, {.single_file = true});
  EXPECT_EQ(plan.program->describe(0), "lambda 2.5, normalize false [weight 0.25] [weight 1.75]");
  write_atomically(folder_ / "again.yaml", config.text);  // and as text
  plan = merge::make_plan(merge::read_merge_config(folder_ / "again.yaml"), {.single_file = true});
  EXPECT_EQ(plan.program->describe(0), "lambda 2.5, normalize false [weight 0.25] [weight 1.75]");
  EXPECT_EQ(to_json(open.document(values).at("parameters")), "{\"normalize\":\"no\",\"lambda\":2.5}");
}

// What the file finds beside itself is found from anywhere by what is written.
TEST_F(Varied, PathsCountFromTheWorkingFolder) {
  const VariedConfig open = varied(
      "merge_method: linear\nbase_model: a.safetensors\nmodels: [a.safetensors, {model: b.safetensors}]\n"
      "tokenizer: {source: a.safetensors, tokens: {x: {source: b.safetensors}}}\n");
  const Node document = open.document(open.start());
  const std::string a = folder_ / "a.safetensors", b = folder_ / "b.safetensors";
  EXPECT_EQ(document.at("base_model").as_text(), a);
  EXPECT_EQ(document.at("models").items()[0].at("model").as_text(), a);
  EXPECT_EQ(document.at("models").items()[1].at("model").as_text(), b);
  EXPECT_EQ(document.at("tokenizer").at("source").as_text(), a);
  EXPECT_EQ(document.at("tokenizer").at("tokens").at("x").at("source").as_text(), b);
  const VariedConfig fisher = varied(
      "merge_method: fisher\nmodels: [{model: a.safetensors, parameters: {fisher: b.safetensors}}, b.safetensors]\n"
      "parameters: {fisher: a.safetensors}\n");
  EXPECT_EQ(fisher.document(fisher.start()).pointer("/models/0/parameters/fisher")->as_text(), b);
  EXPECT_EQ(fisher.document(fisher.start()).pointer("/parameters/fisher")->as_text(), a);
}

TEST_F(Varied, Variations) {
  const auto bad = [](const std::string& text) { return message_of([&] { parse_variation(text); }); };
  EXPECT_EQ(parse_variation("weight").range, std::nullopt);
  EXPECT_EQ(parse_variation("t=-1..1e1").range, std::pair(-1.0, 10.0));
  for (const char* text : {"", "=0..1", "t=", "t=1", "t=0..x", "t=..1", "t=0.1"})
    EXPECT_EQ(bad(text), cat("--vary is \"", text, "\", not NAME=LOW..HIGH; for example --vary weight=0.5..1.5"));
  EXPECT_EQ(bad("t=1..1"), "--vary t=1..1 goes from 1 to 1; give the lower end first");
}

TEST_F(Varied, Refusals) {
  const std::string models = "models: [a.safetensors, b.safetensors]\n", task = kTask + models;
  EXPECT_EQ(refusal(task, {"densty=0..1"}),
            "task_arithmetic has no parameter \"densty\" (m.yaml); --vary NAME=LOW..HIGH takes weight, lambda");
  EXPECT_EQ(refusal(task, {"weigth=0..1"}),
            "task_arithmetic has no parameter \"weigth\" (m.yaml); did you mean weight?");
  EXPECT_EQ(refusal("merge_method: model_stock\nbase_model: base.safetensors\n" + models),
            "model_stock has no parameter \"weight\" (m.yaml); it has none that could be searched");
  EXPECT_EQ(refusal(task, {"normalize=0..1"}),
            "\"normalize\" is no number that a search could vary; --vary takes weight, lambda");
  EXPECT_EQ(refusal(task, {"lambda"}), "--vary lambda has no range; write --vary lambda=LOW..HIGH");
  EXPECT_EQ(refusal(task, {"lambda=0..2", "alpha=0..3"}), "--vary lambda is given twice");
  const std::string ties = "merge_method: ties\nbase_model: base.safetensors\n" + models;
  EXPECT_EQ(refusal(ties, {"density=0..1"}), "--vary density goes to 0, outside (0, 1]");
  EXPECT_EQ(refusal(ties, {"density"}), "--vary density has no range; write --vary density=LOW..HIGH within (0, 1]");
  EXPECT_EQ(refusal(task + "parameters: {weight: [0, 1]}\n"),
            "weight of a.safetensors is no plain number, and a search would put one in its place (m.yaml:4:22); give a "
            "number to start from, or leave it out");
  EXPECT_EQ(refusal(task + "parameters: {weight: 3}\n"),
            "weight of a.safetensors starts at 3, outside 0..2 (m.yaml:4:22); give --vary weight=LOW..HIGH a range "
            "that holds it");
  EXPECT_EQ(refusal("merge_method: linear\nbase_model: base.safetensors\n" + models),
            "base_model base.safetensors is one more model of linear and has no entry whose parameters could be varied "
            "(m.yaml:2:13); list it under models");
  varied("merge_method: linear\nbase_model: ./base.safetensors\nmodels: [base.safetensors, a.safetensors]\n");
  EXPECT_THAT(refusal("merge_method: linear\nslices: [{sources: [{model: a.safetensors, layer_range: [0, 1]}]}]\n"),
              HasSubstr("stacks slices"));
  EXPECT_THAT(refusal(task + "---\nname: x\n" + task), HasSubstr("m.yaml"));
  EXPECT_THAT(refusal("merge_method: tis\n" + models), HasSubstr("did you mean"));
}

}  // namespace
}  // namespace solera::soup
