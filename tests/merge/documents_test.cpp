#include "solera/merge/documents.h"

#include "tests/merge/plan_fixture.h"

namespace solera::merge {
namespace {

using checkpoint::DType;
using testing::ElementsAre;

class Documents : public PlanFixture {
 protected:
  void SetUp() override {
    for (const auto& [name, value] : {std::pair("a", 1.0), std::pair("b", 3.0), std::pair("c", 10.0)})
      model(name, {filled("layers.0.w", {2}, DType::kF32, value), filled("layers.1.w", {2}, DType::kF32, value + 1)},
            R"({"num_hidden_layers": 2})");
  }
  std::vector<MergeConfig> read(const std::string& text) const {
    write_atomically(folder_ / "c.yaml", text);
    return read_merge_configs(folder_ / "c.yaml");
  }
  std::string refusal(const std::string& text) const {
    std::string result = test::message_of([&] { plan_documents(read(text), {}, folder_ / "parts"); });
    for (auto at = result.find(folder_.path() + "/"); at != std::string::npos; at = result.find(folder_.path() + "/"))
      result.erase(at, folder_.path().size() + 1);
    return result;
  }
  ExecuteReport make(const std::string& text, bool keep, bool force = false) const {
    const std::string parts = folder_ / "parts";
    return execute_documents(plan_documents(read(text), {}, parts), {},
                             {.out = folder_ / "out", .threads = 1, .force = force}, parts, keep, no_progress());
  }
  double first_value(const std::string& path, const std::string& name) const {
    return test::values(checkpoint::open_checkpoint(folder_ / path), name)[0];
  }

  const std::string mean_ = "name: mean\nmerge_method: linear\nmodels: [a, b]\nparameters: {weight: 1}\n";
  const std::string stack_ =
      "merge_method: passthrough\n"
      "slices:\n"
      "  - sources: [{model: mean, layer_range: [0, 2]}]\n"
      "  - sources: [{model: c, layer_range: [1, 2]}]\n";
};

TEST_F(Documents, OneNamesWhatAnotherMakes) {
  make(mean_ + "---\n" + stack_, false);
  EXPECT_EQ(first_value("out", "layers.0.w"), 2);
  EXPECT_EQ(first_value("out", "layers.1.w"), 3);
  EXPECT_EQ(first_value("out", "layers.2.w"), 11);
  EXPECT_EQ(read_json(folder_ / "out/config.json").at("num_hidden_layers").as_int(), 3);
  EXPECT_EQ(test::slurp(folder_ / "out/mergekit_config.yml"), mean_ + "---\n" + stack_);
  EXPECT_FALSE(exists(folder_ / "parts"));
}

TEST_F(Documents, ComeInAnyOrderAndAreMadeInTheRightOne) {
  const std::string twice = "name: twice\nmerge_method: linear\nmodels: [mean, c]\nparameters: {weight: 1}\n";
  const std::string last = "merge_method: passthrough\nmodels: [twice]\n";
  const auto configs = read(last + "---\n" + twice + "---\n" + mean_ + "---\n");
  ASSERT_EQ(configs.size(), 3u);
  EXPECT_EQ(configs[0].name, "mean");
  EXPECT_EQ(configs[1].name, "twice");
  EXPECT_EQ(configs[2].name, "");
  make(last + "---\n" + twice + "---\n" + mean_, true);
  EXPECT_EQ(first_value("out", "layers.0.w"), 6);
  EXPECT_EQ(first_value("parts/mean", "layers.0.w"), 2);
  EXPECT_EQ(first_value("parts/twice", "layers.0.w"), 6);
  EXPECT_EQ(parse_yaml(test::slurp(folder_ / "parts/twice/mergekit_config.yml")).at("merge_method").as_text(),
            "linear");
}

TEST_F(Documents, WhatIsMadeAlreadyIsNotMadeAgain) {
  const std::string text = mean_ + "---\n" + stack_;
  make(text, true);
  const auto stamp = [&] { return checkpoint::identify(folder_ / "parts/mean/model.safetensors", "").modified_ns; };
  const auto before = stamp();
  remove_all(folder_ / "out");
  make(text, true);
  EXPECT_EQ(stamp(), before);
  const std::string other =
      "name: mean\nmerge_method: linear\nmodels: [a, b]\nparameters: {weight: [1, 0.5]}\ndtype: float16\n";
  make(other + "---\n" + stack_, true, true);
  EXPECT_EQ(checkpoint::open_checkpoint(folder_ / "parts/mean").tensors()[0].dtype, DType::kF16);
}

TEST_F(Documents, WhatAKillLeftIsMadeAnew) {
  const std::string text = mean_ + "---\n" + stack_;
  make(text, true);
  remove_all(folder_ / "out");
  write_atomically(folder_ / "parts/mean.plan", "unfinished\n");
  model("a", {filled("layers.0.w", {2}, DType::kF32, 5.0), filled("layers.1.w", {2}, DType::kF32, 5.0)},
        R"({"num_hidden_layers": 2})");
  make(text, true);
  EXPECT_EQ(first_value("out", "layers.0.w"), 4);
}

TEST_F(Documents, AFolderThatIsNotOursStays) {
  make_folders(folder_ / "parts/mean");
  write_atomically(folder_ / "parts/mean/notes.txt", "mine");
  for (const bool force : {false, true})
    EXPECT_EQ(test::message_of([&] { make(mean_ + "---\n" + stack_, false, force); }),
              (folder_ / "parts/mean") +
                  " is there and was not made for this file; remove it, or let --parts name another folder");
  EXPECT_EQ(test::slurp(folder_ / "parts/mean/notes.txt"), "mine");
  EXPECT_FALSE(exists(folder_ / "out"));
}

TEST_F(Documents, AnOutputThatIsThereIsRefusedBeforeAnyPartIsMade) {
  make_folders(folder_ / "out");
  EXPECT_EQ(test::message_of([&] { make(mean_ + "---\n" + stack_, false); }),
            (folder_ / "out") + " exists; use --force to replace it");
  EXPECT_FALSE(exists(folder_ / "parts"));
}

TEST_F(Documents, MistakesAreFoundBeforeAnyIsMade) {
  EXPECT_EQ(refusal(mean_ + "---\n" + mean_ + "---\n" + stack_),
            "two documents are called \"mean\", this and that at c.yaml:1:1 (c.yaml:6:1)");
  EXPECT_EQ(refusal(stack_ + "---\n" + stack_),
            "two documents have no name, this and that at c.yaml:1:1 (c.yaml:6:1); give a `name` to all but the one "
            "that makes the output");
  EXPECT_EQ(refusal(mean_ + "---\nname: b\n" + stack_),
            "all 2 documents have a name (c.yaml); remove the `name` of the one that makes the output");
  EXPECT_EQ(refusal("name: ../x\n" + stack_ + "---\n" + stack_),
            "the name \"../x\" of a document is no file name (c.yaml:1:1)");
  EXPECT_EQ(refusal("name: x\nmerge_method: passthrough\nmodels: [y]\n---\nname: y\nmerge_method: passthrough\nmodels: "
                    "[x]\n---\nmerge_method: passthrough\nmodels: [x]\n"),
            "the documents \"x\" and those that it uses need each other (c.yaml:1:1); none of them can be made first");
  EXPECT_EQ(
      refusal(mean_ + "---\nmerge_method: passthrough\nslices: [{sources: [{model: mean, layer_range: [1, 3]}]}]\n"),
      "layer_range [1, 3] of mean reaches past its 2 layers (c.yaml:7:29); layers count from 0 and the end is not "
      "included");
  EXPECT_EQ(refusal(mean_ + "---\nmerge_methd: linear\n"),
            "unknown key \"merge_methd\" (c.yaml:6:1); did you mean merge_method?");
  EXPECT_FALSE(exists(folder_ / "parts"));
}

TEST_F(Documents, APartsNewVocabularyCountsWhereItIsUsed) {
  const auto tokens = [&](const std::string& name, const std::string& vocabulary, std::int64_t rows) {
    model(name, {filled("embed_tokens.weight", {rows, 1}), filled("layers.0.w"), filled("layers.1.w")},
          cat(R"({"num_hidden_layers": 2, "vocab_size": )", rows, "}"));
    write_atomically(folder_ / (name + "/tokenizer.json"), R"({"model": {"vocab": )" + vocabulary + "}}");
  };
  tokens("a", R"({"x": 0, "y": 1})", 2);
  tokens("b", R"({"x": 0, "z": 1})", 2);
  tokens("c", R"({"x": 0, "q": 1})", 2);
  make(mean_ + "tokenizer_source: union\n---\n" + stack_ + "tokenizer_source: union\n", true);
  const auto shape_of = [&](const std::string& path) {
    return checkpoint::open_checkpoint(folder_ / path).at("embed_tokens.weight").shape;
  };
  EXPECT_EQ(shape_of("parts/mean"), (checkpoint::Shape{3, 1})) << "x, y, z";
  EXPECT_EQ(shape_of("out"), (checkpoint::Shape{4, 1})) << "x, y, z, q";
  EXPECT_EQ(read_json(folder_ / "out/config.json").at("vocab_size").as_int(), 4);
}

TEST_F(Documents, OneThatNobodyUsesIsNoted) {
  const auto plans =
      plan_documents(read(mean_ + "---\nmerge_method: passthrough\nmodels: [a]\n"), {}, folder_ / "parts");
  EXPECT_THAT(plans[0].warnings, ElementsAre("no document uses \"mean\""));
}

TEST_F(Documents, OneAloneIsTheOutputWhateverItsName) {
  EXPECT_EQ(read("---\n" + mean_).size(), 1u);
  make(mean_, false);
  EXPECT_EQ(first_value("out", "layers.0.w"), 2);
  EXPECT_EQ(parts_of("x/out/"), "x/out.parts");
}

}  // namespace
}  // namespace solera::merge
