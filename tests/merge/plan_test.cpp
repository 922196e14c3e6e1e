#include "solera/merge/plan.h"

#include "solera/merge/output_files.h"
#include "tests/merge/plan_fixture.h"

namespace solera::merge {
namespace {

using checkpoint::DType;
using checkpoint::NamedBytes;
using testing::ElementsAre;
using testing::IsEmpty;

using PlanTest = PlanFixture;

const std::string kTwo = "merge_method: linear\nmodels: [a, b]\nparameters: {weight: 1}\n";
const std::string kBase = "merge_method: task_arithmetic\nmodels: [a, b]\nbase_model: base\nparameters: {weight: 1}\n";

TEST_F(PlanTest, TypesArePromotedOrAsked) {
  model("a", {filled("w", {2}, DType::kBF16), filled("x", {2}, DType::kBF16), filled("y", {2}, DType::kF16)});
  model("b", {filled("w", {2}, DType::kBF16), filled("x", {2}, DType::kF16), filled("y", {2}, DType::kF64)});
  const std::string linear = "; normalize true [weight 1] [weight 1]";
  EXPECT_THAT(lines(plan(kTwo)),
              ElementsAre("w: a b -> BF16" + linear, "x: a b -> F32" + linear, "y: a b -> F64" + linear));
  EXPECT_EQ(lines(plan(kTwo + "dtype: float16"))[0], "w: a(F16) b(F16) -> F16" + linear);
  EXPECT_EQ(lines(plan(kTwo + "dtype: float32\nout_dtype: bfloat16"))[1], "x: a(F32) b(F32) -> BF16" + linear);
  EXPECT_EQ(lines(plan(kTwo + "out_dtype: bfloat16"))[2], "y: a b -> BF16" + linear);
}

TEST_F(PlanTest, TheBaseIsTakenAsTheMethodSays) {
  for (const char* name : {"a", "b", "base"}) model(name, {filled("w")});
  EXPECT_THAT(lines(plan(kBase)), ElementsAre("w: base a b -> F32; lambda 1, normalize false [weight 1] [weight 1]"));
  EXPECT_THAT(
      lines(plan("merge_method: task_arithmetic\nmodels: [a, ./base, b]\nbase_model: base\nparameters: {weight: 1}")),
      ElementsAre("w: base a b -> F32; lambda 1, normalize false [weight 1] [weight 1]"));
  EXPECT_THAT(lines(plan(kTwo + "base_model: base")),
              ElementsAre("w: a b base -> F32; normalize true [weight 1] [weight 1] [weight 1]"));
  EXPECT_THAT(lines(plan("merge_method: linear\nmodels: [a, base]\nbase_model: base\nparameters: {weight: 1}")),
              ElementsAre("w: a base -> F32; normalize true [weight 1] [weight 1]"));
  EXPECT_EQ(plan(kTwo + "base_model: base").donor, 0);
  EXPECT_EQ(plan(kTwo + "base_model: base").labels, (std::vector<std::string>{"base", "a", "b"}));
  EXPECT_EQ(message("merge_method: ties\nmodels: [base]\nbase_model: base"),
            "ties needs at least 1 model besides the base, the file lists none (c.yaml)");
  EXPECT_EQ(message("merge_method: linear\nmodels: [a, ./a]\nparameters: {weight: 1}"),
            "a and ./a are the same model (c.yaml:2:13)");
}

TEST_F(PlanTest, GradientsAndLevelsReachEveryTensor) {
  const std::vector<NamedBytes> tensors = {filled("embed_tokens.weight"), filled("layers.0.mlp"),
                                           filled("layers.0.mlp.w"),      filled("layers.1.mlp.w"),
                                           filled("layers.2.attn.w"),     filled("lm_head.weight")};
  for (const char* name : {"a", "b", "base"}) model(name, tensors);
  const auto weights = [&](const std::string& yaml) {
    std::vector<std::string> result;
    for (const std::string& line : lines(plan(yaml))) result.push_back(line.substr(line.find('[')));
    return result;
  };
  EXPECT_THAT(
      weights("merge_method: task_arithmetic\nbase_model: base\n"
              "models: [{model: a, parameters: {weight: [0, 1]}}, {model: b, parameters: {weight: {filter: mlp, value: "
              "5}}}]\n"
              "parameters: {weight: [{role: head, value: 7}, {pattern: 'layers.2.*', value: 8}, {value: 9}]}\n"),
      ElementsAre("[weight 0] [weight 9]", "[weight 0] [weight 5]", "[weight 0] [weight 5]", "[weight 0.5] [weight 5]",
                  "[weight 1] [weight 8]", "[weight 0] [weight 7]"));
  EXPECT_THAT(
      weights(
          "merge_method: task_arithmetic\n"
          "modules: {default: {slices: [{sources: [{model: base, layer_range: [0, 3]},\n"
          "  {model: a, layer_range: [0, 3], parameters: {weight: {filter: layers.0., value: 1}}}],\n"
          "  parameters: {weight: {filter: layers.1., value: 2}}}], parameters: {weight: {filter: mlp, value: 3}}}}\n"
          "base_model: base\nparameters: {weight: 4}\n"),
      ElementsAre("[weight 4]", "[weight 1]", "[weight 1]", "[weight 2]", "[weight 4]", "[weight 4]"));
}

TEST_F(PlanTest, AnEncoderAndADecoderAreTwoStacks) {
  const std::vector<NamedBytes> tensors = {filled("decoder.block.0.w"), filled("decoder.block.1.w"),
                                           filled("encoder.block.0.w"), filled("encoder.block.1.w"),
                                           filled("encoder.block.2.w")};
  for (const char* name : {"a", "base"}) model(name, tensors);
  std::vector<std::string> weights;
  for (const std::string& line :
       lines(plan("merge_method: slerp\nmodels: [a]\nbase_model: base\nparameters: {t: [0, 1]}")))
    weights.push_back(line.substr(line.find(';') + 2));
  EXPECT_THAT(weights, ElementsAre("t 0", "t 1", "t 0", "t 0.5", "t 1"));
}

TEST_F(PlanTest, TensorsThatSomeModelsLack) {
  model("base", {filled("w"), filled("x")});
  model("a", {filled("w"), filled("x")});
  model("b", {filled("w")});
  EXPECT_EQ(message(kBase),
            "x is in base, a but not in b (c.yaml); --allow-missing merges it over the models that have it, --exclude "
            "'x' keeps that of base");
  EXPECT_EQ(lines(plan(kBase, {.allow_missing = true}))[1], "x: base a -> F32; lambda 1, normalize false [weight 1]");
  const PlanOptions without{.exclude = {Pattern("x")}};
  EXPECT_EQ(lines(plan(kBase, without))[1], "x: base -> F32, not selected");

  model("c", {filled("w"), filled("x"), filled("y")});
  const std::string reversed =
      "merge_method: task_arithmetic\nmodels: [a, c]\nbase_model: base\nparameters: {weight: 1}\n";
  EXPECT_EQ(message(reversed),
            "y is in c but not in base, a (c.yaml); --allow-missing merges it over the models that have it, --exclude "
            "'y' leaves it out");
  EXPECT_EQ(lines(plan(reversed, {.allow_missing = true}))[2], "y: c -> F32, only in c");
  EXPECT_EQ(lines(plan(reversed, {.exclude = {Pattern("y")}})).size(), 2u);
  model("a", {filled("w"), filled("x"), filled("y")});
  EXPECT_EQ(message(reversed, {.allow_missing = true}),
            "y is missing in the base base, so that nothing can be compared (c.yaml); --exclude 'y' leaves it out");
}

TEST_F(PlanTest, OptionalTensorsHeadsAndBuffers) {
  model("base", {filled("bert.w"), filled("bert.pooler.w"), filled("bert.position_ids", {1, 3}, DType::kI64),
                 filled("classifier.bias")});
  model("a", {filled("bert.w"), filled("classifier.bias"), filled("cls.bias"), filled("l.attn.masked_bias", {1})});
  model("b", {filled("bert.w"), filled("bert.pooler.w"), filled("classifier.bias")});
  const Plan made = plan(kBase);
  EXPECT_THAT(lines(made),
              ElementsAre("bert.pooler.w: base b -> F32; lambda 1, normalize false [weight 1]",
                          "bert.position_ids: base -> I64, integer tensor",
                          "bert.w: base a b -> F32; lambda 1, normalize false [weight 1] [weight 1]",
                          "classifier.bias: base a b -> F32; lambda 1, normalize false [weight 1] [weight 1]"));
  EXPECT_THAT(made.warnings, ElementsAre("a: l.attn.masked_bias left out: derived buffers that loading makes anew",
                                         "cls.bias of a left out: base has no cls"));
  EXPECT_THAT(
      lines(plan("merge_method: linear\nmodels: [a, b]\nparameters: {weight: 1}", {.exclude = {Pattern("*pooler*")}})),
      ElementsAre("bert.w: a b -> F32; normalize true [weight 1] [weight 1]",
                  "classifier.bias: a b -> F32; normalize true [weight 1] [weight 1]"))
      << "classifier is common, cls is left behind";
  const std::string slerp = "merge_method: slerp\nmodels: [a]\nbase_model: base\nparameters: {t: 0.5}\n";
  EXPECT_EQ(lines(plan(slerp))[0], "bert.pooler.w: base -> F32, only in base");
  EXPECT_EQ(lines(plan(slerp + "dtype: float32\nout_dtype: bfloat16"))[0],
            "bert.pooler.w: base(F32) -> BF16, only in base");
}

TEST_F(PlanTest, ATiedHeadIsItsEmbedding) {
  const std::vector<NamedBytes> tied = {filled("model.embed_tokens.weight", {4, 2}), filled("model.norm.weight", {2})};
  std::vector<NamedBytes> own = tied;
  own.push_back(filled("lm_head.weight", {4, 2}));
  model("a", tied);
  model("b", own);
  const Plan made = plan(kTwo);
  ASSERT_EQ(made.tensors[0].out.name, "lm_head.weight");
  EXPECT_EQ(made.tensors[0].operands[0].tensor->name, "model.embed_tokens.weight");
  EXPECT_EQ(made.tensors[0].operands[1].tensor->name, "lm_head.weight");
  EXPECT_THAT(made.warnings, ElementsAre("lm_head.weight: a has none and the embedding stands in"));
}

TEST_F(PlanTest, ShapesAndSortsMustAgree) {
  model("a", {filled("h.3.mlp.weight", {64, 96}), filled("embed_tokens.weight", {4, 2})});
  model("b", {filled("h.3.mlp.weight", {64, 128}), filled("embed_tokens.weight", {4, 2})});
  EXPECT_EQ(message(kTwo),
            "b: transformer.h.3.mlp.weight is [64, 128], a has [64, 96] (b/model.safetensors); use --exclude "
            "'transformer.h.3.mlp.*' to keep "
            "that of a");
  model("b", {filled("h.3.mlp.weight", {64, 96}), filled("embed_tokens.weight", {5, 2})});
  EXPECT_EQ(message(kTwo),
            "b: embed_tokens.weight is [5, 2], a has [4, 2] (b/model.safetensors); align the vocabularies with "
            "tokenizer_source: union, or use --exclude "
            "'embed_tokens.*' to keep that of a");
  model("b", {filled("h.3.mlp.weight", {64, 96}, DType::kI8), filled("embed_tokens.weight", {4, 2})});
  EXPECT_EQ(message(kTwo),
            "b: transformer.h.3.mlp.weight is I8, a has F32 (b/model.safetensors); numbers and codes cannot be merged");
}

TEST_F(PlanTest, PatternsSelect) {
  model("a", {filled("l.mlp.w", {2}, DType::kBF16), filled("l.attn.w", {2}, DType::kBF16)});
  model("b", {filled("l.mlp.w", {2}, DType::kBF16), filled("l.attn.w", {3}, DType::kBF16)});
  const std::string linear = "; normalize true [weight 1] [weight 1]";
  EXPECT_THAT(lines(plan(kTwo, {.include = {Pattern("*.mlp.*")}})),
              ElementsAre("l.attn.w: a -> BF16, not selected", "l.mlp.w: a b -> BF16" + linear));
  EXPECT_EQ(lines(plan(kTwo + "out_dtype: float32", {.exclude = {Pattern("re:attn")}}))[0],
            "l.attn.w: a -> F32, not selected");
  EXPECT_EQ(message(kTwo, {.include = {Pattern("l.mpl.w")}}),
            "--include 'l.mpl.w' matches no tensor; did you mean l.mlp.w?");
  EXPECT_EQ(message(kTwo, {.exclude = {Pattern("vision.*")}}),
            "--exclude 'vision.*' matches no tensor; names look like l.mlp.w");
  EXPECT_EQ(message(kTwo, {.exclude = {Pattern("*")}}), "no tensor is left to merge (c.yaml)");
}

TEST_F(PlanTest, ModelsAreFoundOrNamed) {
  model("a", {filled("w")});
  model("b", {filled("w")}, R"({"model_type": "bert"})");
  model("c", {filled("w")}, R"({"model_type": "gpt2"})");
  EXPECT_EQ(message("merge_method: linear\nmodels: [a, ./missing]"),
            "./missing: no such file (c.yaml:2:13); looked for it in the working folder and in " + folder_.path());
  EXPECT_EQ(message("merge_method: linear\nmodels: [a, b, c]\nparameters: {weight: 1}"),
            "b is a bert model and c is a gpt2 model (c.yaml); only models of one architecture can be merged");
  EXPECT_EQ(message("merge_method: linear\nslices: [{sources: [{model: a, layer_range: [0, 2]}]}]"),
            "layer_range [0, 2] of a reaches past its 0 layers (c.yaml:2:29); layers count from 0 and the end is not "
            "included");
  model("twice", {filled("LayerNorm.beta"), filled("LayerNorm.bias")});
  EXPECT_EQ(message("merge_method: linear\nmodels: [twice]\nparameters: {weight: 1}"),
            "twice: LayerNorm.beta and LayerNorm.bias are two spellings of one tensor (twice/model.safetensors)");
}

TEST_F(PlanTest, WarningsComeOnceAndFiltersThatFitNothingAreOne) {
  for (const char* name : {"a", "base"}) model(name, {filled("layers.0.w"), filled("layers.1.w")});
  EXPECT_THAT(plan("merge_method: ties\nmodels: [a]\nbase_model: base\n"
                   "parameters: {weight: [{filter: mpl, value: 1}, {value: 2}], density: 1.5}")
                  .warnings,
              ElementsAre("a: \"density\" is 1.5, outside (0, 1] (c.yaml:4:70)",
                          "the filter \"mpl\" of \"weight\" fits no tensor (c.yaml:4:23)"));
}

TEST_F(PlanTest, TheHashKnowsWhatAResumeMustAgreeOn) {
  for (const char* name : {"a", "b"}) model(name, {filled("w"), filled("x")});
  const std::string hash = plan(kTwo).hash();
  EXPECT_EQ(plan(kTwo).hash(), hash);
  EXPECT_NE(plan(kTwo + "dtype: float16").hash(), hash);
  EXPECT_NE(plan(kTwo + "out_dtype: float16").hash(), hash);
  EXPECT_NE(plan("merge_method: linear\nmodels: [b, a]\nparameters: {weight: 1}").hash(), hash);
  EXPECT_NE(
      plan("merge_method: linear\nmodels: [a, b]\nparameters: {weight: [{filter: w, value: 1}, {value: 2}]}").hash(),
      hash);
  EXPECT_NE(plan(kTwo, {.exclude = {Pattern("x")}}).hash(), hash);
  EXPECT_NE(plan(kTwo, {.shard_bytes = 16}).hash(), hash);
  model("b", {filled("w"), filled("x"), filled("l.attn.masked_bias", {1})});
  EXPECT_NE(plan(kTwo).hash(), hash);
}

TEST_F(PlanTest, BytesAreThoseOfOnePass) {
  model("a", {filled("w", {8}), filled("x", {2}, DType::kI64)});
  model("b", {filled("w", {8}, DType::kBF16), filled("x", {2}, DType::kI64)});
  const Plan made = plan(kTwo);
  EXPECT_EQ(made.bytes_to_read(), 8u * 4 + 8u * 2 + 2u * 8);
  EXPECT_EQ(made.bytes_to_write(), made.layout.files.at(0).bytes);
}

TEST_F(PlanTest, TheConfigSaysTheTypeThatIsThere) {
  model("a", {filled("w", {2}, DType::kBF16)},
        R"({"n_layer":2,"torch_dtype":"bfloat16","text_config":{"dtype":"bfloat16"}})");
  model("b", {filled("w", {2}, DType::kBF16)});
  EXPECT_EQ(to_json(output_config(plan(kTwo))),
            R"({"n_layer":2,"torch_dtype":"bfloat16","text_config":{"dtype":"bfloat16"}})");
  EXPECT_EQ(to_json(output_config(plan(kTwo + "dtype: torch.float32"))),
            R"({"n_layer":2,"torch_dtype":"float32","text_config":{"dtype":"float32"}})");
  model("c", {filled("w", {2}, DType::kBF16)}, R"({"dtype":"float32"})");
  EXPECT_EQ(to_json(output_config(plan("merge_method: linear\nmodels: [c, b]\nparameters: {weight: 1}"))),
            R"({"dtype":"bfloat16"})");
  EXPECT_TRUE(output_config(plan("merge_method: linear\nmodels: [b, c]\nparameters: {weight: 1}")).is_null());
}

}  // namespace
}  // namespace solera::merge
