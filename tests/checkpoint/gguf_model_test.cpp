#include "solera/checkpoint/gguf_model.h"

#include <cmath>

#include "solera/checkpoint/gguf_names.h"
#include "tests/checkpoint/archives.h"
#include "tests/checkpoint/gguf_files.h"
#include "tests/support/little_llama.h"

namespace solera::checkpoint {
namespace {

using test::LittleLlama;
using test::message_of;

TEST(GgufNamesTest, BothWays) {
  const std::vector<std::pair<std::string, std::string>> pairs = {
      {"model.embed_tokens.weight", "token_embd.weight"},
      {"model.norm.weight", "output_norm.weight"},
      {"lm_head.weight", "output.weight"},
      {"model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight"},
      {"model.layers.12.self_attn.q_proj.weight", "blk.12.attn_q.weight"},
      {"model.layers.3.self_attn.k_proj.bias", "blk.3.attn_k.bias"},
      {"model.layers.3.self_attn.v_proj.bias", "blk.3.attn_v.bias"},
      {"model.layers.3.self_attn.o_proj.weight", "blk.3.attn_output.weight"},
      {"model.layers.3.post_attention_layernorm.weight", "blk.3.ffn_norm.weight"},
      {"model.layers.3.mlp.gate_proj.weight", "blk.3.ffn_gate.weight"},
      {"model.layers.3.mlp.up_proj.weight", "blk.3.ffn_up.weight"},
      {"model.layers.3.mlp.down_proj.weight", "blk.3.ffn_down.weight"}};
  for (const auto& [ours, theirs] : pairs) {
    EXPECT_EQ(gguf_name(ours), theirs);
    EXPECT_EQ(hugging_face_name(theirs), ours);
  }
  for (const char* none : {"", "weight", "model.norm", "model.layers.weight", "model.layers..mlp.up_proj.weight",
                           "model.layers.1", "model.layers.x.mlp.up_proj.weight", "model.layers.1.mlp.weight",
                           "model.layers.1.self_attn.q_proj.scale", "blk.0.attn_q.weight"})
    EXPECT_EQ(gguf_name(none), std::nullopt) << none;
}

// One head of 6 rows: halves 0 1 2 | 3 4 5 become pairs 0 3, 1 4, 2 5; the second head likewise.
TEST(GgufNamesTest, RowsOfPairs) {
  const std::string halves = "000111222333444555666777888999aaabbb";
  const std::string pairs = "000333111444222555666999777aaa888bbb";
  Tensor tensor{{"w", DType::kU8, {12, 3}}, source_of(halves), 0, {}};
  std::vector<std::byte> scratch;
  const auto bytes = [&](const Tensor& t) { return text_of(t.source->view(t.offset, 36, scratch)); };
  const Tensor there = in_order(tensor, "blk.0.attn_q.weight", {2, 1, 6}, RowOrder::kPairs);
  EXPECT_EQ(bytes(there), pairs);
  EXPECT_EQ(there.shape, tensor.shape);
  EXPECT_EQ(bytes(in_order(there, "blk.0.attn_q.weight", {2, 1, 6}, RowOrder::kHalves)), halves);
  EXPECT_EQ(bytes(in_order(tensor, "blk.0.attn_k.weight", {1, 2, 6}, RowOrder::kPairs)), pairs);
  EXPECT_EQ(bytes(in_order(tensor, "blk.0.attn_v.weight", {2, 1, 6}, RowOrder::kPairs)), halves);
  Tensor bias{{"b", DType::kU8, {12}}, source_of("0123456789ab"), 0, {}};
  const Tensor turned = in_order(bias, "blk.0.attn_q.bias", {2, 1, 6}, RowOrder::kPairs);
  EXPECT_EQ(text_of(turned.source->view(0, 12, scratch)), "031425697a8b");
  EXPECT_EQ(message_of([&] { in_order(tensor, "blk.0.attn_q.weight", {5, 1, 6}, RowOrder::kPairs); }),
            "w is [12, 3], but has 5 heads of 6 rows (f.pt)");
  EXPECT_EQ(message_of([&] { in_order(tensor, "blk.0.attn_q.weight", {4, 1, 3}, RowOrder::kPairs); }),
            "w: heads of 3 rows make no pairs (f.pt)");
}

// From GGUF ----------------------------------------------------------------------------------------------------------

TestGguf little_file(const std::string& architecture) {
  TestGguf file;
  GgufMetadata& metadata = file.metadata;
  metadata.text("general.architecture", architecture);
  metadata.u32(architecture + ".embedding_length", 8);
  metadata.u32(architecture + ".block_count", 1);
  metadata.u32(architecture + ".feed_forward_length", 12);
  metadata.u32(architecture + ".attention.head_count", 2);
  metadata.u32(architecture + ".context_length", 64);
  metadata.f32(architecture + ".attention.layer_norm_rms_epsilon", 1e-6f);
  metadata.f32(architecture + ".rope.freq_base", 10000.0f);
  metadata.u32("tokenizer.ggml.bos_token_id", 1);
  file.tensors = {{"token_embd.weight", {8, 5}, 1, 0}, {"blk.0.attn_q.weight", {8, 8}, 1, 96}};
  file.data.resize(96 + 128);
  for (std::size_t i = 0; i < 128; ++i) file.data[96 + i] = static_cast<char>(i / 16);  // row i is bytes of i
  return file;
}

HuggingFaceModel read(const std::string& bytes) {
  return to_hugging_face(parse_gguf(source_of(bytes, "f.gguf")), "f.gguf");
}

TEST(GgufModelTest, ReadsNamesRowsAndConfig) {
  TestGguf file = little_file("llama");
  const std::vector<std::string> words = {"a"};
  file.metadata.texts("tokenizer.ggml.tokens", words);
  const HuggingFaceModel model = read(file.bytes());
  ASSERT_EQ(model.tensors.size(), 2u);
  EXPECT_EQ(model.tensors[0].name, "model.embed_tokens.weight");
  EXPECT_EQ(model.tensors[0].shape, (Shape{5, 8}));
  EXPECT_EQ(model.tensors[1].name, "model.layers.0.self_attn.q_proj.weight");
  std::vector<std::byte> scratch;
  const std::string rows = text_of(model.tensors[1].source->view(0, 128, scratch));
  std::string order;
  for (std::size_t i = 0; i < 8; ++i) order += std::to_string(static_cast<int>(rows[i * 16]));
  EXPECT_EQ(order, "02134657");  // pairs (0 1) (2 3) of a head of 4 to halves 0 2 | 1 3
  EXPECT_EQ(to_json(model.config),
            R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_act":"silu","hidden_size":8,)"
            R"("intermediate_size":12,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":2,)"
            R"("max_position_embeddings":64,"rms_norm_eps":1e-06,"rope_theta":10000,"vocab_size":5,)"
            R"("tie_word_embeddings":true,"attention_bias":false,"mlp_bias":false,"bos_token_id":1,)"
            R"("torch_dtype":"float16"})");
  EXPECT_EQ(model.warnings,
            std::vector<std::string>{"the tokenizer is left out: take tokenizer.json from the original model"});
}

TEST(GgufModelTest, Qwen2KeepsItsRows) {
  const HuggingFaceModel model = read(little_file("qwen2").bytes());
  std::vector<std::byte> scratch;
  const Tensor& query = model.tensors[1];
  const std::string rows = text_of(query.source->view(query.offset, 128, scratch));
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(rows[i * 16], static_cast<char>(i));
  EXPECT_EQ(model.config.at("model_type").as_text(), "qwen2");
  EXPECT_EQ(model.config.at("architectures").items()[0].as_text(), "Qwen2ForCausalLM");
  EXPECT_EQ(model.config.find("attention_bias"), nullptr);
}

TEST(GgufModelTest, RopeOfLongContexts) {
  TestGguf file = little_file("llama");
  file.metadata.text("llama.rope.scaling.type", "yarn");
  file.metadata.f32("llama.rope.scaling.factor", 4);
  file.metadata.u32("llama.rope.scaling.original_context_length", 32);
  file.tensors.push_back({"rope_freqs.weight", {2}, 0, 0});
  file.tensors[0].extents = {0, 5};
  const HuggingFaceModel model = read(file.bytes());
  EXPECT_EQ(to_json(model.config.at("rope_scaling")),
            R"({"rope_type":"yarn","factor":4,"original_max_position_embeddings":32})");
  EXPECT_EQ(model.warnings, std::vector<std::string>{"rope_freqs.weight is left out: give config.json the rope_scaling "
                                                     "of the original model"});
}

TEST(GgufModelTest, RefusesWhatItDoesNotKnow) {
  const auto refusal = [](const TestGguf& file) { return message_of([&] { read(file.bytes()); }); };
  EXPECT_EQ(refusal(TestGguf{}), "no general.architecture (f.gguf)");
  EXPECT_EQ(refusal(little_file("gemma2")),
            "the architecture is gemma2, whose tensors have no names here (f.gguf); known are llama, qwen2");
  TestGguf file = little_file("llama");
  file.tensors[1].name = "blk.0.ffn_gate_exps.weight";
  EXPECT_EQ(refusal(file), "blk.0.ffn_gate_exps.weight has no Hugging Face name in llama (f.gguf)");
  file = little_file("llama");
  file.metadata.u32("split.count", 3);
  EXPECT_EQ(refusal(file), "the file is one of 3 parts of a model (f.gguf); join them with llama-gguf-split --merge");
  file = little_file("llama");
  file.metadata.u32("llama.attention.key_length", 6);
  EXPECT_EQ(refusal(file), "model.layers.0.self_attn.q_proj.weight is [8, 8], but has 2 heads of 6 rows (f.gguf)");
  file = little_file("llama");
  file.metadata.u32("llama.attention.key_length", 0);
  EXPECT_EQ(refusal(file), "llama.attention.key_length is 0, not a count (f.gguf)");
  file = little_file("llama");
  file.metadata.u32("llama.attention.head_count_kv", 0);
  EXPECT_EQ(refusal(file), "llama.attention.head_count_kv is 0, not a count (f.gguf)");
  TestGguf bare;
  bare.metadata.text("general.architecture", "llama");
  EXPECT_EQ(refusal(bare), "no llama.attention.head_count (f.gguf)");
}

// To GGUF ------------------------------------------------------------------------------------------------------------

class GgufExportTest : public ::testing::Test {
 protected:
  GgufFile made(const LittleLlama& model) { return made_of(model.write(folder_ / "model")); }
  GgufFile made_of(const std::string& path) {
    model_ = to_gguf(open_checkpoint(path));
    const Layout layout = plan_gguf({}, model_.metadata);
    return parse_gguf(source_of(layout.files[0].header, "made.gguf"));
  }
  std::string refusal(const LittleLlama& model) {
    return message_of([&] { made(model); });
  }
  std::string config() const { return folder_ / "model/config.json"; }
  static std::string all(const GgufFile& file) {
    std::string text;
    for (const auto& [key, value] : file.metadata) text += cat(key, "=", value.summary(), "\n");
    return text;
  }

  TemporaryFolder folder_;
  GgufModel model_;
};

TEST_F(GgufExportTest, MetadataOfAConfig) {
  EXPECT_EQ(all(made({.model_type = "mistral"})),
            "general.architecture=llama\n"
            "general.type=model\n"
            "general.name=model\n"
            "llama.context_length=128\n"
            "llama.embedding_length=64\n"
            "llama.block_count=2\n"
            "llama.feed_forward_length=96\n"
            "llama.attention.head_count=4\n"
            "llama.attention.head_count_kv=2\n"
            "llama.attention.layer_norm_rms_epsilon=1e-05\n"
            "llama.rope.dimension_count=16\n"
            "llama.rope.freq_base=5e+05\n"
            "llama.vocab_size=40\n");
  EXPECT_EQ(model_.warnings, std::vector<std::string>{"no tokenizer.json: the file has no tokenizer"});
  std::vector<std::string> names;
  for (const Tensor& tensor : model_.tensors) names.push_back(tensor.name);
  EXPECT_EQ(names.front(), "token_embd.weight");
  EXPECT_EQ(names[1], "blk.0.attn_k.weight");
  EXPECT_EQ(names.back(), "output_norm.weight");
}

TEST_F(GgufExportTest, HeadsOfTheirOwnSizeAndYarn) {
  const GgufFile file = made({.model_type = "qwen2",
                              .head_dim = 24,
                              .biases = true,
                              .more_config = R"(, "rope_scaling": {"type": "yarn", "factor": 4.0,)"
                                             R"( "original_max_position_embeddings": 32})"});
  EXPECT_EQ(file.find("qwen2.attention.key_length")->integer(), 24);
  EXPECT_EQ(file.find("qwen2.attention.value_length")->integer(), 24);
  EXPECT_EQ(file.find("qwen2.rope.dimension_count")->integer(), 24);
  EXPECT_EQ(file.find("qwen2.rope.scaling.type")->text, "yarn");
  EXPECT_EQ(file.find("qwen2.rope.scaling.factor")->number(), 4.0);
  EXPECT_EQ(file.find("qwen2.rope.scaling.original_context_length")->integer(), 32);
}

// theta 10000, heads of 16: frequencies 1, 0.316, 0.1, ..., so 8192 positions make 1303.8, 412.3, 130.4, 41.2, 13.0,
// 4.12, 1.304, 0.412 turns. Above 4 nothing changes, below 1 all of the factor 8, and 1.304 is in between:
// blend (1.303797 - 1) / 3 = 0.1012658, 1 / (0.8987342 / 8 + 0.1012658) = 4.68148.
TEST_F(GgufExportTest, Llama3sRopeBecomesATensor) {
  made({.rope_theta = "10000.0",
        .more_config = R"(, "rope_parameters": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,)"
                       R"( "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_theta": 1.0},)"
                       R"( "rope_scaling": null)"});
  const Tensor& factors = model_.tensors.back();
  ASSERT_EQ(factors.name, "rope_freqs.weight");
  ASSERT_EQ(factors.shape, Shape{8});
  std::vector<std::byte> scratch;
  const auto bytes = factors.source->view(0, 32, scratch);
  float values[8];
  std::memcpy(values, bytes.data(), 32);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(values[i], 1.0f) << i;
  EXPECT_NEAR(values[6], 4.68148f, 1e-5);
  EXPECT_EQ(values[7], 8.0f);
}

TEST_F(GgufExportTest, Refusals) {
  EXPECT_EQ(refusal({.model_type = "gemma2"}),
            "models of type gemma2 are not written as GGUF (" + config() + "); llama, mistral and qwen2 are");
  LittleLlama wrong;
  wrong.heads = 3;
  wrong.write(folder_ / "model");
  write_atomically(config(), LittleLlama{.head_dim = 32}.config());
  EXPECT_EQ(message_of([&] { made_of(folder_ / "model"); }),
            "model.layers.0.self_attn.k_proj.weight is [32, 64], but has 2 heads of 32 rows (" + folder_ / "model" +
                "/model.safetensors)");
  LittleLlama().write(folder_ / "model");
  write_atomically(config(), R"({"model_type": "llama", "hidden_size": 64})");
  EXPECT_EQ(message_of([&] { made_of(folder_ / "model"); }), "no num_attention_heads (" + config() + ")");
  remove_all(config());
  EXPECT_EQ(message_of([&] { made_of(folder_ / "model"); }),
            folder_ / "model" + " has no config.json, which GGUF's metadata is made from; give the model's folder");
  auto tensors = LittleLlama().tensors();
  tensors.push_back(test::tensor("model.layers.0.block_sparse_moe.gate.weight", DType::kF32, {1}, {1}));
  tensors.push_back(
      test::tensor("model.layers.0.self_attn.rotary_emb.inv_freq", DType::kF32, {1}, {1}));  // passed over
  test::write_model(folder_ / "model/model.safetensors", tensors);
  write_atomically(config(), LittleLlama().config());
  EXPECT_EQ(message_of([&] { made_of(folder_ / "model"); }),
            "model.layers.0.block_sparse_moe.gate.weight has no GGUF name in llama (" + folder_ / "model" + ")");
}

// Tokenizers ---------------------------------------------------------------------------------------------------------

constexpr const char* kByteLevel = R"({
  "added_tokens": [{"id": 0, "content": "<|end|>", "special": true}, {"id": 5, "content": "<tool>", "special": false}],
  "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
    {"type": "Digits", "individual_digits": true}, {"type": "ByteLevel", "use_regex": true}]},
  "model": {"type": "BPE", "vocab": {"<|end|>": 0, "a": 1, "b": 2, "ab": 3, "aab": 4},
            "merges": ["a b", ["a", "ab"]]}})";

class GgufTokenizerTest : public GgufExportTest {
 protected:
  GgufFile with(const std::string& tokenizer, const std::string& settings = "{}", int vocabulary = 7) {
    LittleLlama model;
    model.vocabulary = vocabulary;
    model.write(folder_ / "model");
    write_atomically(folder_ / "model/tokenizer.json", tokenizer);
    write_atomically(folder_ / "model/tokenizer_config.json", settings);
    return made_of(folder_ / "model");
  }
  // Is this key with this array in the metadata's bytes?
  void expect_texts(const std::string& key, const std::vector<std::string>& values) const {
    GgufMetadata expected;
    expected.texts(key, values);
    EXPECT_NE(model_.metadata.bytes().find(expected.bytes()), std::string::npos) << key;
  }
};

TEST_F(GgufTokenizerTest, ByteLevelPairs) {
  const GgufFile file = with(kByteLevel, R"({"eos_token": {"content": "<|end|>"}, "pad_token": "<tool>",
    "add_bos_token": false, "chat_template": "{{ x }}"})");
  EXPECT_EQ(model_.warnings, std::vector<std::string>{});
  EXPECT_EQ(file.find("tokenizer.ggml.model")->text, "gpt2");
  EXPECT_EQ(file.find("tokenizer.ggml.pre")->text, "smollm");
  expect_texts("tokenizer.ggml.tokens", {"<|end|>", "a", "b", "ab", "aab", "<tool>", "[PAD6]"});
  expect_texts("tokenizer.ggml.merges", {"a b", "a ab"});
  GgufMetadata types;
  types.i32s("tokenizer.ggml.token_type", std::vector<std::int32_t>{3, 1, 1, 1, 1, 4, 5});
  EXPECT_NE(model_.metadata.bytes().find(types.bytes()), std::string::npos);
  EXPECT_EQ(file.find("tokenizer.ggml.eos_token_id")->integer(), 0);
  EXPECT_EQ(file.find("tokenizer.ggml.padding_token_id")->integer(), 5);
  EXPECT_EQ(file.find("tokenizer.ggml.bos_token_id"), nullptr);
  EXPECT_EQ(file.find("tokenizer.ggml.add_bos_token")->summary(), "false");
  EXPECT_EQ(file.find("tokenizer.chat_template")->text, "{{ x }}");
}

TEST_F(GgufTokenizerTest, PiecesWithByteFallback) {
  const GgufFile file = with(R"({"added_tokens": [{"id": 0, "content": "<unk>", "special": true},
      {"id": 1, "content": "<s>", "special": true}],
    "model": {"type": "BPE", "byte_fallback": true, "unk_token": "<unk>",
      "vocab": {"<unk>": 0, "<s>": 1, "<0x0A>": 2, "ab": 3, "aab": 4, "a": 5, "b": 6},
      "merges": ["a b", "a ab", "a b"]}})",
                             R"({"bos_token": "<s>"})");
  EXPECT_EQ(file.find("tokenizer.ggml.model")->text, "llama");
  EXPECT_EQ(file.find("tokenizer.ggml.pre")->text, "default");
  GgufMetadata arrays;
  arrays.i32s("tokenizer.ggml.token_type", std::vector<std::int32_t>{2, 3, 6, 1, 1, 1, 1});
  arrays.f32s("tokenizer.ggml.scores", std::vector<float>{-3, -3, -3, 0, -1, -3, -3});
  EXPECT_NE(model_.metadata.bytes().find(arrays.bytes()), std::string::npos);
  EXPECT_EQ(file.find("tokenizer.ggml.bos_token_id")->integer(), 1);
}

TEST_F(GgufTokenizerTest, WaysToCutText) {
  const auto name = [&](const std::string& pre) {
    std::string text = kByteLevel;
    const std::size_t begin = text.find("{\"type\": \"Sequence\""), end = text.find("\"model\"") - 4;
    return with(text.replace(begin, end - begin, pre)).find("tokenizer.ggml.pre")->text;
  };
  const std::string bytes = R"({"type": "ByteLevel", "use_regex": false})";
  const auto split = [&](const std::string& digits) {
    return R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": )"
           R"("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N})" +
           digits + R"(| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}}, )" + bytes + "]}";
  };
  EXPECT_EQ(name(R"({"type": "ByteLevel"})"), "gpt-2");
  EXPECT_EQ(name(split("")), "qwen2");
  EXPECT_EQ(name(split("{1,3}")), "llama-bpe");
  EXPECT_EQ(model_.warnings, std::vector<std::string>{});
  EXPECT_EQ(name(split("{1,4}")), "default");
  EXPECT_EQ(model_.warnings,
            std::vector<std::string>{
                "GGUF's name of this tokenizer's way to cut text is not known: tokenizer.ggml.pre is default"});
}

TEST_F(GgufTokenizerTest, WhatCannotBeWritten) {
  const auto line = [&](const std::string& text, int vocabulary = 7) {
    const GgufFile file = with(text, "{}", vocabulary);
    EXPECT_EQ(file.find("tokenizer.ggml.model"), nullptr);
    return model_.warnings.size() == 1 ? model_.warnings[0] : "";
  };
  EXPECT_EQ(line(R"({"model": {"type": "Unigram", "vocab": [["a", -1.5]]}})"),
            "a tokenizer of type Unigram cannot be written to GGUF: the tokenizer is left out");
  EXPECT_EQ(line("{}"), "a tokenizer of type unknown cannot be written to GGUF: the tokenizer is left out");
  EXPECT_EQ(line(R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})"),
            "a tokenizer of type BPE without bytes cannot be written to GGUF: the tokenizer is left out");
  EXPECT_EQ(line(kByteLevel, 5),
            "tokenizer.json has tokens beyond the 5 rows of the embedding: the tokenizer is left out");
}

}  // namespace
}  // namespace solera::checkpoint
