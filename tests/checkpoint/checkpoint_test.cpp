#include "solera/checkpoint/checkpoint.h"

#include <unistd.h>

#include <fstream>

#include "solera/checkpoint/npz.h"
#include "solera/checkpoint/torch.h"
#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using test::message_of;
using test::tensor;
using test::values;
using test::write_model;

void write_text(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

class CheckpointTest : public ::testing::Test {
 protected:
  std::string model(const std::string& name = "m.safetensors") {
    return write_model(folder_ / name, {tensor("b", DType::kF32, {2}, {1.5, -2}), tensor("a", DType::kBF16, {}, {0.25}),
                                        tensor("c", DType::kI64, {3}, {1, 2, 3})});
  }
  TemporaryFolder folder_;
};

TEST(ElementCountTest, MultipliesWithoutOverflow) {
  EXPECT_EQ(element_count(Shape{}), 1);
  EXPECT_EQ(element_count(Shape{2, 3}), 6);
  EXPECT_EQ(element_count(Shape{2, 0, 3}), 0);
  EXPECT_EQ(element_count(Shape{INT64_MAX, 1}), INT64_MAX);
  EXPECT_EQ(message_of([] { element_count(Shape{1ll << 32, 1ll << 31}); }),
            "shape [4294967296, 2147483648] has more entries than 63 bits count");
  EXPECT_EQ(message_of([] { element_count(Shape{3, -1}); }), "shape [3, -1] has a negative extent");
}

TEST(ByteCountTest, CountsPackedAndWideTypes) {
  EXPECT_EQ(byte_count(DType::kF4, 6), 3u);
  EXPECT_EQ(byte_count(DType::kBF16, 3), 6u);
  EXPECT_EQ(byte_count(DType::kF64, 0), 0u);
  EXPECT_EQ(message_of([] { byte_count(DType::kF64, 1ll << 60); }),
            "1152921504606846976 entries of F64 take more bytes than 63 bits count");
}

TEST_F(CheckpointTest, IsASortedTable) {
  const std::string path = model();
  const Checkpoint file = open_checkpoint(path);
  EXPECT_EQ(file.path(), path);
  EXPECT_EQ(file.format(), Format::kSafetensors);
  EXPECT_FALSE(file.is_folder());
  EXPECT_EQ(file.folder(), folder_.path());
  EXPECT_TRUE(file.config().is_null());
  EXPECT_TRUE(file.side_files().empty());
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.tensors()[2].name, "c");
  EXPECT_EQ(file.tensor_bytes(), 2u + 8u + 24u);
  EXPECT_EQ(file.find("b")->shape, Shape{2});
  EXPECT_EQ(file.find("bb"), nullptr);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  ASSERT_EQ(file.files().size(), 1u);
  EXPECT_EQ(file.files()[0].path, path);
  EXPECT_EQ(file.files()[0].size, file_size(path));
  EXPECT_EQ(values(file, "b"), (std::vector<double>{1.5, -2}));
  EXPECT_EQ(values(file, "c"), (std::vector<double>{1, 2, 3}));
}

TEST_F(CheckpointTest, ReadsTheSameBytesMappedAndRead) {
  const std::string path = model();
  const Checkpoint mapped = open_checkpoint(path, {.access = Access::kMap});
  const Checkpoint read = open_checkpoint(path, {.access = Access::kRead});
  for (const Tensor& t : mapped.tensors()) {
    std::vector<std::byte> one, two;
    const auto a = mapped.read(t, 1, t.bytes() - 1, one);
    const auto b = read.read(read.at(t.name), 1, t.bytes() - 1, two);
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << t.name;
    EXPECT_TRUE(one.empty());
  }
}

TEST_F(CheckpointTest, MissingTensorsAndBytesAreNamed) {
  const std::string path = model();
  const Checkpoint file = open_checkpoint(path);
  EXPECT_EQ(message_of([&] { file.at("bb"); }), "no tensor bb (" + path + "); did you mean b?");
  std::vector<std::byte> scratch;
  EXPECT_EQ(message_of([&] { file.read(file.at("b"), 4, 5, scratch); }),
            "5 bytes at 4 pass the end of b, which has 8 bytes (" + path + ")");
}

TEST_F(CheckpointTest, ACopyOutlivesTheOriginal) {
  auto first = std::make_unique<Checkpoint>(open_checkpoint(model()));
  const Checkpoint copy = *first;
  first.reset();
  EXPECT_EQ(values(copy, "a"), std::vector<double>{0.25});
}

TEST_F(CheckpointTest, CheckNoticesEveryKindOfChange) {
  const std::string path = model();
  const Checkpoint file = open_checkpoint(path);
  file.check();
  write_text(path + ".new", "something else");
  rename_path(path + ".new", path);
  EXPECT_EQ(message_of([&] { file.check(); }),
            path + ": the file changed while it was read; run again when nothing else writes to it");
  ASSERT_EQ(::truncate(path.c_str(), 3), 0);
  EXPECT_THROW(file.check(), Error);
  remove_all(path);
  EXPECT_THROW(file.check(), Error);
}

TEST_F(CheckpointTest, ContentDecidesBeforeTheSuffix) {
  const std::string path = model("odd.name");
  EXPECT_EQ(open_checkpoint(path).tensors().size(), 3u);
  rename_path(path, folder_ / "m.bin");
  EXPECT_EQ(open_checkpoint(folder_ / "m.bin").format(), Format::kSafetensors);
}

TEST_F(CheckpointTest, EveryFormatIsKnownByItsContent) {
  const Checkpoint file =
      open_checkpoint(write_model(folder_ / "m.safetensors", {tensor("a", DType::kF32, {2}, {3, 4})}));
  write_torch(folder_ / "torch", file);
  write_npz(folder_ / "numpy", file);
  const Checkpoint torch = open_checkpoint(folder_ / "torch"), numpy = open_checkpoint(folder_ / "numpy");
  EXPECT_EQ(torch.format(), Format::kTorch);
  EXPECT_EQ(numpy.format(), Format::kNpz);
  EXPECT_EQ(values(torch, "a"), values(file, "a"));
  EXPECT_EQ(values(numpy, "a"), values(file, "a"));
}

TEST_F(CheckpointTest, WhatIsNoModelIsNamed) {
  const auto message = [&](const std::string& name, const std::string& content) {
    write_text(folder_ / name, content);
    return message_of([&] { open_checkpoint(folder_ / name); });
  };
  const std::string at = folder_.path() + "/";
  EXPECT_EQ(message("m.gguf", "GGUF\3\0\0\0"), "not a GGUF file: 5 bytes are too few for a header (" + at + "m.gguf)");
  EXPECT_EQ(message("l.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
            at + "l.safetensors is a Git LFS pointer, not the file itself; run `git lfs pull`");
  EXPECT_EQ(message("notes.txt", "hello"), at + "notes.txt is not a safetensors, GGUF, PyTorch or NumPy .npz file");
  EXPECT_EQ(message("e.safetensors", ""),
            "not a safetensors file: 0 bytes are too few for a header (" + at + "e.safetensors)");
  EXPECT_EQ(message_of([&] { open_checkpoint(at + "e.safetensor"); }),
            at + "e.safetensor: no such file; did you mean " + at + "e.safetensors?");
}

TEST_F(CheckpointTest, QuantizedModelsAreRefusedByName) {
  const auto refusal = [&](const std::vector<NamedBytes>& tensors) {
    const Checkpoint file = open_checkpoint(write_model(folder_ / "q.safetensors", tensors));
    return message_of([&] { require_unquantized(file, "merge"); });
  };
  const std::string end =
      " belongs to a quantized model (" + folder_.path() + "/q.safetensors); use the model that it was quantized from";
  const NamedBytes weight = tensor("w.weight", DType::kF32, {1}, {1});
  EXPECT_EQ(refusal({weight, tensor("w.weight_scale_inv", DType::kF32, {1}, {1})}),
            "merge: w.weight_scale_inv (F32)" + end);
  EXPECT_EQ(refusal({tensor("w.scales", DType::kF16, {1}, {1}), tensor("w.qweight", DType::kI32, {1}, {1})}),
            "merge: w.scales (F16)" + end);
  EXPECT_EQ(refusal({tensor("w_blocks", DType::kU8, {1}, {1}), tensor("w_scales", DType::kU8, {1}, {1})}),
            "merge: w_scales (U8)" + end);
  EXPECT_EQ(refusal({{{"s", DType::kF8E8M0, {1}}, {std::byte{1}}}}), "merge: s (F8_E8M0)" + end);
  EXPECT_EQ(refusal({{{"p", DType::kF4, {2}}, {std::byte{1}}}}), "merge: p (F4)" + end);
  require_unquantized(
      open_checkpoint(write_model(folder_ / "q.safetensors", {weight, tensor("w.scales", DType::kF32, {1}, {1})})),
      "merge");
}

TEST_F(CheckpointTest, AQuantizedFolderIsRefusedByItsConfig) {
  model("model.safetensors");
  write_text(folder_ / "config.json", R"({"quantization_config": {"quant_method": "gptq"}})");
  const Checkpoint quantized = open_checkpoint(folder_.path());
  EXPECT_EQ(message_of([&] { require_unquantized(quantized, "merge"); }),
            "merge: " + folder_.path() + " is quantized (gptq) (" + folder_.path() +
                "/config.json); use the model that it was quantized from");
  write_text(folder_ / "config.json", R"({"quantization_config": null})");
  require_unquantized(open_checkpoint(folder_.path()), "merge");
}

TEST(CheckpointDataTest, OpensPublishedModels) {
  SOLERA_NEEDS_DATA();
  const Checkpoint file = open_checkpoint(test::data_folder() + "/checkpoints/cifar-resnet20.safetensors");
  EXPECT_GT(file.tensors().size(), 60u);
  const Checkpoint folder = open_checkpoint(test::data_folder() + "/golden/mergekit/models/qwen2/base");
  EXPECT_EQ(folder.files().size(), 4u);  // an index and three shards
  EXPECT_FALSE(folder.config().is_null());
  require_unquantized(folder, "merge");
  folder.check();
}

}  // namespace
}  // namespace solera::checkpoint
