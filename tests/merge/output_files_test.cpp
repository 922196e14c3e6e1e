#include "solera/merge/output_files.h"

#include "solera/merge/execute.h"
#include "tests/merge/plan_fixture.h"

namespace solera::merge {
namespace {

using checkpoint::NamedBytes;

class OutputFiles : public PlanFixture {
 protected:
  void layers(const std::string& name, int count, const std::string& config_json, bool head = false) {
    std::vector<NamedBytes> tensors = {filled("model.embed_tokens.weight")};
    if (head) tensors.push_back(filled("lm_head.weight"));
    for (int l = 0; l < count; ++l) tensors.push_back(filled(cat("model.layers.", l, ".w")));
    model(name, tensors, config_json);
  }
  std::string config_of(const std::string& yaml) const { return to_json(output_config(plan(yaml))); }
};

const std::string kStack =
    "merge_method: passthrough\n"
    "slices:\n"
    "  - sources: [{model: a, layer_range: [0, 2]}]\n"
    "  - sources: [{model: b, layer_range: [1, 3]}]\n";

TEST_F(OutputFiles, TheNumberOfLayersHasTheNameThatItHad) {
  layers("b", 3, "{}");
  for (const std::string key : {"num_hidden_layers", "n_layer", "num_layers", "n_layers"}) {
    layers("a", 3, R"({"dtype":"float32",")" + key + R"(":3,"max_window_layers":3})");
    EXPECT_EQ(config_of(kStack), R"({"dtype":"float32",")" + key + R"(":4,"max_window_layers":3})");
  }
  layers("a", 3, R"({"dtype":"float32","text_config":{"num_hidden_layers":3,"vocab_size":2}})");
  EXPECT_EQ(config_of(kStack), R"({"dtype":"float32","text_config":{"num_hidden_layers":4,"vocab_size":2}})");
  EXPECT_EQ(config_of("merge_method: passthrough\nmodels: [a]"),
            R"({"dtype":"float32","text_config":{"num_hidden_layers":3,"vocab_size":2}})");
}

TEST_F(OutputFiles, ListsWithAnEntryForEachLayerAreStackedToo) {
  layers("a", 3, R"({"dtype":"float32","n_layer":3,"layer_types":["a0","a1","a2"],"eos_token_id":[1,2,3],
      "num_key_value_heads":[4,5,6]})");
  layers("b", 3, R"({"n_layer":3,"layer_types":["b0","b1","b2"]})");
  EXPECT_EQ(config_of(kStack),
            R"({"dtype":"float32","n_layer":4,"layer_types":["a0","a1","b1","b2"],"eos_token_id":[1,2,3],)"
            R"("num_key_value_heads":[4,5,5,6]})");
}

TEST_F(OutputFiles, AHeadThatTheDonorTiesIsUntied) {
  layers("a", 3, R"({"dtype":"float32","tie_word_embeddings":true,"n_layer":3})");
  layers("b", 3, "{}");
  EXPECT_EQ(config_of(kStack), R"({"dtype":"float32","tie_word_embeddings":true,"n_layer":4})");
  layers("b", 3, "{}", true);
  EXPECT_EQ(config_of(kStack), R"({"dtype":"float32","tie_word_embeddings":false,"n_layer":4})");
  layers("a", 3, R"({"dtype":"float32","n_layer":3})");
  EXPECT_EQ(config_of(kStack), R"({"dtype":"float32","n_layer":4,"tie_word_embeddings":false})");
}

TEST_F(OutputFiles, TheCardSaysWhatWasMergedAndHow) {
  layers("a", 3, R"({"n_layer":3})");
  layers("b", 3, "{}");
  write_atomically(folder_ / "c.yaml", kStack);
  Plan made = make_plan(read_merge_config(folder_ / "c.yaml"), {});
  const std::string out = folder_ / "blend";
  execute(made, {.out = out, .threads = 1}, no_progress());
  EXPECT_EQ(test::slurp(out + "/mergekit_config.yml"), kStack);
  EXPECT_EQ(test::slurp(out + "/README.md"),
            "---\n"
            "library_name: transformers\n"
            "tags:\n"
            "- merge\n"
            "- solera\n"
            "---\n\n"
            "# blend\n\n"
            "The weights of this model were not trained: Solera made them of 2 models by the method `passthrough`, " +
                made.method->summary + " (" + made.method->citation +
                ").\n\n"
                "## Models\n\n"
                "- a\n"
                "- b\n\n"
                "## Layers\n\n"
                "| layers | from |\n"
                "| --- | --- |\n"
                "| 0-1 | a 0-1 |\n"
                "| 2-3 | b 1-2 |\n\n"
                "## Configuration\n\n"
                "`solera merge mergekit_config.yml -o OUT` makes it again.\n\n"
                "```yaml\n" +
                kStack + "```\n");
  EXPECT_EQ(read_json(out + "/config.json").at("n_layer").as_int(), 4);
}

TEST_F(OutputFiles, TheCardNamesModelsOfTheHubAndTheBase) {
  layers("a", 1, "{}");
  layers("base", 1, "{}");
  Plan made = plan("merge_method: ties\nbase_model: base\nmodels: [a]\nparameters: {weight: 1}\nrules: paper\n");
  made.hub_names = {"org/base", ""};
  made.config.text = "text: '```'";
  const std::string card = model_card(made, "out");
  EXPECT_TRUE(card.starts_with("---\nlibrary_name: transformers\nbase_model:\n- org/base\ntags:\n")) << card;
  EXPECT_NE(card.find(", under the rules of its paper.\n\n## Models\n\n- base (base)\n- a\n"), std::string::npos)
      << card;
  EXPECT_TRUE(card.ends_with("````yaml\ntext: '```'\n````\n")) << card;
  EXPECT_EQ(card.find("## Layers"), std::string::npos);
}

TEST_F(OutputFiles, AFileAndAWishTakeNoCard) {
  layers("a", 1, "{}");
  write_atomically(folder_ / "c.yaml", "merge_method: passthrough\nmodels: [a]\n");
  Plan folder_plan = make_plan(read_merge_config(folder_ / "c.yaml"), {});
  execute(folder_plan, {.out = folder_ / "plain", .threads = 1, .model_card = false}, no_progress());
  EXPECT_EQ(list_folder(folder_ / "plain"), (std::vector<std::string>{"config.json", "model.safetensors"}));
  Plan in_memory = plan("merge_method: passthrough\nmodels: [a]\n");
  execute(in_memory, {.out = folder_ / "memory", .threads = 1}, no_progress());
  EXPECT_EQ(list_folder(folder_ / "memory"), (std::vector<std::string>{"config.json", "model.safetensors"}));
}

}  // namespace
}  // namespace solera::merge
