#include "solera/merge/interference.h"

#include <cmath>

#include <gmock/gmock.h>

#include "tests/support/support.h"

namespace solera::merge {
namespace {

using checkpoint::DType;

class InterferenceTest : public testing::Test {
 protected:
  checkpoint::Checkpoint model(const std::string& name, const std::vector<checkpoint::NamedBytes>& tensors) const {
    return checkpoint::open_checkpoint(test::write_model(folder_ / (name + ".safetensors"), tensors));
  }
  InterferenceReport report(const checkpoint::Checkpoint& base, const std::vector<checkpoint::Checkpoint>& models,
                            int threads = 1, std::int64_t block = 65536) const {
    Pool pool(threads);
    return measure_interference({&pool, {block, 1}, true, {}}, base, models, no_progress());
  }
  TemporaryFolder folder_;
};

TEST_F(InterferenceTest, IsWhatIsWorkedByHand) {
  const auto base = model("base", {test::tensor("h.0.w", DType::kF32, {4}, {1, 2, 2, 0})});
  const auto a = model("a", {test::tensor("h.0.w", DType::kF32, {4}, {4, 2, 6, 0})});   // 3 0 4 0
  const auto b = model("b", {test::tensor("h.0.w", DType::kF32, {4}, {1, 5, -2, 0})});  // 0 3 -4 0
  const InterferenceReport result = report(base, {a, b});
  ASSERT_EQ(result.layers.size(), 1u);
  const Interference& layer = result.layers[0];
  EXPECT_EQ(layer.name, "h.0");
  EXPECT_EQ(layer.elements, 4);
  EXPECT_EQ(layer.touched, 3);
  EXPECT_EQ(layer.conflicting, 1);
  EXPECT_EQ(layer.conflicts(), 1.0 / 3);
  EXPECT_EQ(layer.base, 3);
  EXPECT_THAT(layer.norms, testing::ElementsAre(5, 5));
  EXPECT_DOUBLE_EQ(layer.cosines[0][1], -16.0 / 25);
  EXPECT_EQ(layer.cosines[0][0], 1);
  EXPECT_EQ(layer.opposed[0][1], 1);  // of the one entry that both change
  EXPECT_EQ(result.total.touched, 3);
}

TEST_F(InterferenceTest, GroupsByLayerAndLeavesOutWhatCannotBeCompared) {
  const auto tensors = [](double step) {
    return std::vector<checkpoint::NamedBytes>{
        test::tensor("model.embed_tokens.weight", DType::kF32, {2}, {1 + step, 2}),
        test::tensor("model.layers.0.w", DType::kF32, {2}, {1, 2 + step}),
        test::tensor("model.layers.10.w", DType::kF32, {2}, {1, 2}),
        test::tensor("model.layers.2.w", DType::kF32, {2}, {1, 2}),
        test::tensor("lm_head.weight", DType::kF32, {2}, {1, 2}),
        test::tensor("model.norm.weight", DType::kF32, {2}, {1, 2 - step}),
        test::tensor("steps", DType::kI64, {1}, {3})};
  };
  const InterferenceReport result = report(model("base", tensors(0)), {model("a", tensors(1)), model("b", tensors(2))});
  std::vector<std::string> names;
  for (const Interference& layer : result.layers) names.push_back(layer.name);
  EXPECT_THAT(names, testing::ElementsAre("model.layers.0", "model.layers.2", "model.layers.10", "embeddings", "head",
                                          "model.norm"));
  EXPECT_THAT(result.left_out, testing::ElementsAre("steps"));
  EXPECT_EQ(result.layers[1].conflicts(), 0);
  EXPECT_EQ(result.layers[1].cosines[0][1], 0);
  EXPECT_DOUBLE_EQ(result.total.cosines[0][1], 1);
  EXPECT_NE(interference_plot(result).svg().find("model.layers.10"), std::string::npos);
  EXPECT_NE(interference_plot(report(model("base", tensors(0)), {model("a", tensors(1))})).svg().find("relative"),
            std::string::npos);
}

TEST_F(InterferenceTest, IsTheSameForAnyThreads) {
  std::vector<double> zero(1000), step(1000), other(1000);
  for (std::size_t i = 0; i < step.size(); ++i) {
    step[i] = std::sin(static_cast<double>(i));
    other[i] = std::cos(3.0 * static_cast<double>(i));
  }
  const auto base = model("base", {test::tensor("w", DType::kF32, {1000}, zero)});
  const auto a = model("a", {test::tensor("w", DType::kF32, {1000}, step)});
  const auto b = model("b", {test::tensor("w", DType::kF32, {1000}, other)});
  const auto one = report(base, {a, b}, 1, 64), many = report(base, {a, b}, 7, 64);
  EXPECT_EQ(one.total.cosines, many.total.cosines);
  EXPECT_EQ(one.total.norms, many.total.norms);
  EXPECT_EQ(one.total.conflicting, many.total.conflicting);
}

}  // namespace
}  // namespace solera::merge
