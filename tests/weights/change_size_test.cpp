#include "solera/weights/change_size.h"

#include <cmath>

#include "tests/support/support.h"

namespace solera::weights {
namespace {

using test::tensor;

TEST(ChangeSize, MeanAndRootMeanSquareOfFloats) {
  const TemporaryFolder folder;
  const auto model = [&](const std::string& name, const std::vector<double>& w, double steps) {
    return checkpoint::open_checkpoint(test::write_model(
        folder / name, {tensor("steps", DType::kI64, {}, {steps}), tensor("v", DType::kBF16, {1}, {w[0]}),
                        tensor("w", DType::kF32, {3}, {w[1], w[2], w[3]})}));
  };
  const auto base = model("a.safetensors", {1, 1, 1, 1}, 3), tuned = model("b.safetensors", {2, 1, -1, 1.5}, 1000);
  Pool pool(2);
  const auto pairs = match_pairs(base, tuned, {}, {}, false);
  const ChangeSize size = change_size({&pool, {}, false, {}}, base, tuned, pairs);
  EXPECT_EQ(size.entries, 4);
  EXPECT_EQ(size.mean, (1 + 0 + 2 + 0.5) / 4);
  EXPECT_EQ(size.root_mean_square, std::sqrt((1 + 4 + 0.25) / 4));
}

TEST(ChangeSize, AdviceAtItsBounds) {
  EXPECT_EQ(advice_for(0), Advice::kRescale);
  EXPECT_EQ(advice_for(kSmallChange), Advice::kRescale);
  EXPECT_EQ(advice_for(std::nextafter(kSmallChange, 1)), Advice::kTryBoth);
  EXPECT_EQ(advice_for(kLargeChange), Advice::kTryBoth);
  EXPECT_EQ(advice_for(std::nextafter(kLargeChange, 1)), Advice::kImportance);
}

}  // namespace
}  // namespace solera::weights
