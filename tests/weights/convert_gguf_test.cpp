#include <cmath>

#include "solera/checkpoint/gguf.h"
#include "solera/weights/convert.h"
#include "tests/support/little_llama.h"

namespace solera::weights {
namespace {

using checkpoint::Checkpoint;
using checkpoint::DType;
using checkpoint::open_checkpoint;
using checkpoint::Tensor;
using test::LittleLlama;
using test::message_of;

// Keeps the warnings.
class Warnings final : public Progress {
 public:
  void begin(std::string_view, std::uint64_t, std::string_view) override {}
  void advance(std::uint64_t) override {}
  void note(std::string_view) override {}
  void warn(std::string_view line) override { lines.emplace_back(line); }
  void status(std::string_view) override {}
  void end() override {}
  std::vector<std::string> lines;
};

class ConvertGgufTest : public ::testing::Test {
 protected:
  void convert(const std::string& in, const std::string& out, ConvertOptions options = {}) {
    options.out = folder_ / out;
    options.force = true;
    warnings_.lines.clear();
    convert_checkpoint(open_checkpoint(folder_ / in), options, pool_, warnings_);
  }
  Checkpoint open(const std::string& name, bool as_stored = false) const {
    return open_checkpoint(folder_ / name, {.as_stored = as_stored});
  }
  static std::string bytes_of(const Checkpoint& model, const std::string& name) {
    std::vector<std::byte> scratch;
    const Tensor& tensor = model.at(name);
    const auto bytes = model.read(tensor, 0, tensor.bytes(), scratch);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  static std::string type_of(const Checkpoint& model, const std::string& name) {
    const Tensor& tensor = model.at(name);
    return tensor.encoding.empty() ? std::string(checkpoint::name(tensor.dtype)) : tensor.encoding;
  }

  TemporaryFolder folder_;
  Pool pool_{2};
  Warnings warnings_;
};

TEST_F(ConvertGgufTest, ThereAndBackAreTheSameBytes) {
  const std::vector<LittleLlama> models = {
      {},
      {.layers = 1, .heads = 9, .key_heads = 3, .head_dim = 64},  // SmolLM's heads
      {.model_type = "mistral", .head_dim = 24, .head = true},    // heads that are not hidden / heads
      {.model_type = "qwen2", .head = true, .biases = true},
      {.biases = true},
      {.dtype = DType::kBF16},
  };
  for (const LittleLlama& model : models) {
    model.write(folder_ / "model");
    convert("model", "there.gguf", {.dtype = DType::kF32});
    convert("there.gguf", "back");
    const Checkpoint a = open("model"), b = open("back"), file = open("there.gguf");
    EXPECT_EQ(file.format(), checkpoint::Format::kGguf);
    ASSERT_EQ(b.tensors().size(), a.tensors().size());
    for (const Tensor& tensor : a.tensors()) {
      EXPECT_EQ(b.at(tensor.name).shape, tensor.shape) << tensor.name;
      EXPECT_EQ(b.at(tensor.name).dtype, DType::kF32) << tensor.name;
      EXPECT_EQ(test::values(b, tensor.name), test::values(a, tensor.name)) << tensor.name;
      if (model.dtype == DType::kF32) {
        EXPECT_EQ(bytes_of(b, tensor.name), bytes_of(a, tensor.name)) << tensor.name;
      }
      EXPECT_EQ(bytes_of(file, tensor.name), bytes_of(b, tensor.name)) << tensor.name;
    }
    for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                            "intermediate_size", "max_position_embeddings", "rms_norm_eps", "rope_theta"})
      EXPECT_EQ(b.config().at(key).as_double(), a.config().at(key).as_double()) << key;
    EXPECT_EQ(b.config().at("tie_word_embeddings").as_bool(), !model.head);
    EXPECT_EQ(b.config().find("head_dim") != nullptr, model.head_dim * model.heads != model.hidden);
  }
}

// Head h's row i is in the file at row 2 (i mod 8) + (i / 8) of the head, for heads of 16.
TEST_F(ConvertGgufTest, QueriesAndKeysOfLlamaAreTurnedAndThoseOfQwen2AreNot) {
  for (const std::string type : {"llama", "qwen2"}) {
    LittleLlama{.model_type = type}.write(folder_ / "model");
    convert("model", "there.gguf");
    const Checkpoint model = open("model"), file = open("there.gguf", true);
    for (const auto& [ours, theirs] : std::vector<std::pair<std::string, std::string>>{
             {"q_proj", "attn_q"}, {"k_proj", "attn_k"}, {"v_proj", "attn_v"}}) {
      const std::string a = bytes_of(model, "model.layers.1.self_attn." + ours + ".weight"),
                        b = bytes_of(file, "blk.1." + theirs + ".weight");
      ASSERT_EQ(a.size(), b.size());
      const bool turned = type == "llama" && ours != "v_proj";
      for (std::size_t row = 0; row < a.size() / 256; ++row) {
        const std::size_t i = row % 16, there = turned ? row - i + 2 * (i % 8) + i / 8 : row;
        EXPECT_EQ(a.substr(row * 256, 256), b.substr(there * 256, 256)) << type << " " << ours << " " << row;
      }
    }
  }
}

TEST_F(ConvertGgufTest, TypesOfTheFile) {
  LittleLlama{.dtype = DType::kBF16}.write(folder_ / "model");
  const auto check = [&](const ConvertOptions& options, const std::string& type, const std::string& number) {
    convert("model", "there.gguf", options);
    const Checkpoint file = open("there.gguf", true);
    EXPECT_EQ(type_of(file, "blk.0.ffn_up.weight"), type);
    EXPECT_EQ(type_of(file, "token_embd.weight"), type);
    EXPECT_EQ(type_of(file, "blk.0.attn_norm.weight"), "F32");
    EXPECT_EQ(type_of(file, "output_norm.weight"), "F32");
    EXPECT_EQ(file.metadata().at("general.file_type"), number);
    EXPECT_EQ(file.metadata().contains("general.quantization_version"), options.q8_0);
    EXPECT_EQ(warnings_.lines, std::vector<std::string>{"no tokenizer.json: the file has no tokenizer"});
  };
  check({}, "BF16", "32");
  check({.dtype = DType::kF32}, "F32", "0");
  check({.dtype = DType::kF16}, "F16", "1");
  check({.q8_0 = true}, "Q8_0", "7");
}

// Each value is within half a step of the 127th part of its block's largest, and a little for the scale's rounding.
TEST_F(ConvertGgufTest, Q80IsNear) {
  LittleLlama().write(folder_ / "model");
  convert("model", "there.gguf", {.q8_0 = true});
  const Checkpoint model = open("model"), file = open("there.gguf");
  for (const Tensor& tensor : model.tensors()) {
    const auto a = test::values(model, tensor.name), b = test::values(file, tensor.name);
    if (tensor.shape.size() == 1) {
      EXPECT_EQ(a, b);
    }
    for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 4.0 / 254 + 4.0 / 2048) << tensor.name;
  }
  // Once quantised, again gives the same blocks.
  convert("there.gguf", "again.gguf", {.q8_0 = true});
  const Checkpoint first = open("there.gguf", true), again = open("again.gguf", true);
  for (const Tensor& tensor : first.tensors()) EXPECT_EQ(bytes_of(first, tensor.name), bytes_of(again, tensor.name));
}

TEST_F(ConvertGgufTest, RowsThatAreNoBlocksBecomeF16) {
  LittleLlama{.inner = 40}.write(folder_ / "model");
  convert("model", "there.gguf", {.q8_0 = true});
  const Checkpoint file = open("there.gguf", true);
  EXPECT_EQ(type_of(file, "blk.0.ffn_down.weight"), "F16");
  EXPECT_EQ(type_of(file, "blk.0.ffn_up.weight"), "Q8_0");
  EXPECT_EQ(warnings_.lines.back(), "2 tensors with rows that are no whole blocks of 32 become F16, not Q8_0");
}

TEST_F(ConvertGgufTest, TheSameBytesForAnyNumberOfThreads) {
  LittleLlama().write(folder_ / "model");
  std::string first;
  for (const int threads : {1, 2, 5}) {
    Pool pool(threads);
    convert_checkpoint(open("model"), {.out = folder_ / "there.gguf", .q8_0 = true, .force = true}, pool, warnings_);
    const std::string bytes = test::slurp(folder_ / "there.gguf");
    if (first.empty()) first = bytes;
    EXPECT_TRUE(bytes == first) << threads;
  }
}

TEST_F(ConvertGgufTest, AFolderWithOneFileIsAModel) {
  LittleLlama().write(folder_ / "model");
  make_folders(folder_ / "g");
  convert("model", "g/m.gguf");
  EXPECT_TRUE(open("g").is_folder());
  EXPECT_EQ(open("g").config().at("model_type").as_text(), "llama");
  write_atomically(folder_ / "g/config.json", R"({"model_type": "mine"})");
  EXPECT_EQ(open("g").config().at("model_type").as_text(), "mine");
}

TEST_F(ConvertGgufTest, RefusalsLeaveNothing) {
  LittleLlama{.vocabulary = 3}.write(folder_ / "model");
  auto tensors = LittleLlama{.vocabulary = 3}.tensors();
  const auto refusal = [&](const std::string& out, const ConvertOptions& options) {
    const std::string message = message_of([&] { convert("model", out, options); });
    EXPECT_EQ(list_folder(folder_.path()), std::vector<std::string>{"model"});
    return message;
  };
  EXPECT_EQ(refusal("x.safetensors", {.q8_0 = true}),
            "only GGUF has Q8_0 (" + folder_ / "x.safetensors" + "); name the output *.gguf");
  EXPECT_EQ(refusal("x.gguf", {.dtype = DType::kF64}),
            "models of GGUF have no F64 (token_embd.weight); --dtype f32, f16, bf16 or q8_0");
  std::vector<double> bad(3 * 64, 1.0);
  const auto with = [&](double value) {
    bad[70] = value;
    tensors[0] = test::tensor("model.embed_tokens.weight", DType::kF32, {3, 64}, bad);
    test::write_model(folder_ / "model/model.safetensors", tensors);
    return refusal("x.gguf", {.q8_0 = true});
  };
  const std::string at = " (" + folder_ / "model/model.safetensors" + "); choose another --dtype";
  EXPECT_EQ(with(std::nan("")), folder_ / "model" + ": token_embd.weight holds NaN at element 70" + at);
  EXPECT_EQ(with(1e7), "token_embd.weight: values are too large for Q8_0, whose scale is a float16" + at);
  tensors[0] = test::tensor("model.embed_tokens.weight", DType::kI32, {3, 64}, std::vector<double>(192, 1));
  test::write_model(folder_ / "model/model.safetensors", tensors);
  EXPECT_EQ(refusal("x.gguf", {.dtype = DType::kF16}),
            "token_embd.weight is I32, not numbers of a model (" + folder_ / "model" + ")");
}

}  // namespace
}  // namespace solera::weights
