#include "solera/weights/convert.h"

#include "solera/base/files.h"
#include "tests/support/support.h"

namespace solera::weights {
namespace {

using checkpoint::Checkpoint;
using checkpoint::DType;
using test::message_of;
using test::tensor;

class ConvertTest : public ::testing::Test {
 protected:
  ConvertTest() {
    in_ = folder_ / "in.safetensors";
    test::write_model(in_, {tensor("count", DType::kI64, {}, {7}), tensor("none", DType::kF32, {0, 2}, {}),
                            tensor("w", DType::kF32, {2, 3}, {1, 2.5, -3, 1.0009765625, 0, 6})});
  }
  void convert(ConvertOptions options, const std::string& in = "") {
    convert_checkpoint(checkpoint::open_checkpoint(in.empty() ? in_ : in), options, pool_, no_progress());
  }
  std::vector<std::string> names() const { return list_folder(folder_.path()); }

  TemporaryFolder folder_;
  std::string in_;
  Pool pool_{2};
};

TEST_F(ConvertTest, EveryFormatHoldsTheSameBytes) {
  for (const std::string out : {"a.safetensors", "a.pt", "a.pth", "a.bin", "a.npz", "folder", "slash/"}) {
    convert({.out = folder_ / out});
    const Checkpoint a = checkpoint::open_checkpoint(in_), b = checkpoint::open_checkpoint(folder_ / out);
    ASSERT_EQ(b.tensors().size(), 3u) << out;
    for (const checkpoint::Tensor& t : a.tensors()) {
      EXPECT_EQ(b.at(t.name).dtype, t.dtype) << out;
      EXPECT_EQ(b.at(t.name).shape, t.shape) << out;
      EXPECT_EQ(test::values(b, t.name), test::values(a, t.name)) << out;
    }
  }
  EXPECT_EQ(names(), (std::vector<std::string>{"a.bin", "a.npz", "a.pt", "a.pth", "a.safetensors", "folder",
                                               "in.safetensors", "slash"}));
}

TEST_F(ConvertTest, ATypeChangesFloatsAlone) {
  for (const std::string out : {"b.safetensors", "b.pt", "b"}) {
    convert({.out = folder_ / out, .dtype = DType::kBF16});
    const Checkpoint b = checkpoint::open_checkpoint(folder_ / out);
    EXPECT_EQ(b.at("w").dtype, DType::kBF16);
    EXPECT_EQ(test::values(b, "w"), (std::vector<double>{1, 2.5, -3, 1, 0, 6}));  // rounded to nearest even
    EXPECT_EQ(b.at("count").dtype, DType::kI64);
    EXPECT_EQ(test::values(b, "count"), std::vector<double>{7});
  }
}

TEST_F(ConvertTest, ShardsFollowTheirSize) {
  convert({.out = folder_ / "shards", .shard_bytes = 24});
  EXPECT_EQ(list_folder(folder_ / "shards"),
            (std::vector<std::string>{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                                      "model.safetensors.index.json"}));
  EXPECT_EQ(checkpoint::open_checkpoint(folder_ / "shards").tensors().size(), 3u);
}

TEST_F(ConvertTest, SideFilesGoAlongAndTheConfigSaysTheType) {
  make_folders(folder_ / "model");
  copy_file(in_, folder_ / "model/model.safetensors");
  write_atomically(folder_ / "model/config.json", R"({"model_type": "x", "torch_dtype": "float32"})");
  write_atomically(folder_ / "model/tokenizer.json", "{}");
  convert({.out = folder_ / "half", .dtype = DType::kF16}, folder_ / "model");
  EXPECT_EQ(list_folder(folder_ / "half"),
            (std::vector<std::string>{"config.json", "model.safetensors", "tokenizer.json"}));
  EXPECT_EQ(checkpoint::open_checkpoint(folder_ / "half").config().at("torch_dtype").as_text(), "float16");
}

TEST_F(ConvertTest, RefusalsLeaveNothing) {
  const std::vector<std::string> before = names();
  const std::string parent = folder_.path();
  EXPECT_EQ(message_of([&] { convert({.out = in_, .force = true}); }),
            "the output " + in_ + " is an input; choose another output");
  EXPECT_EQ(message_of([&] { convert({.out = folder_ / "a.npz", .dtype = DType::kBF16}); }),
            "NumPy has no type for BF16 (" + folder_ / "a.npz" + "); --dtype float32");
  EXPECT_EQ(message_of([&] { convert({.out = folder_ / "no/a.pt"}); }),
            "cannot write " + folder_ / "no/a.pt" + ": there is no folder " + folder_ / "no" + "; make it first");
  EXPECT_EQ(names(), before);

  write_atomically(folder_ / "a.pt", "old");
  EXPECT_EQ(message_of([&] { convert({.out = folder_ / "a.pt"}); }),
            folder_ / "a.pt" + " exists; use --force to replace it");
  EXPECT_EQ(read_file(folder_ / "a.pt"), "old");
  convert({.out = folder_ / "a.pt", .force = true});
  EXPECT_EQ(checkpoint::open_checkpoint(folder_ / "a.pt").tensors().size(), 3u);
}

}  // namespace
}  // namespace solera::weights
