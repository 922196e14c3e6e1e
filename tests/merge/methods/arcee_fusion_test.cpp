#include "solera/merge/methods/arcee_fusion.h"

#include <algorithm>

#include "solera/base/random.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const Values& base, const Values& other, std::size_t row) {
  Values out(base.size());
  arcee_fusion(base, other, row, out);
  return out;
}

TEST(ArceeFusion, WithinARowSizeDecides) {
  // |d| sorted: quartiles .2 and .6 (places 1 and 5 of 8), median .4, cut 1: the last alone
  const Values base = {1, 2, 3, 4, 5, 6, 7, 8};
  Values other = base;
  for (std::size_t i = 0; i < 7; ++i) other[i] += (i % 2 ? -0.1f : 0.1f) * static_cast<float>(i + 1);
  other[7] = 13;
  Values expected = base;
  expected[7] = 13;
  EXPECT_EQ(run(base, other, 8), expected);
}

TEST(ArceeFusion, TheCutItselfIsTaken) {
  // |d| = 0, 1, 1, 4: places 0, 1, 2 are 0, 1, 1: cut = 1 + 1.5 (1 - 0) = 2.5
  EXPECT_EQ(run({0, 0, 0, 0}, {0, 1, 1, 4}, 4), Values({0, 0, 0, 4}));
  // |d| = 1, 1, 1, 1: cut 1, all taken
  EXPECT_EQ(run({0, 1, 2, 3}, {1, 0, 1, 4}, 4), Values({1, 0, 1, 4}));
}

// Straight from the formula, in double.
TEST(ArceeFusion, BruteForceOverRows) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const RandomStream stream({.seed = seed, .purpose = "test.arcee"});
    const std::size_t row = 1 + static_cast<std::size_t>(stream.below(0, 9)), n = row * (1 + seed % 7);
    Values base(n), other(n);
    for (std::size_t i = 0; i < n; ++i) {
      base[i] = static_cast<float>(stream.normal(2 * i + 1));
      other[i] = base[i] + static_cast<float>(stream.normal(2 * i + 2));
    }
    std::vector<double> scores(n);
    for (std::size_t at = 0; at < n; at += row) {
      double p_sum = 0, q_sum = 0, kl = 0;
      for (std::size_t i = at; i < at + row; ++i) {
        p_sum += std::exp(static_cast<double>(other[i]));
        q_sum += std::exp(static_cast<double>(base[i]));
      }
      for (std::size_t i = at; i < at + row; ++i) {
        const double p = std::exp(static_cast<double>(other[i])) / p_sum + 1e-8;
        kl += p * std::log(p / (std::exp(static_cast<double>(base[i])) / q_sum + 1e-8));
      }
      for (std::size_t i = at; i < at + row; ++i) scores[i] = std::abs(other[i] - base[i]) * (row > 1 ? kl : 0);
    }
    std::vector<double> sorted = scores;
    std::sort(sorted.begin(), sorted.end());
    const auto quantile = [&](double q) { return sorted[static_cast<std::size_t>(q * static_cast<double>(n - 1))]; };
    const double cut = quantile(0.5) + 1.5 * (quantile(0.75) - quantile(0.25));
    const Values out = run(base, other, row);
    for (std::size_t i = 0; i < n; ++i) {
      if (std::abs(scores[i] - cut) <= 1e-6 * cut && cut > 0) continue;  // float32's word, either way
      EXPECT_EQ(out[i], scores[i] >= cut ? other[i] : base[i]) << "seed " << seed << " entry " << i;
    }
  }
}

TEST(ArceeFusion, RowsOfOneEntryAndNothingChanged) {
  EXPECT_EQ(run({1, 2, 3}, {4, 5, 6}, 1), Values({4, 5, 6}));  // all scores are 0, and so is the cut
  EXPECT_EQ(run(kA, kA, 2), kA);
  EXPECT_EQ(run({1}, {2}, 1), Values({2}));
}

}  // namespace
}  // namespace solera::merge
