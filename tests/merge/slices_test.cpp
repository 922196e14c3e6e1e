// Layers chosen and stacked by `slices`: which tensor comes from where, with which parameters, and what is refused.
#include "solera/merge/execute.h"
#include "solera/merge/plan.h"
#include "tests/merge/plan_fixture.h"

namespace solera::merge {
namespace {

using checkpoint::NamedBytes;
using testing::ElementsAre;
using testing::IsEmpty;

class Slices : public PlanFixture {
 protected:
  // A model of three layers; its tensor of layer l holds `value` + l, what lies outside of them `value`.
  static std::vector<NamedBytes> stack(const std::string& layers, const std::vector<std::string>& outside, double value,
                                       int count = 3, checkpoint::Shape shape = {2}) {
    std::vector<NamedBytes> tensors;
    for (const std::string& name : outside) tensors.push_back(filled(name, shape, checkpoint::DType::kF32, value));
    for (int l = 0; l < count; ++l)
      tensors.push_back(filled(cat(layers, l, ".w"), shape, checkpoint::DType::kF32, value + l));
    return tensors;
  }
  void llama(const std::string& name, double value, int count = 3) {
    model(name,
          stack("model.layers.", {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}, value, count));
  }
  // "name: model:tensor ..." of every output.
  static std::vector<std::string> origins(const Plan& plan) {
    std::vector<std::string> result;
    for (const TensorPlan& tensor : plan.tensors) {
      std::string text = tensor.out.name + ":";
      for (const auto& operand : tensor.operands) text += cat(" ", operand.label, ":", operand.tensor->name);
      result.push_back(text);
    }
    return result;
  }
  // The parameters of one output.
  static std::string parameters(const Plan& plan, const std::string& name) {
    for (const TensorPlan& tensor : plan.tensors)
      if (tensor.out.name == name) return plan.program->describe(tensor.bound);
    return "no such tensor";
  }
};

const std::string kStack =
    "merge_method: passthrough\n"
    "slices:\n"
    "  - sources: [{model: a, layer_range: [0, 2]}]\n"
    "  - sources: [{model: b, layer_range: [1, 3]}]\n";

TEST_F(Slices, StackLayersAndTakeTheEndsFromTheirSlices) {
  llama("a", 10);
  llama("b", 20);
  const Plan made = plan(kStack);
  EXPECT_THAT(origins(made),
              ElementsAre("lm_head.weight: b:lm_head.weight", "model.embed_tokens.weight: a:model.embed_tokens.weight",
                          "model.layers.0.w: a:model.layers.0.w", "model.layers.1.w: a:model.layers.1.w",
                          "model.layers.2.w: b:model.layers.1.w", "model.layers.3.w: b:model.layers.2.w",
                          "model.norm.weight: b:model.norm.weight"));
  ASSERT_EQ(made.layers.size(), 2u);
  EXPECT_EQ(made.layers[1].first, 2);
  EXPECT_EQ(made.layers[1].end, 4);
  EXPECT_EQ(made.labels[made.layers[1].from[0].model], "b");
  EXPECT_EQ(made.layers[1].from[0].first, 1);
  EXPECT_EQ(made.donor, 0);
  EXPECT_THAT(made.warnings, IsEmpty());
}

TEST_F(Slices, WriteTheLayersThatTheyName) {
  llama("a", 10);
  llama("b", 20);
  Plan made = plan(kStack, {.single_file = true});
  execute(made, {.out = folder_ / "out.safetensors", .threads = 2}, no_progress());
  const auto out = checkpoint::open_checkpoint(folder_ / "out.safetensors");
  std::vector<double> firsts;
  for (const auto& tensor : out.tensors()) firsts.push_back(test::values(out, tensor.name)[0]);
  EXPECT_THAT(firsts, ElementsAre(20, 10, 10, 11, 21, 22, 20));
}

TEST_F(Slices, RepeatAndReorderTheLayersOfOneModel) {
  llama("a", 10);
  const std::string one = "  - sources: [{model: a, layer_range: ";
  const Plan made =
      plan("merge_method: passthrough\nslices:\n" + one + "[2, 3]}]\n" + one + "[0, 1]}]\n" + one + "[2, 3]}]\n");
  EXPECT_THAT(origins(made),
              ElementsAre("lm_head.weight: a:lm_head.weight", "model.embed_tokens.weight: a:model.embed_tokens.weight",
                          "model.layers.0.w: a:model.layers.2.w", "model.layers.1.w: a:model.layers.0.w",
                          "model.layers.2.w: a:model.layers.2.w", "model.norm.weight: a:model.norm.weight"));
  EXPECT_EQ(made.models.size(), 1u) << "each model is opened once";
}

TEST_F(Slices, KnowTheNamesOfLayersInTheUsualArchitectures) {
  const auto layers = [&](const std::string& stack_name, const std::vector<std::string>& outside) {
    model("a", stack(stack_name, outside, 1));
    model("b", stack(stack_name, outside, 2));
    return origins(plan(kStack));
  };
  EXPECT_THAT(layers("transformer.h.", {"transformer.wte.weight", "transformer.wpe.weight", "transformer.ln_f.weight"}),
              ElementsAre("transformer.h.0.w: a:transformer.h.0.w", "transformer.h.1.w: a:transformer.h.1.w",
                          "transformer.h.2.w: b:transformer.h.1.w", "transformer.h.3.w: b:transformer.h.2.w",
                          "transformer.ln_f.weight: b:transformer.ln_f.weight",
                          "transformer.wpe.weight: a:transformer.wpe.weight",
                          "transformer.wte.weight: a:transformer.wte.weight"));
  EXPECT_THAT(layers("h.", {"wte.weight", "ln_f.weight"}),
              ElementsAre("transformer.h.0.w: a:h.0.w", "transformer.h.1.w: a:h.1.w", "transformer.h.2.w: b:h.1.w",
                          "transformer.h.3.w: b:h.2.w", "transformer.ln_f.weight: b:ln_f.weight",
                          "transformer.wte.weight: a:wte.weight"));
  EXPECT_THAT(layers("bert.encoder.layer.", {"bert.embeddings.LayerNorm.gamma", "bert.pooler.dense.weight"}),
              ElementsAre("bert.embeddings.LayerNorm.weight: a:bert.embeddings.LayerNorm.gamma",
                          "bert.encoder.layer.0.w: a:bert.encoder.layer.0.w",
                          "bert.encoder.layer.1.w: a:bert.encoder.layer.1.w",
                          "bert.encoder.layer.2.w: b:bert.encoder.layer.1.w",
                          "bert.encoder.layer.3.w: b:bert.encoder.layer.2.w",
                          "bert.pooler.dense.weight: b:bert.pooler.dense.weight"));
  EXPECT_THAT(layers("encoder.layer.", {"embeddings.word_embeddings.weight"}),
              ElementsAre("embeddings.word_embeddings.weight: a:embeddings.word_embeddings.weight",
                          "encoder.layer.0.w: a:encoder.layer.0.w", "encoder.layer.1.w: a:encoder.layer.1.w",
                          "encoder.layer.2.w: b:encoder.layer.1.w", "encoder.layer.3.w: b:encoder.layer.2.w"));
}

TEST_F(Slices, SpreadGradientsOverEachSlice) {
  llama("a", 1, 6);
  llama("b", 2, 6);
  const Plan made = plan(
      "merge_method: linear\n"
      "slices:\n"
      "  - sources: [{model: a, layer_range: [0, 3]}, {model: b, layer_range: [3, 6]}]\n"
      "    parameters: {weight: [0, 1, 3]}\n"
      "  - sources: [{model: a, layer_range: [3, 4]}, {model: b, layer_range: [3, 4], parameters: {weight: 9}}]\n"
      "parameters: {weight: [5, 6], normalize: false}\n");
  const auto weights = [&](const std::string& name) { return parameters(made, name).substr(16); };
  EXPECT_EQ(weights("model.embed_tokens.weight"), "[weight 0] [weight 0]") << "the first value of the first slice";
  EXPECT_EQ(weights("model.layers.0.w"), "[weight 0] [weight 0]");
  EXPECT_EQ(weights("model.layers.1.w"), "[weight 1] [weight 1]");
  EXPECT_EQ(weights("model.layers.2.w"), "[weight 3] [weight 3]");
  EXPECT_EQ(weights("model.layers.3.w"), "[weight 6] [weight 9]") << "one layer takes the last value";
  EXPECT_EQ(weights("model.norm.weight"), "[weight 5] [weight 9]") << "the first value in the last slice";
}

TEST_F(Slices, FilterTheNameOfTheOutputOrOfTheModel) {
  llama("a", 1);
  llama("b", 2);
  const Plan made = plan(
      "merge_method: linear\n"
      "slices:\n"
      "  - sources: [{model: a, layer_range: [1, 3]}, {model: b, layer_range: [0, 2]}]\n"
      "parameters:\n"
      "  weight: [{filter: layers.2., value: 7}, {filter: layers.9., value: 8}, {value: 1}]\n"
      "  normalize: [{filter: layers.0., value: false}, {value: true}]\n");
  EXPECT_EQ(parameters(made, "model.layers.0.w"), "normalize false [weight 1] [weight 1]");
  EXPECT_EQ(parameters(made, "model.layers.1.w"), "normalize true [weight 7] [weight 1]");
  EXPECT_THAT(made.warnings, ElementsAre("the filter \"layers.9.\" of \"weight\" fits no tensor (c.yaml:5:43)"));
}

TEST_F(Slices, HaveBasesOfTheirOwn) {
  for (const char* name : {"a", "b", "base"}) llama(name, 1);
  const std::string slices =
      "merge_method: task_arithmetic\nparameters: {weight: 1}\nbase_model: base\n"
      "slices:\n"
      "  - sources: [{model: a, layer_range: [0, 1]}, {model: base, layer_range: [0, 1]}]\n"
      "  - sources: [{model: b, layer_range: [1, 3]}, {model: a, layer_range: [0, 2]}]\n";
  const Plan made = plan(slices + "    base_model: a\n");
  EXPECT_THAT(origins(made),
              ElementsAre("lm_head.weight: a:lm_head.weight b:lm_head.weight",
                          "model.embed_tokens.weight: base:model.embed_tokens.weight a:model.embed_tokens.weight",
                          "model.layers.0.w: base:model.layers.0.w a:model.layers.0.w",
                          "model.layers.1.w: a:model.layers.0.w b:model.layers.1.w",
                          "model.layers.2.w: a:model.layers.1.w b:model.layers.2.w",
                          "model.norm.weight: a:model.norm.weight b:model.norm.weight"));
  EXPECT_EQ(made.labels[static_cast<std::size_t>(made.donor)], "base");
  EXPECT_EQ(message(slices),
            "base_model base is not a source of the slice at c.yaml:6:5 (c.yaml:3:13); add it to the sources, or write "
            "`models` instead of `slices`");
  EXPECT_EQ(message("merge_method: ties\nslices: [{sources: [{model: a, layer_range: [0, 1]}]}]"),
            "ties needs base_model (c.yaml:2:10); name the model that the others were tuned from");
}

TEST_F(Slices, OverAllLayersAreTheWholeModel) {
  llama("a", 1);
  llama("b", 2);
  const std::string whole = "merge_method: linear\nmodels: [a, b]\nparameters: {weight: [1, 2]}\n";
  const std::string sliced =
      "merge_method: linear\nparameters: {weight: [1, 2]}\n"
      "slices: [{sources: [{model: a, layer_range: [0, 3]}, {model: b, layer_range: [0, 3]}]}]\n";
  EXPECT_EQ(lines(plan(sliced)), lines(plan(whole)));
  EXPECT_TRUE(plan(sliced).layers.empty());
  EXPECT_EQ(plan(sliced).hash(), plan(whole).hash());
}

// Slices bind tensors in another order than that of their names; what a look at the whole model finds belongs to each.
TEST_F(Slices, KeepExactlyTheirShareOfAWholeModelsEqualChanges) {
  for (const double value : {0.0, 1.0})
    model(value == 0 ? "base" : "a", {filled("model.embed_tokens.weight", {2}, checkpoint::DType::kF32, value),
                                      filled("model.layers.0.w", {3}, checkpoint::DType::kF32, value),
                                      filled("model.layers.1.w", {7}, checkpoint::DType::kF32, value),
                                      filled("model.norm.weight", {1}, checkpoint::DType::kF32, value),
                                      filled("lm_head.weight", {5}, checkpoint::DType::kF32, value)});
  Plan p = plan(
      "merge_method: ties\nrules: paper\nbase_model: base\nparameters: {weight: 1, density: 0.5}\nslices:\n"
      "  - sources: [{model: base, layer_range: [0, 1]}, {model: a, layer_range: [0, 1]}]\n"
      "  - sources: [{model: base, layer_range: [1, 2]}, {model: a, layer_range: [1, 2]}]\n",
      {.single_file = true});
  EXPECT_NE(p.tensors[0].bound, 0u);
  const std::string out = folder_ / "out.safetensors";
  execute(p, {.out = out}, no_progress());
  const auto merged = checkpoint::open_checkpoint(out);
  double kept = 0;
  for (const auto& tensor : merged.tensors())
    for (const double value : test::values(merged, tensor.name)) kept += value;
  EXPECT_EQ(kept, 9);  // of 18
}

TEST_F(Slices, PairTheLastSourcesWithTheFirstUnderMergekitsRules) {
  for (const char* name : {"a", "b", "c"}) llama(name, 1);
  const std::string text =
      "merge_method: linear\nparameters: {weight: 1}\nslices:\n"
      "  - sources: [{model: a, layer_range: [0, 2]}, {model: b, layer_range: [0, 2]}]\n"
      "  - sources: [{model: a, layer_range: [2, 3]}, {model: b, layer_range: [2, 3]}, {model: c, layer_range: [2, "
      "3]}]\n";
  const Plan mergekit = plan(text), paper = plan(text + "rules: paper\n");
  EXPECT_EQ(origins(mergekit).back(), "model.norm.weight: a:model.norm.weight b:model.norm.weight");
  EXPECT_EQ(origins(mergekit)[4], "model.layers.2.w: a:model.layers.2.w b:model.layers.2.w c:model.layers.2.w");
  EXPECT_THAT(mergekit.warnings,
              ElementsAre("the final norm and the head leave out c, as mergekit does: the last slice has more sources "
                          "than the first (c.yaml:5:5); `rules: paper` takes all"));
  EXPECT_EQ(origins(paper).back(), "model.norm.weight: a:model.norm.weight b:model.norm.weight c:model.norm.weight");
  EXPECT_THAT(paper.warnings, IsEmpty());
}

TEST_F(Slices, OfTiedModelsHaveAHeadWhereOneOfThemHas) {
  const std::vector<std::string> tied = {"model.embed_tokens.weight", "model.norm.weight"};
  model("a", stack("model.layers.", tied, 1));
  model("b", stack("model.layers.", tied, 2));
  EXPECT_EQ(origins(plan(kStack))[0], "model.embed_tokens.weight: a:model.embed_tokens.weight");
  llama("a", 1);
  const Plan made = plan(kStack);
  EXPECT_EQ(origins(made)[0], "lm_head.weight: b:model.embed_tokens.weight");
  EXPECT_THAT(made.warnings, ElementsAre("lm_head.weight: b has none and the embedding stands in"));
}

TEST_F(Slices, ThatCannotBeAreRefused) {
  llama("a", 1);
  const auto other = [&](const std::vector<NamedBytes>& tensors, const std::string& config_json = "") {
    model("b", tensors, config_json);
    return message(kStack);
  };
  EXPECT_EQ(other(stack("model.layers.", {}, 1, 2)),
            "layer_range [1, 3] of b reaches past its 2 layers (c.yaml:4:23); layers count from 0 and the end is not "
            "included");
  EXPECT_EQ(other(stack("model.layers.", {}, 1, 2), R"({"num_hidden_layers": 3})"),
            "b has no tensor of layer 2 (c.yaml); its config.json counts more layers than there are");
  EXPECT_EQ(other(stack("transformer.h.", {}, 1)),
            "layers are called model.layers.N in a and transformer.h.N in b (c.yaml); only models with one stack of "
            "layers of one name can be sliced");
  EXPECT_EQ(other(stack("model.layers.", {}, 1, 3, {4})),
            "b: model.layers.1.w is [4], in the layers of a it is [2] (b/model.safetensors); only layers of one size "
            "can be stacked");
  model("a", stack("model.layers.", {}, 1), R"({"model_type": "llama"})");
  EXPECT_EQ(other(stack("model.layers.", {}, 1), R"({"model_type": "qwen2"})"),
            "a is a llama model and b is a qwen2 model (c.yaml); only models of one architecture can be merged");
  EXPECT_EQ(message("merge_method: passthrough\nslices:\n  - sources: [{model: a, layer_range: [0, 1]}, {model: b, "
                    "layer_range: [0, 1]}]"),
            "passthrough takes exactly 1 model, the slice lists 2: a, b (c.yaml:3:5)");
}

}  // namespace
}  // namespace solera::merge
