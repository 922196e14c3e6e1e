#include "solera/merge/methods/consensus.h"

#include "solera/base/random.h"
#include "solera/merge/methods/task_arithmetic.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;
using solera::test::message_of;

Values run(const Values& base, const std::vector<Values>& tuned, const ConsensusParams& params,
           std::vector<ConsensusModel> models = {}) {
  models.resize(tuned.size());
  Values out(base.size());
  consensus(base, spans(tuned), params, models, out);
  return out;
}

// Changes (1, -2, 3, .5) and (2, 1, -1, .5). With two models the rest of the sum is the other's change:
// at 0.4 the first uses all (1 >= .8, 2 >= .4, 3 >= .4, .5 >= .2), the second all but the third (1 < 1.2).
TEST(Consensus, ByHand) {
  expect_near(run(kBase, {kA, kB}, {}), {4, 0, 1, 2});
  expect_near(run(kBase, {kA, kB}, {.lambda = 0.5}), {2.5, 0.5, 1, 1.5});
  // At 0.6 the first loses the first entry (1 < 1.2), the second the second (1 < 1.2).
  const std::vector<ConsensusModel> strict(2, {.weight = 1, .strictness = 0.6});
  expect_near(run(kBase, {kA, kB}, {}, strict), {1, 1, 1, 2});
  expect_near(run(kBase, {kA, kB}, {.agree = 1}, strict), {4, 0, 3, 2});
  // Strictness is a model's own: the first takes everything.
  expect_near(run(kBase, {kA, kB}, {}, {{1, 0}, {1, 0.6}}), {4, 1, 1, 2});
  // A third model that changes nothing uses nothing where the others do.
  expect_near(run(kBase, {kA, kB, kBase}, {.agree = 3}), {1, 1, 1, 1});
  // Weights count before masks: the second's changes (4, 2, -2, 1) at 0.4.
  expect_near(run(kBase, {kA, kB}, {}, {{1, 0.4}, {2, 0.4}}), {1, 1, 2, 2.5});
}

TEST(Consensus, AgreeingOnNothingIsTaskArithmeticAndOnMoreThanThereAreTheBase) {
  Values sum(4);
  const std::vector<TaskModel> models(2);
  task_arithmetic(kBase, spans({kA, kB}), {.lambda = 0.3}, models, sum);
  EXPECT_EQ(run(kBase, {kA, kB}, {.lambda = 0.3, .agree = 0}), sum);
  EXPECT_EQ(run(kBase, {kA, kB}, {.lambda = 0.3, .agree = 3}), kBase);
}

TEST(Consensus, ZeroLambdaGivesTheBasesBits) {
  const Values base = {-0.0f, 0.0f, 3};
  const Values out = run(base, {{1, 2, 3}}, {.lambda = 0, .agree = 1});
  EXPECT_EQ(out, base);
  EXPECT_EQ(signs(out), signs(base));
}

TEST(Consensus, BruteForce) {
  for (std::size_t n = 0; n <= 40; ++n) {
    std::vector<Values> changes(4, Values(n));
    for (std::size_t t = 0; t < 4; ++t) {
      const RandomStream stream({.seed = n, .purpose = "test.consensus", .input = t});
      for (std::size_t i = 0; i < n; ++i) changes[t][i] = static_cast<float>(stream.below(i, 9)) - 4;
    }
    const std::vector<ConsensusModel> models = {{1, 0.25}, {1, 0.5}, {1, 1}, {1, 0.25}};
    const Values out = run(Values(n, 0.0f), changes, {.agree = 3}, models);
    for (std::size_t i = 0; i < n; ++i) {
      float sum = 0;
      int votes = 0;
      for (const Values& change : changes) sum += change[i];
      for (std::size_t t = 0; t < 4; ++t)
        votes += std::abs(changes[t][i]) >= models[t].strictness * std::abs(sum - changes[t][i]);
      EXPECT_EQ(out[i], votes >= 3 ? sum : 0) << n << " " << i;
    }
  }
}

TEST(Consensus, Refusals) {
  EXPECT_EQ(message_of([] { run(kBase, {kA}, {.agree = -1}); }), "\"agree\" is -1, less than 0");
  EXPECT_EQ(message_of([] { run(kBase, {kA}, {}, {{1, -0.5}}); }), "\"strictness\" is -0.5, less than 0");
}

}  // namespace
}  // namespace solera::merge
