#include "solera/checkpoint/statistics.h"

#include <cmath>

#include "tests/checkpoint/archives.h"
#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using test::message_of;
using test::tensor;

class StatisticsTest : public testing::Test {
 protected:
  StatisticsTest() { model({}); }

  // A linear layer of three inputs and a convolution of 2 x 2 x 1 inputs; `extra` is what differs from call to call.
  void model(std::vector<double> bias) {
    if (bias.empty()) bias = {0, 1};
    test::write_model(path("model"), {tensor("conv.weight", DType::kF32, {1, 2, 2, 1}, {1, 2, 3, 4}),
                                      tensor("fc.bias", DType::kF32, {2}, bias),
                                      tensor("fc.weight", DType::kBF16, {2, 3}, {1, 2, 3, 4, 5, 6})});
  }
  std::string path(const std::string& name) const { return folder_ / (name + ".safetensors"); }
  Checkpoint model() const { return open_checkpoint(path("model")); }
  Statistics open(const std::vector<NamedBytes>& tensors, const std::map<std::string, std::string>& metadata = {}) {
    write_safetensors(path("s"), tensors, metadata);
    return open_statistics(path("s"), model());
  }
  std::string message(std::vector<NamedBytes> tensors, bool with_n = true,
                      const std::map<std::string, std::string>& metadata = {}) {
    if (with_n) tensors.push_back(tensor("n", DType::kI64, {}, {5}));
    std::string text = message_of([&] { open(tensors, metadata); });
    const std::string root = folder_.path() + "/";
    for (auto at = text.find(root); at != std::string::npos; at = text.find(root)) text.erase(at, root.size());
    return text;
  }

  TemporaryFolder folder_;
};

NamedBytes zeros(const std::string& name, const Shape& shape, DType dtype = DType::kF32) {
  return tensor(name, dtype, shape, std::vector<double>(static_cast<std::size_t>(element_count(shape))));
}

TEST_F(StatisticsTest, NamesAndShapesFollowTheModel) {
  const Statistics file = open({zeros("conv.weight.fisher", {1, 2, 2, 1}), zeros("conv.weight.gram", {4, 4}),
                                zeros("fc.bias.fisher", {2}), zeros("fc.weight.input_mean", {3}),
                                zeros("fc.weight.input_sq", {3}, DType::kF64), tensor("n", DType::kI64, {}, {300})});
  EXPECT_EQ(file.examples(), 300);
  EXPECT_EQ(file.find("fc.weight", Statistic::kInputSq)->dtype, DType::kF64);
  EXPECT_EQ(file.find("fc.weight", Statistic::kGram), nullptr);
  EXPECT_TRUE(file.holds(Statistic::kGram));
  const Statistics other = open({zeros("fc.weight.input_mean", {3}), tensor("n", DType::kI64, {}, {1})});
  EXPECT_FALSE(other.holds(Statistic::kFisher));
}

TEST_F(StatisticsTest, WhatDoesNotFitIsNamed) {
  EXPECT_EQ(message({}, false),
            "no tensor n (s.safetensors); a statistics file says how many examples it was "
            "measured on");
  EXPECT_EQ(message({zeros("n", {1}, DType::kI64)}, false), "n is I64 of shape [1], not one I64 (s.safetensors)");
  EXPECT_EQ(message({zeros("n", {})}, false), "n is F32 of shape [], not one I64 (s.safetensors)");
  EXPECT_EQ(message({zeros("n", {}, DType::kI64)}, false), "n is 0: measured on no example (s.safetensors)");
  const std::string hint = "; names are n and a tensor's with .fisher, .input_mean, .input_sq or .gram after it";
  EXPECT_EQ(message({zeros("fc.weight", {2, 3})}), "fc.weight is no statistic (s.safetensors)" + hint);
  EXPECT_EQ(message({zeros("fisher", {2})}), "fisher is no statistic (s.safetensors)" + hint);
  EXPECT_EQ(message({zeros("fc2.weight.fisher", {2, 3})}),
            "fc2.weight.fisher is of no tensor of model.safetensors (s.safetensors); the statistics were measured on "
            "another model");
  EXPECT_EQ(message({zeros("fc.weight.fisher", {3, 2})}),
            "fc.weight.fisher is [3, 2], fc.weight of model.safetensors needs [2, 3] (s.safetensors)");
  EXPECT_EQ(message({zeros("fc.weight.gram", {2, 2})}),
            "fc.weight.gram is [2, 2], fc.weight of model.safetensors needs [3, 3] (s.safetensors)");
  EXPECT_EQ(message({zeros("conv.weight.input_sq", {2})}),
            "conv.weight.input_sq is [2], conv.weight of model.safetensors needs [4] (s.safetensors)");
  EXPECT_EQ(message({zeros("fc.bias.gram", {2, 2})}),
            "fc.bias.gram: fc.bias is [2], not a layer's weight (s.safetensors)");
  EXPECT_EQ(message({zeros("fc.bias.fisher", {2}, DType::kI64)}), "fc.bias.fisher is I64, no float (s.safetensors)");
}

TEST_F(StatisticsTest, AnotherCheckpointsStatisticsAreRefused) {
  const std::map<std::string, std::string> metadata = {{kFingerprintKey, model_fingerprint(model())}};
  const std::vector<NamedBytes> tensors = {zeros("fc.bias.fisher", {2}), tensor("n", DType::kI64, {}, {1})};
  EXPECT_EQ(open(tensors, metadata).examples(), 1);
  model({0, 1.5});  // the same names, types and shapes: a fine-tune
  EXPECT_EQ(message({zeros("fc.bias.fisher", {2})}, true, metadata),
            "measured on another checkpoint than model.safetensors (s.safetensors); measure this one, or name the file "
            "of the checkpoint that it was measured on");
  EXPECT_EQ(open(tensors).examples(), 1);  // nothing is said of where it comes from
}

// docs/formats/statistics.md shows a file in hexadecimal: it must be one.
TEST_F(StatisticsTest, TheDocumentedExample) {
  write_atomically(path("example"), hex_example(SOLERA_SOURCE_DIR "/docs/formats/statistics.md"));
  test::write_model(path("model"), {tensor("w", DType::kF32, {1, 2}, {3, 4})});
  const Statistics file = open_statistics(path("example"), model());
  EXPECT_EQ(file.examples(), 8);
  EXPECT_EQ(test::values(file.file(), "w.fisher"), (std::vector<double>{0.5, 2}));
  EXPECT_EQ(file.file().metadata().at(kFingerprintKey), model_fingerprint(model()));
}

}  // namespace
}  // namespace solera::checkpoint
