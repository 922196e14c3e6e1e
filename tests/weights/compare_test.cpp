#include "solera/weights/compare.h"

#include <cmath>

#include "tests/weights/fixture.h"

namespace solera::weights {
namespace {

using checkpoint::DType;
using Kind = TensorDifference::Kind;

ModelDifference difference(const test::Model& a, const test::Model& b) {
  Pool pool(2);
  return compare_models({&pool, {4, 1}, false, {}}, *a.checkpoint, *b.checkpoint, no_progress());
}

TEST(Compare, EveryKindOfDifference) {
  const test::Model a({test::tensor("equal", DType::kF32, {2}, {1, 2}), test::tensor("left", DType::kF32, {1}, {0}),
                       test::tensor("shape", DType::kF32, {2, 1}, {1, 2}),
                       test::tensor("type", DType::kF32, {2}, {1, 2}),
                       test::tensor("values", DType::kF32, {2}, {3, 4})});
  const test::Model b({test::tensor("equal", DType::kF32, {2}, {1, 2}), test::tensor("right", DType::kF32, {1}, {0}),
                       test::tensor("shape", DType::kF32, {2}, {1, 2}), test::tensor("type", DType::kBF16, {2}, {1, 2}),
                       test::tensor("values", DType::kF32, {2}, {3, 0})});
  const ModelDifference found = difference(a, b);
  std::vector<std::pair<std::string, Kind>> kinds;
  for (const TensorDifference& t : found.tensors) kinds.emplace_back(t.name, t.kind);
  EXPECT_EQ(kinds, (std::vector<std::pair<std::string, Kind>>{{"equal", Kind::kEqual},
                                                              {"left", Kind::kOnlyA},
                                                              {"right", Kind::kOnlyB},
                                                              {"shape", Kind::kShape},
                                                              {"type", Kind::kDType},
                                                              {"values", Kind::kValues}}));
  EXPECT_FALSE(found.equal());
  EXPECT_TRUE(difference(a, a).equal());
  const PairSums& sums = found.tensors[5].sums;
  EXPECT_DOUBLE_EQ(sums.relative_l2(), 0.8);
  EXPECT_DOUBLE_EQ(sums.cosine(), 0.6);
  EXPECT_EQ(sums.max_abs, 4);
  EXPECT_EQ(found.tensors[4].sums.relative_l2(), 0);  // another type, the same values
  EXPECT_DOUBLE_EQ(found.total.relative_l2(), 4 / std::sqrt(5.0 + 5.0 + 25.0));
}

TEST(Compare, ZerosHaveADefinedDistance) {
  EXPECT_EQ((PairSums{0, 0, 0, 0, 0}).relative_l2(), 0);
  EXPECT_EQ((PairSums{0, 0, 0, 0, 0}).cosine(), 1);
  EXPECT_EQ((PairSums{4, 0, 0, 4, 2}).cosine(), 0);
  EXPECT_TRUE(std::isinf((PairSums{0, 4, 0, 4, 2}).relative_l2()));
}

TEST(Compare, ASignedZeroOrAnotherNanDiffersInBytes) {
  const test::Model a({test::tensor("z", DType::kF32, {2}, {0.0, 1})}),
      b({test::tensor("z", DType::kF32, {2}, {-0.0, 1})});
  EXPECT_FALSE(difference(a, b).equal());
  EXPECT_EQ(difference(a, b).tensors[0].sums.max_abs, 0);
}

TEST(Compare, IntegersBeyondFloatsPrecisionDiffer) {
  const test::Model a({test::tensor("i", DType::kI64, {1}, {16777216})}),
      b({test::tensor("i", DType::kI64, {1}, {16777217})});
  EXPECT_EQ(difference(a, b).tensors[0].sums.max_abs, 1);
}

}  // namespace
}  // namespace solera::weights
