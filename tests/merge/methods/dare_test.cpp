#include "solera/merge/methods/dare.h"

#include <gmock/gmock.h>

#include "solera/merge/methods/ties.h"
#include "solera/weights/draws.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;
using Mask = std::vector<bool>;

Mask mask_of(std::uint64_t seed, std::size_t model, double density, std::size_t n) {
  const RandomStream stream = MaskContext{.seed = seed, .tensor = "w"}.stream(model);
  Mask mask;
  for (std::size_t i = 0; i < n; ++i)
    mask.push_back(weights::draw_of(stream, static_cast<std::int64_t>(i)) < weights::draw_threshold(density));
  return mask;
}

// The first seed under which the first model's mask is this one.
std::uint64_t seed_of(const Mask& mask, double density) {
  for (std::uint64_t seed = 0;; ++seed)
    if (mask_of(seed, 0, density, mask.size()) == mask) return seed;
}

Values linear(const Values& base, const std::vector<Values>& tuned, const std::vector<DareModel>& models,
              std::uint64_t seed, DareLinearParams params = {}) {
  Values out(base.size());
  dare_linear(base, spans(tuned), params, models, {.seed = seed, .tensor = "w"}, out);
  return out;
}

Values elected(const Values& base, const std::vector<Values>& tuned, const std::vector<DareModel>& models,
               std::uint64_t seed, DareTiesParams params = {}) {
  Values out(base.size());
  dare_ties(base, spans(tuned), params, models, {.seed = seed, .tensor = "w"}, out);
  return out;
}

const Values kZeros(4, 0.0f), kDelta = {0.2f, -0.4f, 0.6f, 0.8f};

TEST(Dare, OraclesOfBothRescalings) {
  const std::uint64_t seed = seed_of({true, false, true, false}, 0.5);
  expect_near(linear(kBase, {kA}, {{1, 0.5}}, seed), {3, 1, 7, 1});
  expect_near(linear(kBase, {kA}, {{1, 0.5}}, seed, {.rescale_by = RescaleBy::kL1}), {2.625, 1, 5.875, 1});
  expect_near(linear(kBase, {kA}, {{1, 0.5}}, seed, {.rescale = false}), {2, 1, 4, 1});
  expect_near(linear(kBase, {kA}, {{0.5, 0.5}}, seed, {.lambda = 3, .normalize = true}), {7, 1, 19, 1});
}

TEST(Dare, OraclesOfQ) {
  const std::uint64_t seed = seed_of({true, false, false, true}, 0.5);
  expect_near(linear(kZeros, {kDelta}, {{1, 0.5, 0.5}}, seed), {0.4, 0, 0, 1.6});
  expect_near(linear(kZeros, {kDelta}, {{1, 0.5, 0.75}}, seed), {0.266667, 0, 0, 1.066667});
  expect_near(linear(kZeros, {kDelta}, {{1, 0.5, 0.75}}, seed, {.rescale_by = RescaleBy::kL1}),
              {0.266667, 0, 0, 1.066667});  // q counts before rescale_by
  EXPECT_EQ(linear(kZeros, {kDelta}, {{1, 0.3, 0.3}}, 5), linear(kZeros, {kDelta}, {{1, 0.3}}, 5));
  EXPECT_EQ(linear(kZeros, {kDelta}, {{1, 1, 1}}, 5), kDelta);
}

TEST(Dare, FullAndEmptyDensities) {
  for (const auto by : {RescaleBy::kProbability, RescaleBy::kL1}) {
    EXPECT_EQ(linear(kBase, {kA}, {{1, 1}}, 1, {.rescale_by = by}), kA);
    EXPECT_EQ(linear(kBase, {kA}, {{1, 0}}, 1, {.rescale_by = by}), kBase);
    EXPECT_EQ(elected(kBase, {kA}, {{1, 1}}, 1, {.rescale_by = by}), kA);
  }
}

TEST(Dare, L1LeavesAnEmptyMaskAlone) {
  const std::uint64_t seed = seed_of({false, false, false, false}, 0.2);
  EXPECT_EQ(linear(kBase, {kA}, {{1, 0.2}}, seed, {.rescale_by = RescaleBy::kL1}), kBase);
}

TEST(Dare, ZeroLambdaGivesTheBasesBits) {
  const Values base = {-0.0f, 0.0f, 3};
  const Values out = linear(base, {{1, 2, 3}}, {{}}, 1, {.lambda = 0});
  EXPECT_EQ(out, base);
  EXPECT_EQ(signs(out), signs(base));
}

// Many entries of one value: the share that survives, and its mean.
TEST(Dare, KeepsItsShareWithinFiveDeviations) {
  constexpr double kN = 100000;
  const Values zeros(static_cast<std::size_t>(kN), 0.0f), ones(zeros.size(), 1.0f);
  for (const double p : {0.01, 0.3, 0.9}) {
    const Values out = linear(zeros, {ones}, {{1, p}}, 3);
    const auto kept = static_cast<double>(std::count_if(out.begin(), out.end(), [](float v) { return v != 0; }));
    EXPECT_NEAR(kept, kN * p, 5 * std::sqrt(kN * p * (1 - p)));
    EXPECT_NEAR(std::accumulate(out.begin(), out.end(), 0.0), kept / p, 1e-4 * kN);
  }
}

// Over seeds: rescaled by the probability, each entry's mean is the change itself; by q it is density / q of it.
TEST(Dare, IsUnbiasedOverSeeds) {
  constexpr int kSeeds = 4000;
  constexpr double kP = 0.3, kQ = 0.6;
  std::vector<double> mean(4), mean_q(4);
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Values out = linear(kZeros, {kDelta}, {{1, kP}}, static_cast<std::uint64_t>(seed));
    const Values by_q = linear(kZeros, {kDelta}, {{1, kP, kQ}}, static_cast<std::uint64_t>(seed));
    for (std::size_t i = 0; i < 4; ++i) {
      mean[i] += static_cast<double>(out[i]) / kSeeds;
      mean_q[i] += static_cast<double>(by_q[i]) / kSeeds;
    }
  }
  for (std::size_t i = 0; i < 4; ++i) {
    const double change = static_cast<double>(kDelta[i]);
    const double deviation = std::abs(change) * std::sqrt(kP * (1 - kP) / kSeeds);
    EXPECT_NEAR(mean[i], change, 5 * deviation / kP);
    EXPECT_NEAR(mean_q[i], change * kP / kQ, 5 * deviation / kQ);
  }
}

TEST(Dare, ModelsTensorsAndSeedsHaveMasksOfTheirOwn) {
  constexpr std::size_t kN = 100000;
  const auto agreement = [&](const Mask& a, const Mask& b) {
    double both = 0;
    for (std::size_t i = 0; i < kN; ++i) both += a[i] && b[i];
    return both;
  };
  const Mask mask = mask_of(1, 0, 0.5, kN);
  const RandomStream elsewhere = MaskContext{.seed = 1, .tensor = "v"}.stream(0);
  Mask other_tensor;
  for (std::size_t i = 0; i < kN; ++i) other_tensor.push_back(elsewhere.bernoulli(i, 0.5));
  for (const Mask& other : {mask_of(1, 1, 0.5, kN), mask_of(2, 0, 0.5, kN), other_tensor})
    EXPECT_NEAR(agreement(mask, other), 25000, 5 * std::sqrt(kN * 0.25 * 0.75));
}

TEST(Dare, AMaskBelongsToTheModelsPlaceInTheConfiguration) {
  const std::vector<std::size_t> places = {2};
  const MaskContext all{.seed = 1, .tensor = "w"}, alone{.seed = 1, .tensor = "w", .ordinals = places};
  EXPECT_EQ(alone.stream(0).key(), all.stream(2).key());
}

// With the masks written out, the rest is TIES of full density.
TEST(Dare, ElectsAmongWhatSurvives) {
  constexpr std::size_t kN = 64;
  const std::vector<DareModel> models = {{1, 0.5}, {0.5, 0.25}, {2, 0.8}};
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const RandomStream stream({.seed = seed, .purpose = "test.dare"});
    std::vector<Values> tuned(3, Values(kN)), masked(3, Values(kN, 0.0f));
    std::vector<TiesModel> full;
    for (std::size_t t = 0; t < 3; ++t) {
      const Mask mask = mask_of(seed, t, models[t].density, kN);
      for (std::size_t i = 0; i < kN; ++i) {
        tuned[t][i] = static_cast<float>(stream.below(t * kN + i, 9)) - 4;
        if (mask[i]) masked[t][i] = static_cast<float>(1 / models[t].density) * tuned[t][i];
      }
      full.push_back({models[t].weight, 1});
    }
    for (const auto vote : {Vote::kChange, Vote::kWeighted})
      for (const auto zero : {ZeroVote::kMajority, ZeroVote::kPositive}) {
        const Values base(kN, 0.0f);
        Values expected(kN);
        ties(base, spans(masked), {.lambda = 0.7, .vote = vote, .zero_vote = zero}, full, expected);
        EXPECT_EQ(elected(base, tuned, models, seed, {.lambda = 0.7, .vote = vote, .zero_vote = zero}), expected);
      }
  }
}

TEST(Dare, QWithoutRescalingIsRefusedAndASmallQWarnedOf) {
  EXPECT_EQ(solera::test::message_of([] { linear(kBase, {kA}, {{1, 0.5, 0.5}}, 1, {.rescale = false}); }),
            "\"q\" is 0.5 and \"rescale\" is false; leave one of them out: q is what the changes are rescaled by");
  std::vector<std::string> warnings;
  Values out(4);
  const std::vector<DareModel> models = {{1, 0.5, 0.25}};
  dare_linear(kBase, spans({kA}), {}, models, {.tensor = "w", .warnings = &warnings}, out);
  EXPECT_THAT(warnings, testing::ElementsAre("q 0.25 is less than the density 0.5: changes grow beyond 1/density"));
}

}  // namespace
}  // namespace solera::merge
