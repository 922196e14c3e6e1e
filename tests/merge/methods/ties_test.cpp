#include "solera/merge/methods/ties.h"

#include <algorithm>

#include "solera/base/random.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const Values& base, const std::vector<Values>& tuned, const std::vector<TiesModel>& models,
           TiesParams params = {}) {
  Values out(base.size());
  ties(base, spans(tuned), params, models, out);
  return out;
}

TEST(Ties, Oracle) {
  const std::vector<TiesModel> models(2, {.weight = 1, .density = 0.5});
  expect_near(run(kBase, {kA, kB}, models), {3, -1, 4, 1});
  expect_near(run(kBase, {kA, kB}, models, {.vote = Vote::kWeighted, .zero_vote = ZeroVote::kPositive}), {3, -1, 4, 1});
}

TEST(Ties, DensityCounts) {
  EXPECT_EQ(top_band(0.5, 4), (RankBand{0, 2}));
  EXPECT_EQ(top_band(0.29, 100), (RankBand{0, 29}));
  EXPECT_EQ(top_band(0.0005, 10), (RankBand{0, 1}));
  EXPECT_EQ(top_band(0, 10), (RankBand{0, 0}));
  EXPECT_EQ(top_band(-1, 10), (RankBand{0, 0}));
  EXPECT_EQ(top_band(1, 10), (RankBand{0, 10}));
  EXPECT_EQ(top_band(0.5, 0), (RankBand{0, 0}));
}

TEST(Ties, WeightsVoteOnlyWhenAsked) {
  // Changes +1 and -3 of weights 4 and 1: alone the second wins, weighted the first does.
  const Values base = {0}, up = {1}, down = {-3};
  const std::vector<TiesModel> models = {{.weight = 4, .density = 1}, {.weight = 1, .density = 1}};
  expect_near(run(base, {up, down}, models), {-3});
  expect_near(run(base, {up, down}, models, {.vote = Vote::kWeighted}), {1});
}

TEST(Ties, CancelledVotesTakeTheMajoritysSignOrPlus) {
  // Entry 0 cancels; the other two vote minus.
  const Values base = {0, 0, 0}, a = {1, -1, -2}, b = {-1, -1, -2};
  const std::vector<TiesModel> models(2, {.weight = 1, .density = 1});
  expect_near(run(base, {a, b}, models), {-1, -1, -2});
  expect_near(run(base, {a, b}, models, {.zero_vote = ZeroVote::kPositive}), {1, -1, -2});
}

TEST(Ties, OneModelOfFullDensityIsThatModel) {
  expect_near(run(kBase, {kA}, {{.weight = 1, .density = 1}}), {2, -1, 4, 1.5});
}

TEST(Ties, ZeroLambdaGivesTheBasesBits) {
  const Values base = {-0.0f, 0.0f, 3};
  const Values out = run(base, {{1, 2, 3}}, {{}}, {.lambda = 0});
  EXPECT_EQ(out, base);
  EXPECT_EQ(signs(out), signs(base));
}

TEST(Ties, OrderOfModelsDoesNotMatterBeyondRounding) {
  const std::vector<TiesModel> models(3, {.weight = 1, .density = 0.5});
  const Values c = {0.5f, 3, 1, -2};
  const Values one = run(kBase, {kA, kB, c}, models), other = run(kBase, {c, kA, kB}, models);
  expect_near(one, {other.begin(), other.end()});
}

// The method written down naively, in double, for every tiny size.
TEST(Ties, BruteForceOverTinySizes) {
  for (std::size_t n = 0; n <= 64; ++n) {
    const RandomStream stream({.seed = n, .purpose = "test.ties"});
    std::vector<Values> tuned(3, Values(n));
    const Values base(n, 1.0f);
    for (std::size_t t = 0; t < 3; ++t)
      for (std::size_t i = 0; i < n; ++i) tuned[t][i] = 1.0f + static_cast<float>(stream.below(t * n + i, 9)) - 4;
    const std::vector<TiesModel> models = {{1, 0.5}, {0.5, 0.25}, {2, 0.8}};
    const Values out = run(base, tuned, models, {.vote = Vote::kWeighted, .zero_vote = ZeroVote::kPositive});
    std::vector<std::vector<double>> kept(3, std::vector<double>(n));
    for (std::size_t t = 0; t < 3; ++t) {
      std::vector<std::size_t> order(n);
      std::iota(order.begin(), order.end(), 0u);
      std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return std::abs(tuned[t][a] - 1) > std::abs(tuned[t][b] - 1);
      });
      const auto k = std::max<std::size_t>(1, static_cast<std::size_t>(models[t].density * static_cast<double>(n)));
      for (std::size_t i = 0; i < std::min(k, n); ++i) kept[t][order[i]] = tuned[t][order[i]] - 1;
    }
    for (std::size_t i = 0; i < n; ++i) {
      double vote = 0, sum = 0, divisor = 0;
      for (std::size_t t = 0; t < 3; ++t) vote += models[t].weight * kept[t][i];
      for (std::size_t t = 0; t < 3; ++t)
        if (kept[t][i] != 0 && (kept[t][i] > 0) == (vote >= 0)) {
          sum += models[t].weight * kept[t][i];
          divisor += models[t].weight;
        }
      ASSERT_NEAR(out[i], 1 + (divisor > 0 ? sum / divisor : 0), 1e-6) << n << " " << i;
    }
  }
}

}  // namespace
}  // namespace solera::merge
