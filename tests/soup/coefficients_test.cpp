// The search for weights over callbacks: coordinates, oracles with known optima, and what must not change the result.
#include "solera/soup/coefficients.h"

#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>
#include <set>

#include <gmock/gmock.h>

#include "solera/base/random.h"
#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera::soup {
namespace {

using test::message_of;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::Pointwise;

Blend uniform(int groups, int count) {
  return {std::vector<Mix>(static_cast<std::size_t>(groups), uniform_mix(count))};
}

// Models of one number a group: the score is best where the blend is at the targets.
EvaluateBlend near(std::vector<double> models, std::vector<double> targets, double sign = -1) {
  return [=](const Blend& blend) {
    double sum = 0;
    for (std::size_t g = 0; g < targets.size(); ++g) {
      const std::vector<double> weights = normalized(blend.rows[g]);
      const double value = std::inner_product(weights.begin(), weights.end(), models.begin(), 0.0);
      sum += (value - targets[g]) * (value - targets[g]);
    }
    return Evaluation{sign * sum};
  };
}

TEST(Coordinates, OfTheSimplexByHand) {
  const Coordinates two(Domain::kSimplex, 1, 2);
  EXPECT_EQ(two.dimension(), 1);
  // w = (1/5, 4/5): H = (1, -1)/sqrt 2, so x = (log(1/5) - log(4/5))/sqrt 2 = -log 4/sqrt 2.
  EXPECT_THAT(two.point({{{1, 4}}}), ElementsAre(DoubleNear(-std::log(4) / std::sqrt(2), 1e-15)));
  EXPECT_THAT(two.blend(std::vector<double>{-std::log(4) / std::sqrt(2)}).rows[0],
              Pointwise(DoubleNear(1e-15), {0.2, 0.8}));
  // Zero counts as 0.01 / k.
  EXPECT_THAT(two.point({{{0, 1}}}), ElementsAre(DoubleNear(std::log(0.005) / std::sqrt(2), 1e-15)));
}

TEST(Coordinates, UniformIsTheOriginAndPointsComeBack) {
  for (int k = 2; k <= 9; ++k)
    for (int groups = 1; groups <= 3; ++groups) {
      const Coordinates simplex(Domain::kSimplex, groups, k);
      ASSERT_EQ(simplex.dimension(), groups * (k - 1));
      for (const double x : simplex.point(uniform(1, k))) EXPECT_NEAR(x, 0, 1e-14);
      std::vector<double> point;
      for (int i = 0; i < simplex.dimension(); ++i)
        point.push_back(RandomStream({7, "p"}).normal(static_cast<std::uint64_t>(i)) / 2);
      const Blend blend = simplex.blend(point);
      for (const Mix& row : blend.rows) {
        EXPECT_NEAR(std::accumulate(row.begin(), row.end(), 0.0), 1, 1e-14);
        for (const double w : row) EXPECT_GT(w, 0);
      }
      EXPECT_THAT(simplex.point(blend), Pointwise(DoubleNear(1e-13), point));
      const Coordinates box(Domain::kBox, groups, k);
      for (double& x : point) x = std::abs(x) / 4;
      EXPECT_THAT(box.point(box.blend(point)), Pointwise(DoubleNear(1e-14), point));
    }
}

// Distances from the origin do not depend on which ingredient is which.
TEST(Coordinates, TreatIngredientsAlike) {
  const Coordinates simplex(Domain::kSimplex, 1, 5);
  const auto length = [](const std::vector<double>& x) {
    return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0));
  };
  const double first = length(simplex.point({{{3, 1, 1, 1, 1}}}));
  for (std::size_t i = 1; i < 5; ++i) {
    Mix mix(5, 1.0);
    mix[i] = 3;
    EXPECT_NEAR(length(simplex.point({{mix}})), first, 1e-14);
  }
}

TEST(Coordinates, HugePointsAreStillWeights) {
  const Coordinates simplex(Domain::kSimplex, 1, 3);
  const Mix mix = simplex.blend(std::vector<double>{1e6, -1e6}).rows[0];
  EXPECT_NEAR(std::accumulate(mix.begin(), mix.end(), 0.0), 1, 1e-12);
  for (const double w : mix) EXPECT_TRUE(std::isfinite(w));
}

TEST(Coordinates, OfTheBoxCountFromTheBase) {
  const Coordinates box(Domain::kBox, 1, 3);
  EXPECT_THAT(box.blend(std::vector<double>{0.75, 1}).rows[0], ElementsAre(0.75, 1, -0.75));
  EXPECT_THAT(box.point({{{1, 1, 0}}}), ElementsAre(0.5, 0.5));
  EXPECT_THAT(box.point({{{3, -1, -1}}}), ElementsAre(1, 0));
}

TEST(SearchCoefficients, FindsWhatOneMixForAllCannotReach) {
  const auto f = near({0, 1}, {0.2, 0.9});
  const BlendResult result = search_coefficients(uniform(2, 2), {.budget = 300}, f);
  EXPECT_EQ(result.trials.size(), 300u);
  EXPECT_NEAR(result.trials.front().evaluation.score, -0.25, 1e-12);
  EXPECT_GT(result.best_trial().evaluation.score, -1e-6);
  EXPECT_NEAR(result.best_trial().blend.rows[0][1], 0.2, 1e-3);
  EXPECT_NEAR(result.best_trial().blend.rows[1][1], 0.9, 1e-3);
  // The best that one mix can do is 0.55 in both: -2 * 0.35^2.
  const auto one = [&](const Blend& blend) { return f({{blend.rows[0], blend.rows[0]}}); };
  EXPECT_NEAR(search_coefficients(uniform(1, 2), {.budget = 80}, one).best_trial().evaluation.score, -0.245, 1e-6);
}

TEST(SearchCoefficients, InTheBoxLeavesTheHullOfTheModels) {
  // Base 0, changes 1 and 0.5: 1.4 is outside of the simplex and inside of the box.
  const auto f = near({1, 0.5, 0}, {1.4});
  const BlendResult box = search_coefficients({{{1, 1, 0}}}, {.domain = Domain::kBox, .budget = 200}, f);
  EXPECT_GT(box.best_trial().evaluation.score, -1e-5);
  for (const BlendTrial& trial : box.trials)
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_GE(trial.blend.rows[0][i], 0);
      EXPECT_LE(trial.blend.rows[0][i], 1);
    }
  const BlendResult simplex = search_coefficients({{{1, 1, 0}}}, {.budget = 200}, f);
  EXPECT_LE(simplex.best_trial().evaluation.score, -0.16 + 1e-12);
}

TEST(SearchCoefficients, MinimizeIsTheMirrorImage) {
  const BlendResult up = search_coefficients(uniform(1, 4), {.budget = 60, .seed = 5}, near({0, 1, 3, 4}, {2.7}));
  const BlendResult down =
      search_coefficients(uniform(1, 4), {.budget = 60, .minimize = true, .seed = 5}, near({0, 1, 3, 4}, {2.7}, 1));
  EXPECT_EQ(up.best, down.best);
  EXPECT_EQ(up.best_trial().evaluation.score, -down.best_trial().evaluation.score);
}

TEST(SearchCoefficients, IsNeverWorseThanItsStartAndKeepsTheFirstOfEquals) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const BlendResult best = search_coefficients(uniform(1, 3), {.budget = 30, .seed = seed}, near({0, 1, 2}, {1}));
    EXPECT_EQ(best.best, 0);
    const BlendResult noise = search_coefficients(uniform(1, 3), {.budget = 30, .seed = seed}, [](const Blend& blend) {
      return Evaluation{std::fmod(blend.rows[0][0] * 1e6, 1.0)};
    });
    for (const BlendTrial& trial : noise.trials) EXPECT_LE(trial.evaluation.score, noise.best_trial().evaluation.score);
  }
  const BlendResult flat =
      search_coefficients(uniform(1, 3), {.budget = 30}, [](const Blend&) { return Evaluation{1}; });
  EXPECT_EQ(flat.best, 0);
  for (std::size_t i = 1; i < flat.trials.size(); ++i) EXPECT_FALSE(flat.trials[i].better);
}

TEST(SearchCoefficients, JobsAndAShorterBudgetChangeNothing) {
  const auto f = near({0, 1, 3, 4}, {2.7, 0.3});
  const BlendResult one = search_coefficients(uniform(2, 4), {.budget = 75, .seed = 3}, f);
  for (int jobs : {2, 5}) {
    std::vector<double> told;
    const BlendResult many = search_coefficients(uniform(2, 4), {.budget = 75, .seed = 3, .jobs = jobs}, f,
                                                 [&](const BlendTrial& t) { told.push_back(t.evaluation.score); });
    ASSERT_EQ(many.trials.size(), one.trials.size());
    for (std::size_t i = 0; i < one.trials.size(); ++i) {
      EXPECT_EQ(many.trials[i].blend.rows, one.trials[i].blend.rows);
      EXPECT_EQ(told[i], one.trials[i].evaluation.score);
    }
  }
  const BlendResult shorter = search_coefficients(uniform(2, 4), {.budget = 40, .seed = 3}, f);
  ASSERT_EQ(shorter.trials.size(), 40u);
  for (std::size_t i = 0; i < 40; ++i) EXPECT_EQ(shorter.trials[i].blend.rows, one.trials[i].blend.rows);
  const BlendResult other = search_coefficients(uniform(2, 4), {.budget = 40, .seed = 4}, f);
  EXPECT_NE(other.trials[1].blend.rows, one.trials[1].blend.rows);
}

TEST(SearchCoefficients, NumbersItsTrialsAndStartsAgainWhenItIsFlat) {
  // One coordinate: 4 candidates a generation, and a run is flat after 10 + ceil(30 / 4) = 18 generations.
  const BlendResult result =
      search_coefficients(uniform(1, 2), {.budget = 1 + 18 * 4 + 8 + 3}, [](const Blend&) { return Evaluation{1}; });
  EXPECT_EQ(result.restarts, 1);
  EXPECT_EQ(result.generations, 20);
  EXPECT_EQ(result.trials[0].generation, 0);
  EXPECT_EQ(result.trials[1].generation, 1);
  EXPECT_EQ(result.trials[1].candidate, 1);
  EXPECT_EQ(result.trials[4].candidate, 4);
  EXPECT_EQ(result.trials[1 + 18 * 4 + 7].generation, 19);
  EXPECT_EQ(result.trials[1 + 18 * 4 + 7].candidate, 8);
  EXPECT_EQ(result.trials.back().generation, 20);
}

TEST(SearchLine, IsAGridOfAlphas) {
  const auto f = near({0, 1}, {0.6});
  const BlendResult result = search_line(11, {}, f);
  ASSERT_EQ(result.trials.size(), 11u);
  for (std::size_t i = 0; i < 11; ++i) {
    EXPECT_EQ(result.trials[i].alpha, static_cast<double>(i) / 10);
    EXPECT_NEAR(result.trials[i].evaluation.score, -std::pow(static_cast<double>(i) / 10 - 0.6, 2), 1e-15);
  }
  EXPECT_EQ(result.best, 6);
  EXPECT_THAT(result.trials.front().blend.rows[0], ElementsAre(1, 0));
  EXPECT_THAT(result.trials.back().blend.rows[0], ElementsAre(0, 1));
  EXPECT_THAT(search_line(3, {}, f).trials[1].blend.rows[0], ElementsAre(0.5, 0.5));
}

TEST(SearchCoefficients, RefusesNonsense) {
  const auto f = near({0, 1}, {0.6});
  EXPECT_EQ(message_of([&] { search_coefficients(uniform(1, 2), {.budget = 0}, f); }), "--budget is 0, less than 1");
  EXPECT_EQ(message_of([&] { search_coefficients(uniform(1, 2), {.jobs = 0}, f); }), "jobs is 0, less than 1");
  EXPECT_EQ(message_of([&] { search_line(1, {}, f); }), "--alphas is 1, less than 2");
  const auto bad = [](const Blend& blend) { return Evaluation{blend.rows[0][0] == 1 ? 1 : std::nan("")}; };
  EXPECT_EQ(message_of([&] { search_coefficients(uniform(1, 2), {}, bad); }),
            "the score is nan, not a finite number (candidate 1 of generation 1)");
  EXPECT_EQ(message_of([&] {
              search_coefficients(uniform(1, 2), {},
                                  [](const Blend&) -> Evaluation { return {std::numeric_limits<double>::infinity()}; });
            }),
            "the score is inf, not a finite number (the start)");
}

}  // namespace
}  // namespace solera::soup
