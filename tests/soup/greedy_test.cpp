// The search over scalars: what the sheet's oracles say, and that speculation changes nothing.
#include "solera/soup/greedy.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

#include <gmock/gmock.h>

#include "solera/base/random.h"
#include "tests/support/support.h"

namespace solera::soup {
namespace {

using test::message_of;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

double mean_of(const Mix& mix, const std::vector<double>& models) {
  const std::vector<double> weights = normalized(mix);
  return std::inner_product(weights.begin(), weights.end(), models.begin(), 0.0);
}

Evaluate scores(const std::vector<double>& models, const std::function<double(double)>& score) {
  return [=](const Mix& mix) { return Evaluation{score(mean_of(mix, models))}; };
}

double peak(double t) { return -(t - 0.6) * (t - 0.6); }

TEST(Greedy, ScalarOracle) {
  const std::vector<double> models = {1.0, 0.0, 0.4, 2.0};
  for (int jobs : {1, 2, 3, 7}) {
    std::vector<double> told;
    const SearchResult result = greedy_soup(4, {.jobs = jobs}, scores(models, peak),
                                            [&](const Trial& t) { told.push_back(t.evaluation.score); });
    EXPECT_THAT(result.members, ElementsAre(2, 0));
    EXPECT_THAT(result.mix, ElementsAre(1, 0, 1, 0));
    EXPECT_NEAR(result.score, -0.01, 1e-12);
    ASSERT_EQ(result.trials.size(), 7u);
    const double expected[] = {-0.16, -0.36, -0.04, -1.96, -0.01, -0.0177778, -0.284444};
    const Verdict verdicts[] = {Verdict::kSingle,   Verdict::kSingle,   Verdict::kSingle,  Verdict::kSingle,
                                Verdict::kAccepted, Verdict::kRejected, Verdict::kRejected};
    const int tried[] = {0, 1, 2, 3, 0, 1, 3};
    for (std::size_t i = 0; i < 7; ++i) {
      EXPECT_NEAR(result.trials[i].evaluation.score, expected[i], 1e-6);
      EXPECT_EQ(result.trials[i].verdict, verdicts[i]);
      EXPECT_EQ(result.trials[i].ingredient, tried[i]);
      EXPECT_EQ(told[i], result.trials[i].evaluation.score);
    }
    EXPECT_NEAR(mean_of(result.trials[5].mix, models), 0.466667, 1e-6);
    EXPECT_NEAR(mean_of(result.trials[6].mix, models), 1.133333, 1e-6);
    EXPECT_EQ(result.best_single, &result.trials[2]);
  }
}

TEST(Greedy, MinimizeIsTheMirrorImage) {
  const std::vector<double> models = {1.0, 0.0, 0.4, 2.0};
  const SearchResult result = greedy_soup(4, {.minimize = true}, scores(models, [](double t) { return -peak(t); }));
  EXPECT_THAT(result.members, ElementsAre(2, 0));
  EXPECT_NEAR(result.score, 0.01, 1e-12);
  EXPECT_EQ(result.best_single->ingredient, 2);
}

TEST(Greedy, TiesAreKeptByGeAndLeftByGt) {
  const auto flat = scores({0.0, 1.0}, [](double) { return 0.5; });
  EXPECT_THAT(greedy_soup(2, {.accept = Accept::kGe}, flat).members, ElementsAre(0, 1));
  EXPECT_THAT(greedy_soup(2, {.accept = Accept::kGt}, flat).members, ElementsAre(0));
  EXPECT_THAT(greedy_soup(2, {.accept = Accept::kGe, .minimize = true}, flat).members, ElementsAre(0, 1));
  EXPECT_THAT(greedy_soup(2, {.accept = Accept::kGt, .minimize = true}, flat).members, ElementsAre(0));
}

TEST(Greedy, Orders) {
  const std::vector<double> singles = {0.2, 0.7, 0.2, 0.7, 0.9};
  const auto order = [&](SearchOptions options) { return visiting_order(5, singles, options); };
  EXPECT_THAT(order({.order = Order::kScore}), ElementsAre(4, 1, 3, 0, 2));
  EXPECT_THAT(order({.order = Order::kOfficial}), ElementsAre(4, 3, 1, 2, 0));
  EXPECT_THAT(order({.order = Order::kScore, .minimize = true}), ElementsAre(0, 2, 1, 3, 4));
  EXPECT_THAT(order({.order = Order::kGiven}), ElementsAre(0, 1, 2, 3, 4));
  std::set<std::vector<int>> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto shuffled = order({.order = Order::kRandom, .seed = seed});
    EXPECT_TRUE(std::is_permutation(shuffled.begin(), shuffled.end(), std::vector<int>{0, 1, 2, 3, 4}.begin()));
    EXPECT_EQ(shuffled, order({.order = Order::kRandom, .seed = seed}));
    seen.insert(shuffled);
  }
  EXPECT_GT(seen.size(), 10u);
}

TEST(Greedy, OrdersThatNeedNoScoresSpareTheSingles) {
  for (Order order : {Order::kGiven, Order::kRandom}) {
    const SearchOptions options{.order = order, .seed = 3};
    const SearchResult result = greedy_soup(4, options, scores({1.0, 0.0, 0.4, 2.0}, peak));
    EXPECT_EQ(result.trials.size(), 4u);
    EXPECT_EQ(result.trials.front().ingredient, visiting_order(4, {}, options).front());
    EXPECT_EQ(result.best_single, &result.trials.front());
  }
}

// A landscape that is a pure function of the mix: any subset is as likely to be better as not.
double rough(const Mix& mix, std::uint64_t seed) {
  std::uint64_t subset = 0;
  for (std::size_t i = 0; i < mix.size(); ++i)
    if (mix[i] != 0) subset |= 1ull << i;
  return RandomStream({seed, "rough"}).uniform(subset);
}

TEST(Greedy, SpeculationGivesTheSequentialResult) {
  for (int count = 2; count <= 9; ++count)
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      const auto evaluate = [&](const Mix& mix) { return Evaluation{rough(mix, seed)}; };
      const SearchResult one = greedy_soup(count, {.jobs = 1}, evaluate);
      EXPECT_EQ(one.trials.size(), static_cast<std::size_t>(2 * count - 1));
      EXPECT_GE(one.score, one.best_single->evaluation.score);
      for (int jobs : {2, 5}) {
        std::mutex mutex;
        std::map<Mix, int> asked;
        const SearchResult many = greedy_soup(count, {.jobs = jobs}, [&](const Mix& mix) {
          const std::lock_guard lock(mutex);
          EXPECT_EQ(++asked[mix], 1);
          return evaluate(mix);
        });
        EXPECT_EQ(many.mix, one.mix);
        EXPECT_EQ(many.members, one.members);
        EXPECT_EQ(many.score, one.score);
        ASSERT_EQ(many.trials.size(), one.trials.size());
        for (std::size_t i = 0; i < one.trials.size(); ++i) {
          EXPECT_EQ(many.trials[i].mix, one.trials[i].mix);
          EXPECT_EQ(many.trials[i].verdict, one.trials[i].verdict);
        }
      }
    }
}

TEST(Greedy, BothOutcomesOfAStepAreScoredAhead) {
  // Three workers, three ingredients: {0, 1} is tried first, {0, 2} and {0, 1, 2} can only be next. None of the three
  // is answered until all are asked for.
  std::atomic<int> candidates = 0;
  const SearchResult result = greedy_soup(3, {.order = Order::kGiven, .jobs = 3}, [&](const Mix& mix) {
    const auto members = std::count(mix.begin(), mix.end(), 1.0);
    if (members > 1) {
      ++candidates;
      while (candidates < 3) std::this_thread::yield();
    }
    return Evaluation{static_cast<double>(members)};
  });
  EXPECT_THAT(result.members, ElementsAre(0, 1, 2));
}

TEST(Greedy, AFailureOnAPathNotTakenIsNoFailure) {
  // {0, 1} is rejected, so {0, 1, 2}, which speculation may ask for, is never needed.
  const auto evaluate = [](const Mix& mix) {
    const auto members = std::count(mix.begin(), mix.end(), 1.0);
    if (members == 3) throw input_error("the evaluator broke");
    return Evaluation{members == 1 ? 1.0 : 0.0};
  };
  for (int jobs : {1, 2, 3, 6}) EXPECT_THAT(greedy_soup(3, {.jobs = jobs}, evaluate).members, ElementsAre(0));
}

TEST(Greedy, AFailureThatIsNeededEndsTheSearch) {
  for (int jobs : {1, 2, 4}) {
    const auto candidate_fails = [](const Mix& mix) {
      if (std::count(mix.begin(), mix.end(), 1.0) > 1) throw input_error("candidate", "c");
      return Evaluation{1.0};
    };
    EXPECT_EQ(message_of([&] { greedy_soup(3, {.jobs = jobs}, candidate_fails); }), "candidate (c)");
    std::vector<int> told;
    const auto second_fails = [](const Mix& mix) {
      if (mix[1] != 0) throw input_error("the second");
      return Evaluation{1.0};
    };
    EXPECT_EQ(message_of([&] {
                greedy_soup(4, {.jobs = jobs}, second_fails, [&](const Trial& t) { told.push_back(t.ingredient); });
              }),
              "the second");
    EXPECT_THAT(told, ElementsAre(0));
  }
}

TEST(Greedy, NonFiniteScoresNeverSort) {
  for (double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    const auto evaluate = [&](const Mix& mix) { return Evaluation{mix[2] != 0 ? bad : 1.0}; };
    EXPECT_EQ(message_of([&] { greedy_soup(4, {}, evaluate); }),
              std::isnan(bad) ? "the score is nan, not a finite number (ingredient 3)"
                              : "the score is inf, not a finite number (ingredient 3)");
  }
  const auto pair_is_nan = [](const Mix& mix) { return Evaluation{mix[0] + mix[1] > 1 ? std::nan("") : 1.0}; };
  EXPECT_EQ(message_of([&] { greedy_soup(2, {}, pair_is_nan); }),
            "the score is nan, not a finite number (ingredient 1 + 2)");
}

TEST(Greedy, NeedsTwoModelsAndAJob) {
  const auto evaluate = scores({1.0, 2.0}, peak);
  EXPECT_EQ(message_of([&] { greedy_soup(1, {}, evaluate); }), "a soup needs at least two models, not 1");
  EXPECT_EQ(message_of([&] { uniform_soup(0, {}, evaluate); }), "a soup needs at least two models, not 0");
  EXPECT_EQ(message_of([&] { greedy_soup(2, {.jobs = 0}, evaluate); }), "jobs is 0, less than 1");
}

TEST(Uniform, ScoresTheSinglesAndTheMean) {
  for (int jobs : {1, 3}) {
    const SearchResult result = uniform_soup(4, {.jobs = jobs}, scores({1.0, 0.0, 0.4, 2.0}, peak));
    EXPECT_THAT(result.mix, ElementsAre(1, 1, 1, 1));
    EXPECT_THAT(result.members, ElementsAre(0, 1, 2, 3));
    EXPECT_NEAR(result.score, peak(0.85), 1e-12);
    ASSERT_EQ(result.trials.size(), 5u);
    EXPECT_EQ(result.trials.back().verdict, Verdict::kUniform);
    EXPECT_EQ(result.best_single, &result.trials[2]);
  }
}

TEST(Mix, Normalized) {
  EXPECT_THAT(normalized({1, 0, 3}), ElementsAre(0.25, 0, 0.75));
  EXPECT_THAT(single_mix(1, 3), ElementsAre(0, 1, 0));
}

}  // namespace
}  // namespace solera::soup
