#include "solera/merge/names.h"

#include <gtest/gtest.h>

#include "tests/support/support.h"

namespace solera::merge {
namespace {

using checkpoint::Checkpoint;
using checkpoint::DType;
using checkpoint::Tensor;

struct Named {
  std::string name;
  DType dtype = DType::kF32;
  checkpoint::Shape shape = {2, 2};
};

Checkpoint model_of(const std::vector<Named>& tensors, const std::string& config = "{}") {
  Checkpoint::Parts parts;
  for (const Named& one : tensors) {
    Tensor tensor;
    tensor.name = one.name;
    tensor.dtype = one.dtype;
    tensor.shape = one.shape;
    tensor.source = checkpoint::memory_source("m", std::vector<std::byte>(tensor.bytes()));
    parts.tensors.push_back(tensor);
  }
  parts.config = parse_json(config);
  return Checkpoint(std::move(parts));
}

TEST(Names, LayersAndTheirStacks) {
  const auto layer = [](std::string_view name) {
    const NameFacts facts = name_facts(name);
    return facts.layer ? facts.stack + " " + std::to_string(*facts.layer) : "none";
  };
  EXPECT_EQ(layer("model.layers.7.mlp.up_proj.weight"), "model.layers 7");
  EXPECT_EQ(layer("transformer.h.11.attn.c_attn.bias"), "transformer.h 11");
  EXPECT_EQ(layer("bert.encoder.layer.0.output.dense.weight"), "bert.encoder.layer 0");
  EXPECT_EQ(layer("decoder.block.3.layer.1.EncDecAttention.k.weight"), "decoder.block 3");
  EXPECT_EQ(layer("model.layers.2.mlp.experts.5.w1.weight"), "model.layers 2");
  EXPECT_EQ(layer("layers.0.w"), "layers 0");
  EXPECT_EQ(layer("model.norm.weight"), "none");
  EXPECT_EQ(layer("classifier.0.weight"), "none");
  EXPECT_EQ(layer("layers.weight"), "none");
  EXPECT_EQ(layer("layers.3"), "none") << "a tensor, not a module";
  EXPECT_EQ(layer("layers.99999999999.w"), "none");
  EXPECT_EQ(layer(""), "none");
}

TEST(Names, MoveToAnotherLayer) {
  EXPECT_EQ(in_layer("model.layers.7.mlp.up_proj.weight", 12), "model.layers.12.mlp.up_proj.weight");
  EXPECT_EQ(in_layer("transformer.h.11.attn.c_attn.bias", 0), "transformer.h.0.attn.c_attn.bias");
  EXPECT_EQ(in_layer("encoder.layer.3.w", 4), "encoder.layer.4.w");
  EXPECT_EQ(in_layer("model.layers.2.mlp.experts.5.w1.weight", 9), "model.layers.9.mlp.experts.5.w1.weight");
}

TEST(Names, EmbeddingsComeBeforeTheLayers) {
  for (const char* name :
       {"model.embed_tokens.weight", "transformer.wte.weight", "wpe.weight", "bert.embeddings.LayerNorm.weight",
        "embeddings.position_ids", "word_embeddings_layernorm.bias", "gpt_neox.embed_in.weight", "project_in.weight"})
    EXPECT_TRUE(is_before_layers(name)) << name;
  for (const char* name : {"model.norm.weight", "lm_head.weight", "transformer.ln_f.bias", "bert.pooler.dense.weight",
                           "pooler.dense.bias", "cls.predictions.bias", "classifier.weight", "embed_out.weight"})
    EXPECT_FALSE(is_before_layers(name)) << name;
}

TEST(Names, Roles) {
  for (const char* name : {"model.embed_tokens.weight", "transformer.wte.weight", "wpe.weight",
                           "bert.embeddings.word_embeddings.weight", "shared.weight"})
    EXPECT_EQ(name_facts(name).role, Role::kEmbedding) << name;
  for (const char* name : {"lm_head.weight", "classifier.bias", "cls.predictions.decoder.weight", "score.weight"})
    EXPECT_EQ(name_facts(name).role, Role::kHead) << name;
  for (const char* name : {"model.norm.weight", "model.layers.0.mlp.w", "bert.pooler.dense.weight", "xwte.weight"})
    EXPECT_EQ(name_facts(name).role, Role::kBody) << name;
}

TEST(Names, OlderSpellingsAreOne) {
  const Checkpoint model = model_of({{"x"}}), bare = model_of({{"x"}}, R"({"architectures": ["GPT2Model"]})");
  EXPECT_EQ(canonical_name("bert.embeddings.LayerNorm.gamma", model), "bert.embeddings.LayerNorm.weight");
  EXPECT_EQ(canonical_name("bert.embeddings.LayerNorm.beta", model), "bert.embeddings.LayerNorm.bias");
  EXPECT_EQ(canonical_name("block.gamma", model), "block.gamma");
  EXPECT_EQ(canonical_name("h.0.ln_1.weight", model), "transformer.h.0.ln_1.weight");
  EXPECT_EQ(canonical_name("wte.weight", model), "transformer.wte.weight");
  EXPECT_EQ(canonical_name("head.weight", model), "head.weight");
  EXPECT_EQ(canonical_name("h.0.ln_1.weight", bare), "h.0.ln_1.weight");
}

TEST(Names, LayerCounts) {
  EXPECT_EQ(layer_count(model_of({{"layers.0.w"}, {"layers.4.w"}})), 5);
  EXPECT_EQ(layer_count(model_of({{"layers.0.w"}}, R"({"num_hidden_layers": 12})")), 12);
  EXPECT_EQ(layer_count(model_of({{"h.0.w"}}, R"({"n_layer": 6})")), 6);
  EXPECT_EQ(layer_count(model_of({{"h.0.w"}}, R"({"text_config": {"num_hidden_layers": 3}})")), 3);
  EXPECT_EQ(layer_count(model_of({{"w"}})), 0);
}

TEST(Names, DerivedBuffersAreNotBiases) {
  const Checkpoint model = model_of({{"h.0.attn.bias", DType::kU8, {1, 1, 4, 4}},
                                     {"h.1.attn.bias", DType::kF32, {1, 1, 4, 4}},
                                     {"h.2.attn.bias", DType::kF32, {4}},
                                     {"h.0.attn.c_attn.bias", DType::kF32, {1, 1, 4, 4}},
                                     {"h.0.attn.masked_bias", DType::kF32, {}},
                                     {"l.rotary_emb.inv_freq", DType::kF32, {4}}});
  EXPECT_TRUE(is_derived_buffer("h.0.attn.bias", model));
  EXPECT_TRUE(is_derived_buffer("h.1.attn.bias", model));
  EXPECT_FALSE(is_derived_buffer("h.2.attn.bias", model));
  EXPECT_FALSE(is_derived_buffer("h.0.attn.c_attn.bias", model));
  EXPECT_TRUE(is_derived_buffer("h.0.attn.masked_bias", model));
  EXPECT_TRUE(is_derived_buffer("l.rotary_emb.inv_freq", model));
}

TEST(Names, TiedHeadsFindTheirTable) {
  const auto partner = [](std::string_view name, const Checkpoint& model) {
    const Tensor* tensor = tied_partner(name, model);
    return tensor ? tensor->name : "none";
  };
  EXPECT_EQ(partner("lm_head.weight", model_of({{"model.embed_tokens.weight"}})), "model.embed_tokens.weight");
  EXPECT_EQ(partner("lm_head.weight", model_of({{"wte.weight"}, {"wpe.weight"}})), "wte.weight");
  EXPECT_EQ(partner("lm_head.weight", model_of({{"a.embed_tokens.weight"}, {"b.embed_tokens.weight"}})), "none");
  EXPECT_EQ(partner("lm_head.weight", model_of({{"model.embed_tokens.weight"}}, R"({"tie_word_embeddings": false})")),
            "none");
  EXPECT_EQ(partner("encoder.embed_tokens.weight", model_of({{"shared.weight"}})), "shared.weight");
  EXPECT_EQ(partner("lm_head.bias", model_of({{"model.embed_tokens.weight"}})), "none");
  EXPECT_EQ(partner("model.norm.weight", model_of({{"model.embed_tokens.weight"}})), "none");
}

}  // namespace
}  // namespace solera::merge
