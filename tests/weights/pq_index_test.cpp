#include "solera/weights/pq_index.h"

#include <cmath>
#include <memory>

#include "tests/weights/fixture.h"

namespace solera::weights {
namespace {

constexpr PqNorms kHalf{0.5, 1.0}, kOne{1.0, 2.0};

double index_of(const std::vector<double>& values, const PqNorms& norms) {
  return pq_index(power_sums(values, norms), norms);
}

TEST(PqIndex, Oracles) {
  EXPECT_EQ(index_of({1, 1, 1, 1}, kHalf), 0);
  EXPECT_EQ(index_of({1, 1, 1, 1}, kOne), 0);
  EXPECT_NEAR(index_of({1, 0, 0, 0}, kHalf), 0.75, 1e-12);
  EXPECT_NEAR(index_of({1, 0, 0, 0}, kOne), 0.5, 1e-12);
  EXPECT_NEAR(index_of({1, 1, 0, 0}, kHalf), 0.5, 1e-12);
  EXPECT_NEAR(index_of({1, 1, 0, 0}, kOne), 0.29289322, 1e-8);
  EXPECT_NEAR(index_of({4, 3, 2, 1}, kHalf), 0.05558586, 1e-8);
  EXPECT_NEAR(index_of({4, 3, 2, 1}, kOne), 0.08712907, 1e-8);
  EXPECT_NEAR(index_of({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, kHalf), 0.08213905, 1e-8);
  EXPECT_NEAR(index_of({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, kOne), 0.11359474, 1e-8);
  EXPECT_NEAR(index_of({8, 4, 2, 1}, kHalf), 0.12573593, 1e-8);
  EXPECT_NEAR(index_of({8, 4, 2, 1}, kOne), 0.18651078, 1e-8);
}

TEST(PqIndex, Invariances) {
  for (const PqNorms& norms : {kHalf, kOne, PqNorms{0.3, 1.7}}) {
    const double index = index_of({4, 3, 2, 1}, norms);
    EXPECT_NEAR(index_of({-40, 30, -20, 10}, norms), index, 1e-12);
    EXPECT_NEAR(index_of({1, 4, 2, 3}, norms), index, 1e-12);
    EXPECT_NEAR(index_of({4, 3, 2, 1, 4, 3, 2, 1}, norms), index, 1e-12);
    EXPECT_LT(index_of({5, 4, 3, 2}, norms), index);
    EXPECT_LT(index_of({3.5, 3, 2, 1.5}, norms), index);
    EXPECT_NEAR(index_of({1, 0, 0, 0, 0}, norms), 1 - std::pow(5, 1 / norms.q - 1 / norms.p), 1e-12);
  }
  EXPECT_NEAR(index_of({1, 0, 0, 0, 0}, kOne), 0.55278640, 1e-8);
}

TEST(PqIndex, MaskedZerosAreLeftOutAndActiveOnesCount) {
  const std::vector<double> values = {4, 3, 2, 1, 0, 0, 0, 0};
  const bool active[8] = {true, true, true, true, false, false, false, false};
  EXPECT_NEAR(pq_index(power_sums(values, kOne, active), kOne), 0.08712907, 1e-8);
  EXPECT_NEAR(index_of(values, kOne), 1 - 1.25 / std::sqrt(3.75), 1e-12);
}

TEST(PqIndex, StreamedEqualsInMemoryAndPoolsOverTensors) {
  const test::Model model({test::tensor("a", checkpoint::DType::kF32, {5}, {1, 2, 3, 4, 5}),
                           test::tensor("b", checkpoint::DType::kBF16, {5}, {6, 7, 8, 9, 10})});
  Pool pool(2);
  const Engine engine{&pool, {4, 1}, false, {}};
  PowerSums sums = power_sums(engine, model.operand("a"), kOne);
  sums.merge(power_sums(engine, model.operand("b"), kOne));
  EXPECT_EQ(sums.count, 10);
  EXPECT_NEAR(pq_index(sums, kOne), 0.11359474, 1e-8);
}

TEST(PqIndex, SquaresOfSmallHalvesDoNotUnderflow) {
  const double tiny = std::ldexp(1.0, -24);
  const test::Model model({test::tensor("a", checkpoint::DType::kF16, {4}, {4 * tiny, 3 * tiny, 2 * tiny, tiny})});
  Pool pool(1);
  EXPECT_NEAR(pq_index(power_sums({&pool, {}, false, {}}, model.operand("a"), kOne), kOne), 0.08712907, 1e-8);
}

TEST(PqIndex, ZerosAndNothingHaveIndexZero) {
  EXPECT_EQ(index_of({0, 0, 0}, kHalf), 0);
  EXPECT_EQ(index_of({}, kHalf), 0);
  EXPECT_EQ(index_of({-7}, kHalf), 0);
}

TEST(PqIndex, BadInput) {
  EXPECT_EQ(test::message_of([] { index_of({1}, {1, 1}); }), "PQ Index needs 0 < p < q (got p=1, q=1)");
  EXPECT_EQ(test::message_of([] { index_of({1}, {0, 1}); }), "PQ Index needs 0 < p < q (got p=0, q=1)");
  EXPECT_EQ(test::message_of([] { index_of({1, std::nan("")}, kHalf); }),
            "PQ Index of a value that is not finite, entry 1");
}

}  // namespace
}  // namespace solera::weights
