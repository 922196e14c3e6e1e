#include "solera/checkpoint/delta.h"

#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using test::message_of;
using test::tensor;

const std::string kBase(32, 'a'), kResult(32, 'b');

std::string entry(const std::string& name, const std::string& type, const std::string& shape, const std::string& change,
                  bool result) {
  return cat("\"", name, "\":{\"dtype\":\"", type, "\",\"shape\":", shape, ",\"change\":\"", change, "\",\"base\":\"",
             kBase, "\"", result ? cat(",\"result\":\"", kResult, "\"") : "", "}");
}

class DeltaTest : public ::testing::Test {
 protected:
  std::string write(const std::string& tensors, const std::vector<NamedBytes>& stored,
                    const std::string& version = "1") {
    write_safetensors(path_, stored, {{"solera_delta", version}, {"tensors", tensors}});
    return path_;
  }
  std::string refusal() {
    std::string text = message_of([&] { open_delta(path_); });
    for (std::size_t at; (at = text.find(path_)) != std::string::npos;) text.replace(at, path_.size(), "FILE");
    return text;
  }

  TemporaryFolder folder_;
  std::string path_ = folder_ / "d.safetensors";
};

TEST_F(DeltaTest, IsReadAsItWasPlanned) {
  const DeltaTensor xor_dense{{"a", DType::kBF16, {2, 3}}, Change::kXor, false, 6, DType::kF32, kBase, kResult};
  const DeltaTensor sparse{{"b", DType::kF32, {11}}, Change::kDifference, true, 2, DType::kF32, kBase, ""};
  const DeltaTensor none{{"c", DType::kI64, {}}, Change::kNone, false, 0, DType::kF32, kBase, ""};
  const Layout layout = plan_delta(std::vector<DeltaTensor>{sparse, none, xor_dense}, "by hand");
  ASSERT_EQ(layout.tensors.size(), 3u);
  EXPECT_EQ(layout.tensors[0].name, "a/xor");
  EXPECT_EQ(layout.tensors[0].dtype, DType::kU16);
  EXPECT_EQ(layout.tensors[0].shape, (Shape{2, 3}));
  EXPECT_EQ(layout.tensors[1].name, "b/difference");
  EXPECT_EQ(layout.tensors[1].shape, Shape{2});
  EXPECT_EQ(layout.tensors[2].name, "b/mask");
  EXPECT_EQ(layout.tensors[2].shape, Shape{2});  // 11 bits

  make_folders(folder_ / "made");
  {
    ShardWriter writer(folder_ / "made", layout);
  }
  const Delta delta = open_delta(folder_ / "made/model.safetensors");
  ASSERT_EQ(delta.entries().size(), 3u);
  EXPECT_EQ(delta.file().metadata().at("made"), "by hand");
  const DeltaEntry& a = *delta.find("a");
  EXPECT_EQ(a.change, Change::kXor);
  EXPECT_FALSE(a.sparse);
  EXPECT_EQ(a.kept, 6);
  EXPECT_EQ(a.base_hash, kBase);
  EXPECT_EQ(a.result_hash, kResult);
  EXPECT_EQ(a.base.dtype, DType::kBF16);
  const DeltaEntry& b = *delta.find("b");
  EXPECT_TRUE(b.sparse);
  EXPECT_EQ(b.kept, 2);
  EXPECT_EQ(b.mask->name, "b/mask");
  EXPECT_EQ(delta.find("c")->change, Change::kNone);
  EXPECT_EQ(delta.find("c")->values, nullptr);
  EXPECT_EQ(delta.find("d"), nullptr);
}

TEST_F(DeltaTest, RefusesWhatIsNoDelta) {
  test::write_model(path_, {tensor("w", DType::kF32, {1}, {1})});
  EXPECT_EQ(refusal(), "FILE is not a delta file; make one with `solera delta BASE TUNED -o DELTA.safetensors`");
  write("{}", {}, "2");
  EXPECT_EQ(refusal(), "the delta is of version 2, this program reads version 1 (FILE)");
  write_safetensors(path_, {}, {{"solera_delta", "1"}});
  EXPECT_EQ(refusal(), "the delta's metadata lists no tensors (FILE); the file is damaged or not a delta");
  write("[]", {});
  EXPECT_EQ(refusal(), "the delta's list of tensors is not an object (FILE)");
}

TEST_F(DeltaTest, RefusesTensorsThatItsMetadataDoesNotDescribe) {
  const auto bits = tensor("w/xor", DType::kU16, {2}, {1, 2});
  write("{" + entry("w", "BF16", "[2]", "xor", true) + "}", {bits, tensor("v", DType::kU8, {1}, {0})});
  EXPECT_EQ(refusal(), "v belongs to no tensor that the delta describes (FILE); the file is damaged or not a delta");
  write("{" + entry("w", "F32", "[2]", "xor", true) + "}", {bits});
  EXPECT_EQ(refusal(), "w/xor is U16 [2], not U32 [2] (FILE); the file is damaged or not a delta");
  write("{" + entry("w", "BF16", "[3]", "xor", true) + "}", {bits});
  EXPECT_EQ(refusal(), "w/xor is U16 [2], not U16 [3] (FILE); the file is damaged or not a delta");
  write("{" + entry("w", "BF16", "[2]", "xor", true) + "}", {});
  EXPECT_EQ(refusal(), "no tensor w/xor (FILE)");
  write("{" + entry("w", "BF16", "[9]", "xor", true) + "}", {bits, tensor("w/mask", DType::kU8, {1}, {3})});
  EXPECT_EQ(refusal(), "w/mask is U8 [1], not U8 [2] (FILE); the file is damaged or not a delta");
  write("{" + entry("w", "BF16", "[1]", "xor", true) + "}", {bits, tensor("w/mask", DType::kU8, {1}, {3})});
  EXPECT_EQ(refusal(), "w/xor has 2 values for 1 entries (FILE)");
  write("{" + entry("w", "I16", "[2]", "difference", false) + "}", {tensor("w/difference", DType::kF32, {2}, {1, 2})});
  EXPECT_EQ(refusal(), "w is I16, which has no difference (FILE)");
}

TEST_F(DeltaTest, RefusesDescriptionsThatMakeNoSense) {
  const auto refused = [&](const std::string& tensors) {
    write(tensors, {});
    return refusal();
  };
  const std::string end = " (FILE); the file is damaged or not a delta";
  EXPECT_EQ(refused("{\"w\":3}"), "w: its description is not an object" + end);
  EXPECT_EQ(refused("{" + entry("w", "F33", "[2]", "none", false) + "}"), "w: unknown dtype \"F33\"" + end);
  EXPECT_EQ(refused("{" + entry("w", "F32", "2", "none", false) + "}"), "w: its shape is not a list" + end);
  EXPECT_EQ(refused("{" + entry("w", "F32", "[2]", "some", false) + "}"), "w: unknown change \"some\"" + end);
  EXPECT_EQ(refused("{" + entry("w", "F32", "[2]", "xor", false) + "}"),
            "w: its hashes are not what they should be" + end);
  EXPECT_EQ(refused("{" + entry("w", "F32", "[-2]", "none", false) + "}"), "shape [-2] has a negative extent");
}

TEST(DeltaBits, AreAsWideAsTheType) {
  EXPECT_EQ(bits_type(DType::kF8E5M2, "w"), DType::kU8);
  EXPECT_EQ(bits_type(DType::kF16, "w"), DType::kU16);
  EXPECT_EQ(bits_type(DType::kI32, "w"), DType::kU32);
  EXPECT_EQ(bits_type(DType::kF64, "w"), DType::kU64);
  EXPECT_EQ(message_of([] { bits_type(DType::kF4, "w"); }),
            "w is F4, whose entries are not whole bytes; leave it out with --exclude 'w'");
}

}  // namespace
}  // namespace solera::checkpoint
