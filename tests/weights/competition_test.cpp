#include "solera/weights/competition.h"

#include <cmath>
#include <limits>

#include "solera/base/random.h"
#include "solera/weights/elements.h"
#include "tests/support/support.h"

namespace solera::weights {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Two tasks of which the second always changes by 1, so that the first's score is tanh(x (x + 1)).
std::vector<double> scores_of(std::vector<double> x, InterScore inter = InterScore::kSumTanh) {
  Competition c{.inter = inter, .sharpness = 0};
  c.low = {0, 0};
  c.high = {4, 4};
  c.threshold = c.most = {0, 0};
  std::vector<double> ones(x.size(), 1.0);
  double* rows[] = {x.data(), ones.data()};
  competition_scores(c, rows, std::ssize(x));
  return x;
}

TEST(Competition, TanhKeepsItsDigitsFromTheSmallestToTheLargest) {
  std::vector<double> x;
  for (double v = 1e-300; v < 30; v *= 1.37) x.insert(x.end(), {v, -v});
  x.insert(x.end(), {0.0, -1.0, 1e100});
  const auto scores = scores_of(x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double expected = std::tanh(x[i] * (x[i] + 1));
    EXPECT_NEAR(scores[i], expected, 4e-16 * std::abs(expected)) << x[i];
  }
}

TEST(Competition, ExponentialsUpToTheSmallest) {
  std::vector<double> a, one;
  for (int i = 0; i <= 700; ++i) a.push_back(i / 700.0);
  one.assign(a.size(), 1.0);
  std::vector<double> out(a.size());
  for (const double sharpness : {1.0, 8.0, 700.0}) {
    product_terms(0, 1, sharpness, a.data(), one.data(), std::ssize(a), out.data());
    for (std::size_t i = 0; i < a.size(); ++i) {
      const double expected = std::exp(sharpness * (a[i] - 1));
      EXPECT_NEAR(out[i], expected, 4e-16 * expected);
    }
    EXPECT_EQ(out.back(), 1.0);
  }
  product_terms(2, 2, 3, one.data(), one.data(), 1, out.data());  // nothing between the ends
  EXPECT_NEAR(out[0], std::exp(-3.0), 1e-17);
}

TEST(Competition, WhatIsNoNumberScoresLowest) {
  for (const InterScore inter : {InterScore::kSumTanh, InterScore::kSumTanhNormed, InterScore::kPairwiseTanh})
    EXPECT_EQ(scores_of({std::nan(""), 1, 2}, inter)[0], -1.0);
}

TEST(Competition, ProductExtremes) {
  for (std::int64_t n = 0; n < 40; ++n) {
    const RandomStream stream({.seed = static_cast<std::uint64_t>(n), .purpose = "test.extremes"});
    std::vector<double> a, b;
    double low = kInfinity, high = -kInfinity;
    for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(n); ++i) {
      a.push_back(stream.normal(i));
      b.push_back(stream.normal(100 + i));
      low = std::min(low, a.back() * b.back());
      high = std::max(high, a.back() * b.back());
    }
    double got_low = kInfinity, got_high = -kInfinity;
    product_extremes(a.data(), b.data(), n, got_low, got_high);
    EXPECT_EQ(got_low, low);
    EXPECT_EQ(got_high, high);
  }
}

// Every rule over rows of every length up to three vectors: the same bits on every target, and entry by entry.
TEST(Competition, SameBitsOnEveryTargetAndForEveryLength) {
  constexpr std::size_t kTasks = 3;
  std::vector<Competition> rules;
  for (const InterScore inter : {InterScore::kSumTanh, InterScore::kSumTanhNormed, InterScore::kPairwiseTanh})
    rules.push_back({.rule = Competing::kCode, .inter = inter});
  rules.push_back({.rule = Competing::kPaper});
  for (Competition& c : rules) {
    c.sharpness = kTasks;
    c.low.assign(kTasks, 0.1);
    c.high.assign(kTasks, 1.5);
    c.pair_low.assign(kTasks * kTasks, -2);
    c.pair_high.assign(kTasks * kTasks, 9);
    c.pair_sum.assign(kTasks * kTasks, 17);
    c.self_sum.assign(kTasks, 5);
    c.threshold.assign(kTasks, c.rule == Competing::kCode ? -0.01 : 0.002);
    c.most.assign(kTasks, 0.9);
    const std::vector<double> factors = {1, 0.5, -2};
    for (std::int64_t n = 0; n <= 27; ++n) {
      const auto run = [&](std::int64_t step) {
        std::vector<std::vector<double>> rows(kTasks);
        std::vector<double*> all;
        for (std::size_t t = 0; t < kTasks; ++t) {
          const RandomStream stream({.seed = 5, .purpose = "test.competition", .input = t});
          for (std::int64_t i = 0; i < n; ++i) rows[t].push_back(stream.normal(static_cast<std::uint64_t>(i)));
          all.push_back(rows[t].data());
        }
        std::vector<double> out(static_cast<std::size_t>(n));
        for (std::int64_t i = 0; i < n; i += step) {
          std::vector<double*> some;
          for (double* row : all) some.push_back(row + i);
          competition_mean(c, factors, some, std::min(step, n - i), out.data() + i);
        }
        competition_scores(c, all, n);
        for (const auto& row : rows) out.insert(out.end(), row.begin(), row.end());
        return out;
      };
      const auto expected = run(1);
      for (const std::string& target : simd_targets()) {
        pin_simd_target(target);
        EXPECT_EQ(run(100), expected) << target << " n=" << n;
      }
      pin_simd_target("");
    }
  }
}

}  // namespace
}  // namespace solera::weights
