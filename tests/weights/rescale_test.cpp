#include "solera/weights/rescale.h"

#include <cmath>

#include "solera/base/random.h"
#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera::weights {
namespace {

using checkpoint::Checkpoint;
using test::message_of;
using test::tensor;

constexpr double kS = 0.6, kQ = 0.38;  // of c = (.5, -.2, .3)

double tail_divisor(double eta, double s = kS, double q = kQ, double density = 0.1) {
  return tail_bound_divisor(std::vector{s}, std::vector{q}, density, {.eta = eta});
}

TEST(Rescale, SubGaussianFactorOfABernoulli) {
  EXPECT_EQ(sub_gaussian_factor(0.5), 0.5);
  EXPECT_NEAR(sub_gaussian_factor(0.9), 0.364096, 5e-7);
  EXPECT_NEAR(sub_gaussian_factor(0.1), 0.364096, 5e-7);
  EXPECT_NEAR(sub_gaussian_factor(0.95), 0.305661, 5e-7);
  EXPECT_NEAR(sub_gaussian_factor(0.99), 0.213270, 5e-7);
  EXPECT_EQ(sub_gaussian_factor(0), 0);
  EXPECT_EQ(sub_gaussian_factor(1), 0);
  EXPECT_NEAR(sub_gaussian_factor(0.5 + 1e-5), sub_gaussian_factor(0.5 + 5e-5), 1e-8);  // the series meets the formula
}

// The eight masks of three entries, one by one.
double enumerated_error(double density, double q) {
  const std::vector<double> c = {0.5, -0.2, 0.3};
  double expected = 0;
  for (int mask = 0; mask < 8; ++mask) {
    double probability = 1, error = kS;
    for (int j = 0; j < 3; ++j) {
      const bool kept = (mask >> j & 1) != 0;
      probability *= kept ? density : 1 - density;
      error -= kept ? c[static_cast<std::size_t>(j)] / q : 0;
    }
    expected += probability * error * error;
  }
  return expected;
}

TEST(Rescale, ErrorOfAllMasks) {
  EXPECT_NEAR(enumerated_error(0.1, 0.1), 3.42, 1e-12);
  EXPECT_NEAR(enumerated_error(0.1, 1), 0.3258, 1e-12);
  EXPECT_NEAR(enumerated_error(0.1, 1.05), 0.325714, 5e-7);
  for (const double q : {0.05, 0.1, 0.3, 1.0, 1.05, 2.0})
    EXPECT_NEAR(mean_square_error(kS, kQ, 0.1, q), enumerated_error(0.1, q), 1e-12) << q;
}

TEST(Rescale, TheLeastErrorIsLeast) {
  const double best = least_error_divisor(kQ, kS * kS, 0.1, "w");
  EXPECT_NEAR(best, 1.05, 1e-12);
  for (const double q : {best - 0.01, best + 0.01}) EXPECT_GT(enumerated_error(0.1, q), enumerated_error(0.1, best));
  EXPECT_EQ(least_error_divisor(0, 0, 0.25, "w"), 0.25);  // no change, nothing to weigh
  EXPECT_EQ(message_of([] { least_error_divisor(1, 0, 0.25, "w"); }),
            "the change of w has no effect on any of the inputs measured; measure on more data, or leave it out with "
            "--exclude");
}

TEST(Rescale, TailBoundByHand) {
  EXPECT_EQ(tail_divisor(0.1), 0.115);
  EXPECT_EQ(tail_divisor(0.45), 0.519);
  EXPECT_EQ(tail_divisor(1), 0.998);
  EXPECT_EQ(tail_divisor(1, 0, 0), 0.998);      // all equal: the larger q
  EXPECT_EQ(tail_divisor(1, 0.6, 0.38, 1), 1);  // nothing dropped
  EXPECT_EQ(message_of([] { tail_divisor(0); }), "eta is 0, not above 0");
}

TEST(Rescale, TheScanEndsWhenMostRowsStop) {
  // Nine rows are best at 0.115; the tenth would go on to 0.998, but is stopped one step later.
  std::vector<double> s(9, kS), q(9, kQ);
  s.push_back(0);
  q.push_back(kQ);
  EXPECT_NEAR(tail_bound_divisor(s, q, 0.1, {.eta = 0.1}), (9 * 0.115 + 0.116) / 10, 1e-12);
  EXPECT_NEAR(tail_bound_divisor(s, q, 0.1, {.eta = 0.1, .stop_share = 1}), (9 * 0.115 + 0.998) / 10, 1e-12);
}

TEST(Rescale, GridsAreExact) {
  EXPECT_EQ(grid_value(0.1, 0.001, 0), 0.1);
  EXPECT_EQ(grid_value(0.1, 0.001, 15), 0.115);
  EXPECT_EQ(grid_value(0.01, 0.001, 289), 0.299);
  // p = .9 has 1 - p = 0.09999999999999998, and 1000 of it are 99 when cut off.
  EXPECT_EQ(grid_value(1 - 0.9, 0.001, 1), 0.101);
}

TEST(Rescale, TheBoundCovers) {
  constexpr double kDensity = 0.05, kG = 0.05;
  const RandomStream values({.seed = 4, .purpose = "c"}), masks({.seed = 4, .purpose = "masks"});
  std::vector<double> c;
  double s = 0, q = 0;
  for (std::uint64_t j = 0; j < 100; ++j) {
    c.push_back(values.normal(j));
    s += c.back();
    q += c.back() * c.back();
  }
  int inside = 0;
  for (std::uint64_t draw = 0; draw < 10000; ++draw) {
    double error = s;
    for (std::uint64_t j = 0; j < 100; ++j) error -= masks.bernoulli(draw * 100 + j, kDensity) ? c[j] / kDensity : 0;
    inside += std::abs(error) <= error_bound(q, kDensity, kDensity, kG);
  }
  EXPECT_GE(inside, 9500);
  EXPECT_NEAR(error_bound(1, 0.05, 0.05, 0.05), 21.2372, 1e-4);  // sqrt(.305661 ln 40) / .05
}

class Layers : public ::testing::Test {
 protected:
  Checkpoint model(const std::string& name, const std::vector<checkpoint::NamedBytes>& tensors) {
    return checkpoint::open_checkpoint(test::write_model(folder_ / name, tensors));
  }
  std::vector<LayerChange> measure(const checkpoint::Statistics& inputs, InputUse use) {
    const auto pairs = match_pairs(base_, tuned_, {}, {}, false);
    return measure_layers({&pool_, {}, false, {}}, base_, tuned_, pairs, inputs, use);
  }
  checkpoint::Statistics statistics(std::vector<checkpoint::NamedBytes> tensors) {
    tensors.push_back(tensor("n", DType::kI64, {}, {2}));
    return checkpoint::open_statistics(test::write_model(folder_ / "stats.safetensors", tensors), tuned_);
  }

  TemporaryFolder folder_;
  Pool pool_{2};
  Checkpoint base_ = model("base.safetensors", {tensor("fc.bias", DType::kF32, {2}, {0, 0}),
                                                tensor("fc.weight", DType::kF32, {2, 2}, {1, 1, 1, 1}),
                                                tensor("norm.weight", DType::kF32, {2}, {1, 1})});
  Checkpoint tuned_ = model("tuned.safetensors", {tensor("fc.bias", DType::kF32, {2}, {0.5, 0}),
                                                  tensor("fc.weight", DType::kF32, {2, 2}, {2, 0, 1, 3}),
                                                  tensor("norm.weight", DType::kF32, {2}, {2, 1})});
};

TEST_F(Layers, RowsFromMeans) {  // d = (1 -1; 0 2), b = (.5, 0), mean (3, 1)
  const auto layers = measure(statistics({tensor("fc.weight.input_mean", DType::kF32, {2}, {3, 1})}), InputUse::kMeans);
  ASSERT_EQ(layers.size(), 1u);
  EXPECT_EQ(layers[0].bias, "fc.bias");
  EXPECT_EQ(layers[0].s, (std::vector<double>{3 - 1 + 0.5, 2}));
  EXPECT_EQ(layers[0].square_sums, (std::vector<double>{9 + 1 + 0.25, 4}));
  const Divisors divisors = divisors_by_tail(layers, 0.1, {.eta = 0.3});
  const double q = tail_bound_divisor(layers[0].s, layers[0].square_sums, 0.1, {.eta = 0.3});
  EXPECT_EQ(divisors.of_tensor, (std::map<std::string, double>{{"fc.bias", q}, {"fc.weight", q}}));
  EXPECT_EQ(divisors.of_others, q);
}

TEST_F(Layers, SumsFromGrams) {  // inputs (1, 0) and (5, 2): S = 1.5, 3.5; 0, 4. Q: row by row, c^2 and b^2
  const auto layers = measure(statistics({tensor("fc.weight.gram", DType::kF32, {2, 2}, {13, 5, 5, 2}),
                                          tensor("fc.weight.input_mean", DType::kF32, {2}, {3, 1})}),
                              InputUse::kGrams);
  ASSERT_EQ(layers.size(), 1u);
  EXPECT_NEAR(layers[0].total_s_squared, (1.5 * 1.5 + 3.5 * 3.5 + 16) / 2, 1e-12);
  EXPECT_NEAR(layers[0].total_squares, (1 + 25 + 4 + 0.5 + 16) / 2, 1e-12);
  EXPECT_NEAR(divisors_by_error(layers, 0.2).of_others, 0.2 + 0.8 * layers[0].total_squares / layers[0].total_s_squared,
              1e-12);
}

TEST_F(Layers, Refusals) {
  const std::string file = folder_ / "stats.safetensors";
  EXPECT_EQ(message_of([&] {
              measure(statistics({tensor("fc.weight.input_mean", DType::kF32, {2}, {0, 0})}), InputUse::kMeans);
            }),
            cat("fc.weight.input_mean is all 0: the layer never ran on the data (", file,
                "); measure on data that reach it, or leave it out with --exclude"));
  EXPECT_EQ(message_of([&] {
              measure(statistics({tensor("fc.weight.input_sq", DType::kF32, {2}, {1, 1})}), InputUse::kMeans);
            }),
            cat("no input_mean of any tensor that is compared (", file,
                "); docs/formats/statistics.md says what a q for each layer needs"));
  EXPECT_EQ(message_of([&] {
              measure(statistics({tensor("fc.weight.gram", DType::kF32, {2, 2}, {1, 0, 0, 1})}), InputUse::kGrams);
            }),
            cat("no fc.weight.input_mean (", file, "); this choice of q needs it"));
}

}  // namespace
}  // namespace solera::weights
