#include "solera/weights/compare.h"

#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "tests/weights/fixture.h"

namespace solera::weights {
namespace {

using checkpoint::NamedBytes;
using test::Model;
using test::tensor;
using Kind = TensorDifference::Kind;

class CompareTest : public ::testing::Test {
 protected:
  ModelDifference compared(const Model& a, const Model& b) {
    return compare_models(engine_, *a.checkpoint, *b.checkpoint, no_progress());
  }
  ModelDifference compared(const NamedBytes& a, const NamedBytes& b) { return compared(Model({a}), Model({b})); }

  Pool pool_{2};
  Engine engine_{&pool_, {.block = 4, .blocks_per_chunk = 2}, true, {}};
};

TEST_F(CompareTest, SumsOfASmallPair) {
  const Model a({tensor("t", DType::kF32, {3}, {1, 2, 2})}), b({tensor("t", DType::kF32, {3}, {1, 2, -2})});
  const ModelDifference difference = compared(a, b);
  ASSERT_EQ(difference.tensors.size(), 1u);
  EXPECT_EQ(difference.tensors[0].kind, Kind::kValues);
  const PairSums& sums = difference.tensors[0].sums;
  EXPECT_EQ(sums.aa, 9);
  EXPECT_EQ(sums.bb, 9);
  EXPECT_EQ(sums.ab, 1);
  EXPECT_EQ(sums.dd, 16);
  EXPECT_EQ(sums.max_abs, 4);
  EXPECT_DOUBLE_EQ(sums.relative_l2(), 4.0 / 3);
  EXPECT_DOUBLE_EQ(sums.cosine(), 1.0 / 9);
  EXPECT_FALSE(difference.equal());
}

TEST_F(CompareTest, ZerosHaveARelativeDistance) {
  EXPECT_EQ(PairSums{}.relative_l2(), 0);
  EXPECT_EQ(PairSums{}.cosine(), 1);
  const PairSums from_zero{.aa = 0, .bb = 4, .ab = 0, .dd = 4};
  EXPECT_EQ(from_zero.relative_l2(), std::numeric_limits<double>::infinity());
  EXPECT_EQ(from_zero.cosine(), 0);
}

// Against plain sums in double, for sizes around the blocks.
TEST_F(CompareTest, EverySizeEqualsThePlainSums) {
  std::mt19937 random(3);
  std::vector<NamedBytes> left, right;
  std::map<std::string, PairSums> expected;
  for (std::int64_t n = 0; n <= 40; ++n) {
    std::vector<double> x(static_cast<std::size_t>(n)), y(x.size());
    PairSums sums;
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<int>(random() % 17) - 8;  // small integers: every sum is exact
      y[i] = static_cast<int>(random() % 17) - 8;
      sums.add({x[i] * x[i], y[i] * y[i], x[i] * y[i], (x[i] - y[i]) * (x[i] - y[i]), std::abs(x[i] - y[i])});
    }
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF64, DType::kI32}) {
      const std::string name = cat(checkpoint::name(dtype), ".", n);
      left.push_back(tensor(name, dtype, {n}, x));
      right.push_back(tensor(name, dtype, {n}, y));
      expected[name] = sums;
    }
  }
  const Model a(left), b(right);
  for (const auto& [name, plain] : expected) {
    const PairSums sums = compare(engine_, a.operand(name), b.operand(name));
    EXPECT_EQ(sums.aa, plain.aa) << name;
    EXPECT_EQ(sums.bb, plain.bb) << name;
    EXPECT_EQ(sums.ab, plain.ab) << name;
    EXPECT_EQ(sums.dd, plain.dd) << name;
    EXPECT_EQ(sums.max_abs, plain.max_abs) << name;
  }
}

TEST_F(CompareTest, EveryKindOfDifference) {
  const Model a({tensor("a", DType::kF32, {1}, {1}), tensor("dtype", DType::kF32, {2}, {1, 2}),
                 tensor("equal", DType::kF32, {1}, {3}), tensor("shape", DType::kF32, {2}, {1, 2})});
  const Model b({tensor("b", DType::kF32, {1}, {1}), tensor("dtype", DType::kBF16, {2}, {1, 3}),
                 tensor("equal", DType::kF32, {1}, {3}), tensor("shape", DType::kF32, {1, 2}, {1, 2})});
  const ModelDifference difference = compared(a, b);
  std::string kinds;
  for (const TensorDifference& t : difference.tensors) kinds += cat(t.name, " ", static_cast<int>(t.kind), "; ");
  EXPECT_EQ(kinds, "a 4; b 5; dtype 2; equal 0; shape 3; ");
  EXPECT_EQ(difference.tensors[2].sums.dd, 1);
  EXPECT_EQ(difference.total.aa, 1 + 4 + 9);  // what could be compared, the equal tensor included
  EXPECT_EQ(difference.total.dd, 1);
  EXPECT_FALSE(difference.equal());
}

TEST_F(CompareTest, EqualMeansTheSameBits) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  const NamedBytes odd = tensor("t", DType::kF32, {3}, {nan, infinity, 1});
  const ModelDifference same = compared(odd, odd);
  EXPECT_TRUE(same.equal());
  EXPECT_EQ(same.total.relative_l2(), 0);
  EXPECT_EQ(same.total.max_abs, 0);
  // 0 and -0 are the same number and different bits.
  const ModelDifference zeros = compared(tensor("t", DType::kF32, {1}, {0.0}), tensor("t", DType::kF32, {1}, {-0.0}));
  EXPECT_FALSE(zeros.equal());
  EXPECT_EQ(zeros.tensors[0].sums.dd, 0);
  EXPECT_TRUE(compared(tensor("t", DType::kF32, {0, 3}, {}), tensor("t", DType::kF32, {0, 3}, {})).equal());
}

TEST_F(CompareTest, BlockScalesAreComparedAsBytes) {
  const NamedBytes a{{"t", DType::kF8E8M0, {2}}, {std::byte{1}, std::byte{2}}},
      b{{"t", DType::kF8E8M0, {2}}, {std::byte{1}, std::byte{3}}};
  EXPECT_TRUE(compared(a, a).equal());
  EXPECT_EQ(compared(a, b).tensors.at(0).kind, Kind::kValues);
}

}  // namespace
}  // namespace solera::weights
