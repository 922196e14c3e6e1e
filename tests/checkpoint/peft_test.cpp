#include "solera/checkpoint/peft.h"

#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using test::message_of;
using test::tensor;

AdapterConfig config_of(const std::string& text) {
  return parse_adapter_config(parse_json(text, "adapter_config.json"));
}

const std::string kQ = "model.layers.3.self_attn.q_proj";

TEST(AdapterConfig, ScalesByRankOrItsRoot) {
  EXPECT_EQ(config_of(R"({"peft_type":"LORA","r":64,"lora_alpha":16})").scale_of(kQ), 0.25);
  EXPECT_EQ(config_of(R"({"peft_type":"LORA","r":64,"lora_alpha":16,"use_rslora":true})").scale_of(kQ), 2.0);
  EXPECT_EQ(config_of(R"({"peft_type":"LORA"})").scale_of(kQ), 1.0);  // 8 / 8
}

TEST(AdapterConfig, MatchesModulesAsPeftDoes) {
  const auto targets = [](const std::string& value) {
    return config_of(cat(R"({"peft_type":"LORA","target_modules":)", value, "}")).targets(kQ);
  };
  EXPECT_TRUE(targets(R"(["q_proj"])"));
  EXPECT_FALSE(targets(R"(["proj"])"));
  EXPECT_TRUE(targets(R"(["self_attn.q_proj"])"));
  EXPECT_FALSE(targets(R"("q_proj")"));
  EXPECT_TRUE(targets(R"(".*\\.q_proj")"));
  EXPECT_TRUE(targets(R"("all-linear")"));
  EXPECT_TRUE(targets("null"));
}

TEST(AdapterConfig, PatternsReachTheEndOfThePath) {
  const auto rank = [](const std::string& key) {
    return config_of(
        cat(R"({"peft_type":"LORA","rank_pattern":{")", key, R"(":3},"alpha_pattern":{")", key, R"(":6}})"));
  };
  for (const char* key : {"q_proj", "layers.3.self_attn.q_proj", "^model.layers.3.self_attn.q_proj"}) {
    EXPECT_EQ(rank(key).rank_of(kQ), 3) << key;
    EXPECT_EQ(rank(key).scale_of(kQ), 2.0) << key;
  }
  for (const char* key : {"proj", "layers.3"}) EXPECT_EQ(rank(key).rank_of(kQ), 8) << key;
}

TEST(AdapterConfig, RefusesWhatItCannotDo) {
  const auto refused = [](const std::string& text) { return message_of([&] { config_of(text); }); };
  EXPECT_EQ(refused("{}"), "peft_type is missing (adapter_config.json:1:1); this is no adapter_config.json of PEFT");
  EXPECT_EQ(refused(R"({"peft_type":"LOHA"})"),
            "the adapter is LOHA, which is not supported; supported: LORA (adapter_config.json:1:14)");
  EXPECT_EQ(
      refused(R"({"peft_type":"LORA","use_dora":true})"),
      "the adapter uses use_dora, which is not supported (adapter_config.json:1:32); merge it into the model with "
      "the tool that made it");
  EXPECT_EQ(refused(R"({"peft_type":"LORA","modules_to_save":["score"]})"),
            "the adapter uses modules_to_save, which is not supported (adapter_config.json:1:39); merge it into the "
            "model with the tool that made it");
  EXPECT_EQ(refused(R"({"peft_type":"LORA","bias":"all"})"),
            "the adapter trains biases (bias: all), which is not supported (adapter_config.json:1:28); merge it into "
            "the model with the tool that made it");
  EXPECT_EQ(refused(R"({"peft_type":"LORA","r":0})"), "a rank is 0, less than 1 (adapter_config.json:1:25)");
  EXPECT_NO_THROW(config_of(R"({"peft_type":"LORA","use_dora":false,"modules_to_save":null,"layer_replication":[]})"));
  EXPECT_EQ(config_of(R"({"peft_type":"LORA","init_lora_weights":"pissa"})").warnings,
            std::vector<std::string>{"init_lora_weights is pissa: such an adapter belongs to the base that its "
                                     "initialization changed"});
}

TEST(AdapterConfig, WritesWhatItReads) {
  const AdapterConfig config = config_of(adapter_config_text("base", 4, {"v_proj", "q_proj"}, true));
  EXPECT_EQ(config.r, 4);
  EXPECT_EQ(config.alpha, 4);
  EXPECT_TRUE(config.fan_in_fan_out);
  EXPECT_EQ(config.target_modules, (std::vector<std::string>{"q_proj", "v_proj"}));
}

class AdapterTest : public ::testing::Test {
 protected:
  AdapterTest() { make_folders(folder_ / "a"); }
  void write(const std::vector<NamedBytes>& tensors, const std::string& settings = R"("r":1,"lora_alpha":2)") {
    write_safetensors(folder_ / "a/adapter_model.safetensors", tensors);
    write_atomically(folder_ / "a/adapter_config.json",
                     cat(R"({"peft_type":"LORA","target_modules":["q","emb"],)", settings, "}"));
  }
  std::string refusal(const std::function<void()>& action) {
    std::string text = message_of(action);
    for (std::size_t at; (at = text.find(folder_.path())) != std::string::npos;)
      text.replace(at, folder_.path().size(), "HERE");
    return text;
  }
  std::string refusal() {
    return refusal([&] { open_adapter(folder_ / "a"); });
  }
  Checkpoint base(const std::vector<NamedBytes>& tensors) {
    return open_checkpoint(test::write_model(folder_ / "base.safetensors", tensors));
  }

  TemporaryFolder folder_;
  const NamedBytes a_ = tensor("base_model.model.m.q.lora_A.weight", DType::kF32, {1, 3}, {1, 2, 3}),
                   b_ = tensor("base_model.model.m.q.lora_B.weight", DType::kBF16, {2, 1}, {1, -1});
};

TEST_F(AdapterTest, FindsItsModules) {
  write({a_, b_, tensor("base_model.model.emb.lora_embedding_A", DType::kF32, {1, 3}, {0, 1, 2}),
         tensor("base_model.model.emb.lora_embedding_B", DType::kF32, {2, 1}, {1, -1})});
  const Adapter adapter = open_adapter(folder_ / "a");
  ASSERT_EQ(adapter.modules().size(), 2u);
  EXPECT_EQ(adapter.modules()[0].module, "emb");
  EXPECT_TRUE(adapter.modules()[0].embedding);
  EXPECT_EQ(adapter.modules()[1].module, "m.q");
  EXPECT_EQ(adapter.modules()[1].rank, 1);
  EXPECT_EQ(adapter.modules()[1].scale, 2.0);
  EXPECT_TRUE(is_adapter(folder_ / "a"));
  EXPECT_FALSE(is_adapter(folder_.path()));
}

TEST_F(AdapterTest, TakesOtherSpellings) {
  write({tensor("m._orig_mod.q.lora_A.default.weight", DType::kF32, {1, 3}, {1, 2, 3}),
         tensor("m._orig_mod.q.lora_B.default.weight", DType::kF32, {2, 1}, {1, 2})});
  EXPECT_EQ(open_adapter(folder_ / "a").modules()[0].module, "m.q");
}

TEST_F(AdapterTest, RefusesFactorsThatDisagree) {
  write({a_, tensor("base_model.model.m.q.lora_B.weight", DType::kF32, {1, 2}, {1, -1})});
  EXPECT_EQ(refusal(), "m.q: lora_A has rank 1, lora_B has rank 2 (HERE/a)");
  write({a_, b_}, R"("r":4)");
  EXPECT_EQ(refusal(), "m.q: its tensors have rank 1, adapter_config.json says 4 (HERE/a)");
  write({a_});
  EXPECT_EQ(refusal(), "m.q: lora_B is missing (HERE/a)");
  write({tensor("base_model.model.m.k.lora_A.weight", DType::kF32, {1, 1}, {1}),
         tensor("base_model.model.m.k.lora_B.weight", DType::kF32, {1, 1}, {1})});
  EXPECT_EQ(refusal(), "m.k: it has tensors, but target_modules of adapter_config.json does not name it (HERE/a)");
  write({a_, b_, tensor("base_model.model.score.weight", DType::kF32, {1}, {1})});
  EXPECT_EQ(refusal(),
            "base_model.model.score.weight is a trained tensor beside LoRA, which is not supported (HERE/a); merge it "
            "into the model with the tool that made it");
  write({a_, b_, tensor("base_model.model.m.q.lora_magnitude_vector", DType::kF32, {1}, {1})});
  EXPECT_EQ(refusal(),
            "base_model.model.m.q.lora_magnitude_vector belongs to a DoRA adapter, which is not supported (HERE/a); "
            "merge it into the model with the tool that made it");
  write({});
  EXPECT_EQ(refusal(), "the adapter has no tensors (HERE/a)");
}

TEST_F(AdapterTest, FindsTheWeightThatAModuleChanges) {
  write({a_, b_});
  const Adapter adapter = open_adapter(folder_ / "a");
  const AdapterModule& q = adapter.modules()[0];
  const AdapterTarget straight =
      target_of(adapter, q, base({tensor("m.q.weight", DType::kF16, {2, 3}, {0, 0, 0, 0, 0, 0})}));
  EXPECT_FALSE(straight.transposed);
  EXPECT_EQ(straight.rows, 2);
  EXPECT_EQ(straight.columns, 3);
  EXPECT_TRUE(target_of(adapter, q, base({tensor("m.q.weight", DType::kF16, {3, 2}, {0, 0, 0, 0, 0, 0})})).transposed);

  EXPECT_EQ(refusal([&] { target_of(adapter, q, base({tensor("m.k.weight", DType::kF32, {1}, {0})})); }),
            "HERE/a changes m.q.weight, which HERE/base.safetensors lacks; did you mean m.k.weight?");
  EXPECT_EQ(refusal([&] { target_of(adapter, q, base({tensor("model.m.q.weight", DType::kF32, {1}, {0})})); }),
            "HERE/a changes m.q.weight, which HERE/base.safetensors lacks; the base has model.m.q.weight: was the "
            "adapter made for a model with another prefix?");
  EXPECT_EQ(refusal([&] { target_of(adapter, q, base({tensor("m.q.weight", DType::kF32, {2, 2}, {0, 0, 0, 0})})); }),
            "m.q.weight is [2, 2], the adapter's factors are [2, 1] and [1, 3] (HERE/a); the adapter was made for "
            "another base");
  EXPECT_EQ(
      refusal([&] { target_of(adapter, q, base({tensor("m.q.weight", DType::kI8, {2, 3}, {0, 0, 0, 0, 0, 0})})); }),
      "m.q.weight is I8 [2, 3], no matrix (HERE/base.safetensors)");
}

TEST_F(AdapterTest, ReadsASquareMatrixAsTheConfigSays) {
  const std::vector<NamedBytes> square = {tensor("base_model.model.m.q.lora_A.weight", DType::kF32, {1, 2}, {1, 2}),
                                          b_};
  const auto weight = tensor("m.q.weight", DType::kF32, {2, 2}, {0, 0, 0, 0});
  for (const bool turned : {false, true}) {
    write(square, cat(R"("r":1,"fan_in_fan_out":)", turned ? "true" : "false"));
    const Adapter adapter = open_adapter(folder_ / "a");
    EXPECT_EQ(target_of(adapter, adapter.modules()[0], base({weight})).transposed, turned);
  }
}

}  // namespace
}  // namespace solera::checkpoint
