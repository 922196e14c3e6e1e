#include "solera/merge/methods/breadcrumbs_ties.h"

#include "solera/base/random.h"
#include "solera/merge/methods/ties.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const Values& base, const std::vector<Values>& tuned, const std::vector<BreadcrumbsModel>& models,
           BreadcrumbsTiesParams params = {}) {
  Values out(base.size());
  breadcrumbs_ties(base, spans(tuned), params, models, out);
  return out;
}

// Bands [1, 3) of 4: A keeps -2 and 1 of (1, -2, 3, .5), B keeps 1 and -1 of (2, 1, -1, .5), equal ones by index.
TEST(BreadcrumbsTies, Oracle) {
  const std::vector<BreadcrumbsModel> models(2, {1, 0.5, 0.25});
  expect_near(run(kBase, {kA, kB}, models), {2, -1, 0, 1});
  expect_near(run(kBase, {kA, kB}, {{1, 0.5, 0.25}, {3, 0.5, 0.25}}, {.vote = Vote::kWeighted}), {2, 4, -2, 1});
  expect_near(run(kBase, {kA, kB}, models, {.breadcrumbs = {.alpha = 0.5}}), {1.5, 0, 0.5, 1});
}

TEST(BreadcrumbsTies, WithNothingRemovedItIsTies) {
  for (std::size_t n = 2; n <= 40; ++n) {
    const RandomStream stream({.seed = n, .purpose = "test.breadcrumbs_ties"});
    std::vector<Values> tuned(3, Values(n));
    for (std::size_t t = 0; t < 3; ++t)
      for (std::size_t i = 0; i < n; ++i) tuned[t][i] = static_cast<float>(stream.below(t * n + i, 9)) - 4;
    const Values base(n, 0.0f);
    Values expected(n);
    const std::vector<TiesModel> same(3, {0.8, 0.999});
    ties(base, spans(tuned), {}, same, expected);
    EXPECT_EQ(run(base, tuned, std::vector<BreadcrumbsModel>(3, {0.8, 0.999, 0}),
                  {.breadcrumbs = {.alpha = 1, .normalize = true}}),
              expected)
        << n;
  }
}

// Of (1, -2, 3, .5) the band [1, 3) keeps -2 and 1; the norm of all is 6.5, of those 3.
TEST(BreadcrumbsTies, RescalesToTheNormOfAllChanges) {
  const double c = 6.5 / 3;
  expect_near(run(kBase, {kA}, {{1, 0.5, 0.25}}, {.breadcrumbs = {.alpha = 1, .rescale = true}}),
              {1 + c, 1 - 2 * c, 1, 1});
}

TEST(BreadcrumbsTies, MoreThanEverythingIsRefused) {
  EXPECT_EQ(solera::test::message_of([] { run(kBase, {kA}, {{1, 0.95, 0.1}}); }),
            "keep + remove is 1.05, more than 1; lower keep or remove");
}

}  // namespace
}  // namespace solera::merge
