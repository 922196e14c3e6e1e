#include "solera/merge/methods/multislerp.h"

#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const Values& base, const std::vector<Values>& inputs, const std::vector<double>& weights,
           const MultislerpParams& params = {}) {
  Values out(inputs[0].size());
  std::vector<MultislerpModel> models;
  for (const double weight : weights) models.push_back({weight});
  multislerp(base, spans(inputs), params, models, out);
  return out;
}

TEST(Multislerp, Oracles) {
  expect_near(run({}, {kA, kB}, {1, 1}), {3.162743, 0.814765, 2.217823, 1.858599});
  expect_near(run({}, {kA, kB}, {3, 1}), {2.669167, -0.145919, 3.300624, 1.747162});
}

TEST(Multislerp, AMeanDirectionByHand) {
  // u = [1, 0], [0, 1]; m = [.5, .5]; norms 1 and 3, so the length is 2
  expect_near(run({}, {{1, 0}, {0, 3}}, {1, 1}), {std::sqrt(2.0), std::sqrt(2.0)});
  expect_near(run({5, 5}, {{6, 5}, {5, 8}}, {1, 1}), {5 + std::sqrt(2.0), 5 + std::sqrt(2.0)});
  // weights as they are: m = [2, 2], length 2 * 1 + 2 * 3 = 8
  expect_near(run({}, {{1, 0}, {0, 3}}, {2, 2}, {.normalize_weights = false}), {std::sqrt(32.0), std::sqrt(32.0)});
}

TEST(Multislerp, EpsShrinksAsInTheFormula) {
  // u = x / (1 + .5), and the step of length eps away from the mean direction leaves its cosine
  expect_near(run({}, {{1, 0}, {0, 1}}, {1, 1}, {.eps = 0.4}),
              {std::cos(0.4) * std::sqrt(0.5), std::cos(0.4) * std::sqrt(0.5)});
}

TEST(Multislerp, OneModelComesBackWhateverItsWeight) {
  EXPECT_EQ(run({}, {kA}, {0.3}, {.normalize_weights = false}), kA);
  EXPECT_EQ(run(kBase, {kA}, {0}), kA);
}

TEST(Multislerp, EqualModelsComeBack) { EXPECT_EQ(run({}, {kA, kA, kA}, {1, 2, 0.5}), kA); }

TEST(Multislerp, TwoOppositeModelsGoStraight) { expect_near(run({}, {{1, 2}, {-1, -2}}, {1, 1}), {0, 0}); }

TEST(Multislerp, UnchangedModelsGiveTheBase) {
  EXPECT_EQ(run(kBase, {kBase, kBase, kBase}, {1, 1, 1}), kBase);
  expect_near(run(kBase, {kBase, kA}, {1, 1}), {1.5, 0, 2.5, 1.25});  // half of A's length in A's direction
}

TEST(Multislerp, MistakesAreNamed) {
  EXPECT_EQ(solera::test::message_of([] { run({}, {{1, 0}, {-1, 0}, {0, 0}}, {1, 1, 1}); }),
            "the weighted directions of the inputs cancel, so that they have no mean; change the weights, or --exclude "
            "the tensor");
  EXPECT_EQ(solera::test::message_of([] { run({}, {kA, kB}, {1, -1}); }),
            "the weights sum to zero; change a weight, or set normalize_weights: false");
}

}  // namespace
}  // namespace solera::merge
