#include "solera/merge/methods/della.h"

#include "solera/merge/methods/dare.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values linear(const Values& base, const std::vector<Values>& tuned, const std::vector<DellaModel>& models,
              std::uint64_t seed, DellaLinearParams params = {}, std::int64_t row = 0) {
  Values out(base.size());
  della_linear(base, spans(tuned), params, models, {.seed = seed, .tensor = "w", .row = row}, out);
  return out;
}

const Values kZeros(4, 0.0f), kDelta = {0.1f, -0.4f, 0.2f, 0.3f};

TEST(Della, ProbabilitiesFollowTheRanks) {
  const RandomMask mask{.stream = MaskContext{}.stream(0), .density = 0.6, .epsilon = 0.1};
  const std::vector<double> expected = {0.7, 0.633333, 0.566667, 0.5};
  for (std::size_t rank = 0; rank < 4; ++rank)
    EXPECT_NEAR(mask.probability(static_cast<std::int64_t>(rank), 4), expected[rank], 1e-6);
  EXPECT_EQ(mask.probability(0, 1), 0.6);
}

// How often each entry survives, against the sheet's probabilities, and what it is worth then.
TEST(Della, KeepsEachEntryAsOftenAsItsRankSays) {
  constexpr int kSeeds = 4000;
  const std::vector<double> probabilities = {0.5, 0.7, 0.566667, 0.633333};
  std::vector<double> kept(4), mean(4);
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Values out = linear(kZeros, {kDelta}, {{1, 0.6, 0.1}}, static_cast<std::uint64_t>(seed));
    for (std::size_t i = 0; i < 4; ++i) {
      kept[i] += out[i] != 0;
      mean[i] += static_cast<double>(out[i]) / kSeeds;
      EXPECT_TRUE(out[i] == 0 || std::abs(out[i] - kDelta[i] / static_cast<float>(probabilities[i])) < 1e-5f) << i;
    }
  }
  for (std::size_t i = 0; i < 4; ++i) {
    const double p = probabilities[i], deviation = std::sqrt(p * (1 - p) / kSeeds);
    EXPECT_NEAR(kept[i] / kSeeds, p, 5 * deviation);
    EXPECT_NEAR(mean[i], kDelta[i], 5 * std::abs(static_cast<double>(kDelta[i])) * deviation / p);
  }
}

// The second row's changes are all smaller than the first's, and survive as often.
TEST(Della, RanksWithinRowsOrTheTensor) {
  constexpr std::size_t kRow = 2000;
  Values delta(2 * kRow);
  for (std::size_t i = 0; i < delta.size(); ++i) delta[i] = (i < kRow ? 100.0f : 1.0f) + static_cast<float>(i % 7) / 10;
  const auto kept = [&](const Values& out, std::size_t from) {
    double count = 0;
    for (std::size_t i = from; i < from + kRow; ++i) count += out[i] != 0;
    return count / kRow;
  };
  const Values zeros(delta.size(), 0.0f);
  const double bound = 5 * std::sqrt(0.25 / kRow);
  const Values rows = linear(zeros, {delta}, {{1, 0.5, 0.4}}, 9, {}, kRow);
  EXPECT_NEAR(kept(rows, 0), 0.5, bound);
  EXPECT_NEAR(kept(rows, kRow), 0.5, bound);
  const Values whole = linear(zeros, {delta}, {{1, 0.5, 0.4}}, 9, {.granularity = RankGroup::kTensor}, kRow);
  EXPECT_NEAR(kept(whole, 0), 0.7, bound);
  EXPECT_NEAR(kept(whole, kRow), 0.3, bound);
}

TEST(Della, L1KeepsTheNormOfTheChanges) {
  const Values out = linear(kZeros, {kDelta}, {{1, 0.6, 0.1}}, 3, {.rescale_by = RescaleBy::kL1});
  const Values plain = linear(kZeros, {kDelta}, {{1, 0.6, 0.1}}, 3, {.rescale = false});
  double norm = 0, plain_norm = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    norm += std::abs(static_cast<double>(out[i]));
    plain_norm += std::abs(static_cast<double>(plain[i]));
  }
  ASSERT_GT(plain_norm, 0);
  ASSERT_LT(plain_norm, 0.99);
  EXPECT_NEAR(norm, 1.0, 1e-6);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(out[i], plain[i] / static_cast<float>(plain_norm), 1e-6);
}

TEST(Della, WithoutAnEpsilonItIsDare) {
  for (const auto by : {RescaleBy::kProbability, RescaleBy::kL1}) {
    const std::vector<DareModel> models = {{0.7, 0.5}};
    Values expected(4);
    dare_linear(kBase, spans({kA}), {.rescale_by = by}, models, {.seed = 2, .tensor = "w"}, expected);
    EXPECT_EQ(linear(kBase, {kA}, {{0.7, 0.5, 0}}, 2, {.rescale_by = by}), expected);
  }
}

TEST(Della, FullAndEmptyDensitiesNeedNoEpsilon) {
  EXPECT_EQ(linear(kBase, {kA}, {{1, 1, 0.15}}, 1), kA);
  EXPECT_EQ(linear(kBase, {kA}, {{1, 0, 0.15}}, 1), kBase);
  Values out(4);
  const std::vector<DellaModel> models = {{1, 1, 0.15}};
  della(kBase, spans({kA}), {}, models, {.tensor = "w"}, out);
  EXPECT_EQ(out, kA);
}

TEST(Della, ProbabilitiesBeyondOneOrZeroAreRefused) {
  EXPECT_EQ(solera::test::message_of([] { linear(kBase, {kA}, {{1, 0.9, 0.15}}, 1); }),
            "\"density\" 0.9 with \"epsilon\" 0.15 asks for probabilities from 0.75 to 1.05; density - epsilon and "
            "density + epsilon lie between 0 and 1");
  EXPECT_EQ(
      solera::test::message_of([] { linear(kBase, {kA}, {{1, 0.1, 0.1}}, 1); }),
      "\"density\" 0.1 with \"epsilon\" 0.1 asks for probabilities from 0 to 0.2; density - epsilon and density + "
      "epsilon lie between 0 and 1");
}

}  // namespace
}  // namespace solera::merge
