#include "solera/weights/convert.h"

#include "solera/weights/compare.h"
#include "tests/weights/fixture.h"

namespace solera::weights {
namespace {

using checkpoint::DType;
using test::message_of;

class Convert : public testing::Test {
 protected:
  Convert() {
    make_folders(folder_ / "model");
    write_atomically(folder_ / "model/config.json", R"({"model_type": "llama", "torch_dtype": "float32"})");
    write_atomically(folder_ / "model/tokenizer.json", "{}");
    test::write_model(folder_ / "model/model.safetensors", {test::tensor("a", DType::kF32, {3}, {1, 1.0 / 3, -2}),
                                                            test::tensor("ids", DType::kI64, {2}, {5, 6})});
  }

  checkpoint::Checkpoint convert(const std::string& from, const std::string& out, std::optional<DType> dtype = {},
                                 std::uint64_t shard_bytes = 5'000'000'000, bool force = false) {
    Pool pool(2);
    const auto in = checkpoint::open_checkpoint(folder_ / from);
    convert_checkpoint(in, {folder_ / out, dtype, shard_bytes, force}, pool, no_progress());
    return checkpoint::open_checkpoint(folder_ / out);
  }
  bool equal(const std::string& a, const std::string& b) {
    Pool pool(1);
    const auto left = checkpoint::open_checkpoint(folder_ / a), right = checkpoint::open_checkpoint(folder_ / b);
    return compare_models({&pool, {}, true, {}}, left, right, no_progress()).equal();
  }

  TemporaryFolder folder_;
};

TEST_F(Convert, EveryFormatHoldsTheSameTensors) {
  for (const char* out : {"m.safetensors", "m.pt", "m.bin", "m.npz", "copy"}) {
    convert("model", out);
    EXPECT_TRUE(equal("model", out)) << out;
  }
}

TEST_F(Convert, AFolderTakesItsSideFilesAlongAndItsConfigNamesTheType) {
  const auto half = convert("model", "half", DType::kBF16);
  EXPECT_EQ(list_folder(folder_ / "half"),
            (std::vector<std::string>{"config.json", "model.safetensors", "tokenizer.json"}));
  EXPECT_EQ(half.config().at("torch_dtype").as_text(), "bfloat16");
  EXPECT_EQ(half.at("a").dtype, DType::kBF16);
  EXPECT_EQ(half.at("ids").dtype, DType::kI64);
  EXPECT_EQ(test::values(half, "a")[1], 0.333984375);
}

TEST_F(Convert, ShardsAreAsLargeAsAskedFor) {
  convert("model", "shards", {}, 16);
  EXPECT_TRUE(exists(folder_ / "shards/model.safetensors.index.json"));
  EXPECT_TRUE(equal("model", "shards"));
}

TEST_F(Convert, ATypeThatNumPyLacksIsRefusedBeforeAnythingIsWritten) {
  EXPECT_EQ(message_of([&] { convert("model", "m.npz", DType::kBF16); }),
            "NumPy has no type for BF16 (" + (folder_ / "m.npz") + "); --dtype float32");
  EXPECT_EQ(list_folder(folder_.path()), (std::vector<std::string>{"model"}));
}

TEST_F(Convert, AnExistingOutputIsKeptWithoutForce) {
  convert("model", "m.safetensors");
  EXPECT_NE(message_of([&] { convert("model", "m.safetensors"); }).find("--force"), std::string::npos);
  convert("model", "m.safetensors", DType::kF16, 1 << 20, true);
  EXPECT_EQ(checkpoint::open_checkpoint(folder_ / "m.safetensors").at("a").dtype, DType::kF16);
}

}  // namespace
}  // namespace solera::weights
