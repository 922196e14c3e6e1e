#include "solera/merge/methods/task_arithmetic.h"

#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;

Values run(const Values& base, const std::vector<Values>& tuned, const std::vector<double>& weights,
           TaskParams params = {}) {
  std::vector<TaskModel> models;
  for (const double weight : weights) models.push_back({weight});
  Values out(base.size());
  task_arithmetic(base, spans(tuned), params, models, out);
  return out;
}

TEST(TaskArithmetic, Oracles) {
  expect_near(run(kBase, {kA, kB}, {0.5, 0.5}), {2.5, 0.5, 2, 1.5});
  expect_near(run(kBase, {kA, kB}, {1, 1}, {.lambda = 0.5}), {2.5, 0.5, 2, 1.5});
  expect_near(run(kBase, {kA, kB}, {3, 1}, {.lambda = 1, .normalize = true}), {2.25, -0.25, 3, 1.5});
}

TEST(TaskArithmetic, ZeroLambdaGivesTheBasesBits) {
  const Values base = {-0.0f, 0.0f, 1.0f / 3, -5};
  const Values out = run(base, {kA, kB}, {1, -2}, {.lambda = 0});
  EXPECT_EQ(out, base);
  EXPECT_EQ(signs(out), signs(base));
}

TEST(TaskArithmetic, AModelEqualToTheBaseChangesNothing) {
  EXPECT_EQ(run(kA, {kA}, {0.7}), kA);
  EXPECT_EQ(run(kBase, {kA, kBase, kB}, {0.5, 9, 0.5}), run(kBase, {kA, kB}, {0.5, 0.5}));
}

TEST(TaskArithmetic, OneModelWithWeightOneIsThatModel) { EXPECT_EQ(run(kBase, {kB}, {1}), kB); }

TEST(TaskArithmetic, WeightsThatCancelDivideByOne) {
  expect_near(run(kBase, {kA, kB}, {1, -1}, {.lambda = 1, .normalize = true}), {0, -2, 5, 1});
}

TEST(TaskArithmetic, OutputMayBeTheBase) {
  Values base = kBase;
  const std::vector<Values> tuned = {kA, kB};
  const std::vector<TaskModel> models = {{0.5}, {0.5}};
  task_arithmetic(base, spans(tuned), {}, models, base);
  expect_near(base, {2.5, 0.5, 2, 1.5});
}

}  // namespace
}  // namespace solera::merge
