#include "solera/merge/methods/breadcrumbs.h"

#include "solera/base/random.h"
#include "solera/merge/methods/task_arithmetic.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const Values& base, const std::vector<Values>& tuned, const std::vector<BreadcrumbsModel>& models,
           BreadcrumbsParams params = {.alpha = 1}) {
  Values out(base.size());
  breadcrumbs(base, spans(tuned), params, models, out);
  return out;
}

// Which changes survive, as 1 and 0.
std::vector<int> mask(const Values& tau, double keep, double remove, BreadcrumbsParams params = {.alpha = 1}) {
  const Values out = run(Values(tau.size(), 0.0f), {tau}, {{1, keep, remove}}, params);
  std::vector<int> result;
  for (const float v : out) result.push_back(v != 0);
  return result;
}

const Values kTau = {0.5f, -0.1f, 0.02f, -0.9f, 0.3f, 0.05f, -0.4f, 0.01f, 0.2f, -0.03f};
constexpr BreadcrumbsParams kMergekit = {.alpha = 1, .small_tensor = SmallTensor::kZero, .overlap = Overlap::kShrink};

TEST(Breadcrumbs, Oracles) {
  using Mask = std::vector<int>;
  EXPECT_EQ(mask(kTau, 0.3, 0.1), (Mask{1, 0, 0, 0, 1, 0, 1, 0, 0, 0}));
  const Values out = run(Values(10, 0.0f), {kTau}, {{1, 0.3, 0.1}});
  EXPECT_NEAR(std::accumulate(out.begin(), out.end(), 0.0), 0.4, 1e-6);
  EXPECT_EQ(mask(kTau, 0.3, 0), (Mask{1, 0, 0, 1, 0, 0, 1, 0, 0, 0}));
  EXPECT_EQ(mask(kTau, 0.3, 0.1, {.alpha = 1, .remove_first = false}), (Mask{1, 0, 0, 0, 0, 0, 1, 0, 0, 0}));
  EXPECT_EQ(mask(kTau, 0.3, 0.1, kMergekit), (Mask{1, 0, 0, 0, 1, 0, 1, 0, 0, 0}));
  EXPECT_EQ(mask(kTau, 0.3, 0.01, kMergekit), (Mask{1, 0, 0, 1, 0, 0, 1, 0, 0, 0}));
  EXPECT_EQ(mask(kTau, 0.95, 0.1, kMergekit), (Mask{1, 1, 1, 0, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(mask(kTau, 0.95, 0.2, kMergekit), mask(kTau, 0.95, 0.1, kMergekit));
}

TEST(Breadcrumbs, GranularityOracle) {
  const Values m = {1, -5, 2, 0.5f, 0.1f, 0.2f, -0.3f, 0.4f};
  EXPECT_EQ(mask({1, -5, 2, 0.5f}, 0.5, 0.25), (std::vector<int>{1, 0, 1, 0}));
  EXPECT_EQ(mask({0.1f, 0.2f, -0.3f, 0.4f}, 0.5, 0.25), (std::vector<int>{0, 1, 1, 0}));
  EXPECT_EQ(mask(m, 0.5, 0.25), (std::vector<int>{1, 0, 0, 1, 0, 0, 1, 1}));
}

TEST(Breadcrumbs, MergeOracle) {
  const Values a = {1.4f, 0.9f, 1, 1.2f}, b = {0.7f, 1.2f, 1.5f, 1};
  expect_near(run(kBase, {a, b}, std::vector<BreadcrumbsModel>(2, {1, 0.5, 0.25}), {.alpha = 0.3}),
              {0.91, 1.03, 1.0, 1.06});
}

TEST(Breadcrumbs, KeepingEverythingIsTaskArithmetic) {
  Values expected(4);
  const std::vector<TaskModel> models = {{0.7}, {-0.2}};
  task_arithmetic(kBase, spans({kA, kB}), {.lambda = 0.3}, models, expected);
  EXPECT_EQ(run(kBase, {kA, kB}, {{0.7, 1, 0}, {-0.2, 1, 0}}, {.alpha = 0.3}), expected);
}

TEST(Breadcrumbs, ZeroAlphaGivesTheBasesBits) {
  const Values base = {-0.0f, 0.0f, 3};
  const Values out = run(base, {{1, 2, 3}}, {{}}, {.alpha = 0});
  EXPECT_EQ(out, base);
  EXPECT_EQ(signs(out), signs(base));
}

TEST(Breadcrumbs, AModelEqualToTheBaseChangesNothing) { EXPECT_EQ(run(kA, {kA}, {{}}), kA); }

TEST(Breadcrumbs, SmallTensorsFollowThePolicy) {
  EXPECT_EQ(mask({1, 2, 3}, 0.15, 0), (std::vector<int>{1, 1, 1}));
  EXPECT_EQ(mask({1, 2, 3}, 0.15, 0, {.alpha = 1, .small_tensor = SmallTensor::kZero}), (std::vector<int>{0, 0, 0}));
}

TEST(Breadcrumbs, ExactlyKEntriesSurviveWhateverTheTies) {
  for (std::int64_t n = 0; n <= 64; ++n) {
    const RandomStream stream({.seed = static_cast<std::uint64_t>(n), .purpose = "test.breadcrumbs"});
    Values tau(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < tau.size(); ++i)
      tau[i] = static_cast<float>(1 + stream.below(i, 3)) * (i % 2 ? 1.0f : -1.0f);
    for (const double keep : {0.05, 0.15, 0.5, 0.9})
      for (const double remove : {0.0, 0.006, 0.1}) {
        const auto kept = mask(tau, keep, remove);
        const auto k = static_cast<std::int64_t>(std::floor(keep * static_cast<double>(n) + 1e-9));
        EXPECT_EQ(std::accumulate(kept.begin(), kept.end(), std::int64_t{0}), k == 0 ? n : k) << n;
      }
  }
}

TEST(Breadcrumbs, MoreThanEverythingIsRefused) {
  EXPECT_EQ(solera::test::message_of([] { run(kBase, {kA}, {{1, 0.95, 0.1}}); }),
            "keep + remove is 1.05, more than 1; lower keep or remove");
}

}  // namespace
}  // namespace solera::merge
