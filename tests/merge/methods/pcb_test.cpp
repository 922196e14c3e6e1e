#include "solera/merge/methods/pcb.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>

#include "solera/base/error.h"
#include "solera/base/random.h"
#include "solera/base/text.h"
#include "solera/merge/execute.h"
#include "solera/weights/select.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;
using solera::test::message_of;
using weights::InterScore;

// The method's sheet: two tasks over a base of zeros.
const Values kFirst = {0.5f, -0.2f, 0.1f, 0, 0.3f}, kSecond = {0.4f, 0.3f, -0.1f, 0.2f, -0.3f};
constexpr PcbParams kUnclamped = {.density = 0.6, .clamp = 0};

Values run(const std::vector<Values>& changes, const PcbParams& params, std::vector<PcbModel> models = {}) {
  models.resize(changes.size());
  const Values base(changes[0].size(), 0.0f);
  Values out(base.size());
  pcb(base, spans(changes), params, models, out);
  return out;
}

PcbParams with(double density, PcbParams params = kUnclamped) {
  params.density = density;
  return params;
}

PcbParams paper(double density) { return {.density = density, .formulation = PcbFormulation::kPaper}; }

TEST(Pcb, OraclesOfTheCode) {
  expect_near(run({kFirst, kSecond}, with(1)), {.45, .3, .1, .138182, .3});
  expect_near(run({kFirst, kSecond}, with(0.6)), {.45, .3, 0, 0, 0});
  expect_near(run({kFirst, kSecond}, with(0.4)), {.45, 0, 0, 0, 0});
  expect_near(run({kFirst, kSecond}, {.density = 0.6, .clamp = 1e-4}), {.3, .3, 0, 0, 0});
  expect_near(run({kFirst, kSecond}, {.density = 0.6, .clamp = 0, .inter = InterScore::kPairwiseTanh}),
              {.45, .3, .1, 0, 0});
}

// B of the sheet times e^-2, which the scores leave out.
TEST(Pcb, ScoresOfTheCode) {
  weights::Competition c{.sharpness = 2};
  c.low = {0, 0.1f};
  c.high = {0.5f, 0.4f};
  c.threshold = c.most = {0, 0};
  std::vector<double> first(kFirst.begin(), kFirst.end()), second(kSecond.begin(), kSecond.end());
  double* rows[] = {first.data(), second.data()};
  weights::competition_scores(c, rows, 5);
  const double b_first[] = {3.117435, -.027538, 0, 0, 0}, b_second[] = {2.550806, .072951, 0, .049927, 0};
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(first[i] * std::exp(2.0), b_first[i], 2e-6);
    EXPECT_NEAR(second[i] * std::exp(2.0), b_second[i], 2e-6);
  }
}

TEST(Pcb, OraclesOfThePaper) { expect_near(run({kFirst, kSecond}, paper(0.6)), {.456388, .132694, 0, 0, -.026905}); }

TEST(Pcb, WhatOneEntryKeepsComesBackExactly) {
  const Values change = {0.5f, -0.2f, 0.1f, 0.3f};
  EXPECT_EQ(run({change, change}, with(0.75)), (Values{0.5f, 0, 0, 0.3f}));
  EXPECT_EQ(run({change, change}, paper(0.5)), (Values{0.5f, 0, 0, 0.3f}));
}

// Weights of 1e-19 and of 1e-13 are weights: the mean they make is as large as any. The entry 1e-9 of both
// tasks is far below the others, and 1e-12 as a divisor would shrink it.
TEST(Pcb, TinyWeightsShrinkNothing) {
  const Values change = {1, 1e-9f, 1e-10f, -1e-9f};
  const Values opposing = {1, 1e-9f, 1e-10f, 1e-9f};
  EXPECT_EQ(run({change, opposing}, with(0.8)), (Values{1, 1e-9f, 1e-10f, 0}));
}

TEST(Pcb, MoreModelsThanAnExponentialHolds) {
  const std::vector<Values> many(800, Values{1, 0.99f, 0.5f, 0.25f});
  EXPECT_EQ(run(many, with(0.75)), (Values{1, 0.99f, 0, 0}));
}

TEST(Pcb, ZeroLambdaGivesTheBasesBits) {
  const Values base = {-0.0f, 0.0f, 3, 4}, tuned = {1, 2, 4, 8};
  Values out(4);
  const std::vector<PcbModel> models(1);
  pcb(base, spans({tuned}), {.density = 1, .lambda = 0}, models, out);
  EXPECT_EQ(out, base);
  EXPECT_EQ(signs(out), signs(base));
}

std::vector<Values> random_changes(std::size_t tasks, std::size_t n, std::uint64_t seed) {
  std::vector<Values> changes(tasks, Values(n));
  for (std::size_t t = 0; t < tasks; ++t) {
    const RandomStream stream({.seed = seed, .purpose = "test.pcb", .input = t});
    for (std::size_t i = 0; i < n; ++i)
      changes[t][i] = stream.below(n + i, 5) == 0 ? 0.0f : static_cast<float>(0.01 * stream.normal(i));
  }
  return changes;
}

std::vector<PcbParams> all_params(double density) {
  std::vector<PcbParams> list;
  for (const InterScore inter : {InterScore::kSumTanh, InterScore::kSumTanhNormed, InterScore::kPairwiseTanh})
    for (const double clamp : {0.0, 0.05}) list.push_back({.density = density, .clamp = clamp, .inter = inter});
  list.push_back(paper(density));
  return list;
}

TEST(Pcb, ThePapersResultScalesWithTheChanges) {
  auto changes = random_changes(3, 50, 1);
  const Values one = run(changes, paper(0.3));
  for (Values& change : changes)
    for (float& v : change) v *= 8;
  const Values scaled = run(changes, paper(0.3));
  for (std::size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(scaled[i], 8 * one[i], 1e-7);
}

TEST(Pcb, OrderOfModelsDoesNotMatterBeyondRounding) {
  const auto changes = random_changes(3, 40, 2);
  for (const PcbParams& params : all_params(0.4)) {
    const std::vector<PcbModel> models = {{1}, {0.5}, {2}}, turned = {{2}, {1}, {0.5}};
    const Values one = run(changes, params, models), other = run({changes[2], changes[0], changes[1]}, params, turned);
    expect_near(one, {other.begin(), other.end()}, 1e-8);
  }
}

TEST(Pcb, ResultsLieBetweenTheChanges) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto changes = random_changes(3, 60, seed);
    for (const PcbParams& params : all_params(0.5)) {
      const Values out = run(changes, params);
      std::size_t kept = 0;
      for (std::size_t i = 0; i < out.size(); ++i) {
        if (out[i] == 0) continue;
        ++kept;
        // Clipping at both ends moves changes by less than the largest there is.
        if (params.clamp > 0 && params.formulation == PcbFormulation::kCode) continue;
        EXPECT_GE(out[i], std::min({changes[0][i], changes[1][i], changes[2][i]}));
        EXPECT_LE(out[i], std::max({changes[0][i], changes[1][i], changes[2][i]}));
      }
      EXPECT_GT(kept, 10u);
    }
  }
}

// The sheet's steps one after the other, in double, with sorts; nothing of the implementation.
class Naive {
 public:
  Naive(const std::vector<Values>& changes, const PcbParams& params)
      : params_(params), n_(changes[0].size()), tasks_(changes.size()) {
    for (const Values& change : changes) tau_.emplace_back(change.begin(), change.end());
  }

  std::vector<double> merged() const { return params_.formulation == PcbFormulation::kCode ? code() : paper(); }

 private:
  using Row = std::vector<double>;

  static Row norm(const Row& x) {
    const double low = *std::min_element(x.begin(), x.end()), high = *std::max_element(x.begin(), x.end());
    Row out;
    for (const double v : x) out.push_back(high > low ? (v - low) / (high - low) : 0.0);
    return out;
  }
  static Row clipped(const Row& x, double low, double high) {
    Row sorted = x, out;
    std::sort(sorted.begin(), sorted.end());
    const auto n = static_cast<double>(x.size());
    const double from = sorted[static_cast<std::size_t>(std::floor(n * low + 1e-9))];
    const double to = sorted[static_cast<std::size_t>(std::floor(n * (1 - high) - 1 + 1e-9))];
    for (const double v : x) out.push_back(std::min(std::max(v, from), to));
    return out;
  }
  static Row softmax(const Row& x) {
    double sum = 0;
    Row out;
    for (const double v : x) sum += std::exp(v);
    for (const double v : x) out.push_back(std::exp(v) / sum);
    return out;
  }
  static double sign(double v) { return v > 0 ? 1 : v < 0 ? -1 : 0; }

  std::vector<double> code() const {
    std::vector<Row> merged(tasks_), normed(tasks_), intra(tasks_), weights(tasks_);
    for (std::size_t t = 0; t < tasks_; ++t) {
      Row magnitudes;
      for (const double v : tau_[t]) magnitudes.push_back(std::abs(v));
      const Row clip = clipped(magnitudes, params_.clamp, params_.clamp), unit = norm(clip);
      for (std::size_t i = 0; i < n_; ++i) {
        merged[t].push_back(sign(tau_[t][i]) * clip[i]);
        normed[t].push_back(sign(tau_[t][i]) * unit[i]);
        intra[t].push_back(std::exp(static_cast<double>(tasks_) * unit[i] * unit[i]));
      }
    }
    for (std::size_t t = 0; t < tasks_; ++t) {
      Row scores;
      for (std::size_t i = 0; i < n_; ++i) {
        double sum = 0, normed_sum = 0, pairs = 0;
        for (std::size_t j = 0; j < tasks_; ++j) {
          sum += tau_[j][i];
          normed_sum += normed[j][i];
          pairs += std::tanh(normed[t][i] * normed[j][i]);
        }
        const double inter = params_.inter == InterScore::kSumTanh         ? std::tanh(tau_[t][i] * sum)
                             : params_.inter == InterScore::kSumTanhNormed ? std::tanh(tau_[t][i] * normed_sum)
                                                                           : pairs;
        scores.push_back(intra[t][i] * inter);
      }
      weights[t] = norm(clipped(scores, 1 - params_.density, 0));
    }
    return mean(weights, merged);
  }

  std::vector<double> paper() const {
    std::vector<Row> weights(tasks_);
    for (std::size_t t = 0; t < tasks_; ++t) {
      Row squares, inter(n_, 0.0);
      for (const double v : tau_[t]) squares.push_back(v * v);
      Row unit = norm(squares);
      for (double& v : unit) v *= static_cast<double>(tasks_);
      const Row intra = softmax(unit);
      for (std::size_t j = 0; j < tasks_; ++j) {
        Row products;
        for (std::size_t i = 0; i < n_; ++i) products.push_back(tau_[t][i] * tau_[j][i]);
        const Row term = softmax(norm(products));
        for (std::size_t i = 0; i < n_; ++i) inter[i] += term[i];
      }
      Row beta;
      for (std::size_t i = 0; i < n_; ++i) beta.push_back(intra[i] * inter[i]);
      Row sorted = beta;
      std::sort(sorted.begin(), sorted.end());
      const double from =
          sorted[static_cast<std::size_t>(std::floor((1 - params_.density) * static_cast<double>(n_) + 1e-9))];
      // Scores that tie in exact arithmetic differ by rounding here and there.
      for (const double v : beta) weights[t].push_back(v >= from * (1 - 1e-13) ? v : 0.0);
    }
    return mean(weights, tau_);
  }

  std::vector<double> mean(const std::vector<Row>& weights, const std::vector<Row>& merged) const {
    std::vector<double> out(n_, 0.0);
    for (std::size_t i = 0; i < n_; ++i) {
      double sum = 0, divisor = 0;
      for (std::size_t t = 0; t < tasks_; ++t) {
        // Below this, a height above the threshold is the difference of ties that rounding made.
        if (weights[t][i] < 1e-13 && params_.formulation == PcbFormulation::kCode) continue;
        sum += weights[t][i] * merged[t][i];
        divisor += weights[t][i];
      }
      if (divisor > 0) out[i] = sum / divisor;
    }
    return out;
  }

  PcbParams params_;
  std::size_t n_, tasks_;
  std::vector<Row> tau_;
};

TEST(Pcb, BruteForceOverSmallSizes) {
  int compared = 0;
  for (std::size_t n = 2; n <= 64; ++n)
    for (const std::size_t tasks : {1, 2, 3})
      for (const double density : {0.25, 0.5, 1.0})
        for (const PcbParams& params : all_params(density)) {
          const auto changes = random_changes(tasks, n, n);
          Values out;
          try {
            out = run(changes, params);
          } catch (const Error&) {
            continue;  // too few entries to rank
          }
          const auto expected = Naive(changes, params).merged();
          for (std::size_t i = 0; i < n; ++i)
            ASSERT_NEAR(out[i], expected[i], 1e-8) << "n " << n << " tasks " << tasks << " density " << density;
          ++compared;
        }
  EXPECT_GT(compared, 3000);
}

TEST(Pcb, Refusals) {
  const auto message = [](const std::vector<Values>& changes, const PcbParams& params) {
    return message_of([&] { run(changes, params); });
  };
  EXPECT_EQ(message({kFirst, kSecond}, with(0)), "\"density\" is 0, outside (0, 1]");
  EXPECT_EQ(message({kFirst, kSecond}, with(1.5)), "\"density\" is 1.5, outside (0, 1]");
  EXPECT_EQ(message({kFirst, kSecond}, {.density = 0.5, .clamp = 0.5}), "\"clamp\" is 0.5, outside [0, 0.5)");
  EXPECT_EQ(message({kFirst, kSecond}, with(0.2)), "density 0.2 keeps none of 5 entries; give more than 1/5");
  EXPECT_EQ(message({kFirst, {0, 0, 0, 0, 0}}, with(0.6)), "model 1 equals the base; leave it out");
  EXPECT_EQ(message({kFirst, {0, 0, 0, 0, 0}}, paper(0.6)), "model 1 equals the base; leave it out");
  EXPECT_EQ(message({{2, -2, 2, 2, 2}, kFirst}, with(0.6)),
            "the changes of model 0 have all the same magnitude, 2; leave it out");
  EXPECT_EQ(message({{2, -2, 2, 2, 2}, kFirst}, paper(0.6)),
            "the changes of model 0 have all the same magnitude, 2; leave it out");
  EXPECT_EQ(message({kFirst, {0, 0, 0, 0, 3}}, {.density = 0.6, .clamp = 0.2}),
            "the changes of model 1 have all the same magnitude, 0, with clamp 0.2; lower clamp, or leave the model "
            "out");
  EXPECT_EQ(message({{1, 1, 1, 0}, {1, 1, 1, 0}}, with(0.75)),
            "the best scores of model 0 tie, so that density 0.75 keeps none of 4 entries; raise density, or leave the "
            "model out");
}

// A base and three models of several tensors in files.
class PcbStored : public testing::Test {
 protected:
  PcbStored() {
    weights::detail::select_tuning().in_memory = 0;
    for (std::size_t m = 0; m < 4; ++m) {
      std::vector<checkpoint::NamedBytes> stored;
      for (std::size_t t = 0; t < kShapes.size(); ++t) {
        const RandomStream stream({.seed = 4, .purpose = "test.stored", .input = m, .name = name(t)});
        std::vector<double> values(static_cast<std::size_t>(checkpoint::element_count(kShapes[t])), 0.5);
        for (std::size_t i = 0; i < values.size(); ++i)
          if (m > 0 && i % 4 != m) values[i] += 0.01 * stream.normal(i);
        if (t == 1 && m == 2) std::fill(values.begin(), values.end(), 0.5);  // untouched there
        stored.push_back(solera::test::tensor(name(t), checkpoint::DType::kF32, kShapes[t], values));
        tensors_[m].emplace_back(values.begin(), values.end());
      }
      solera::test::write_model(path(m), stored);
    }
  }
  ~PcbStored() override { weights::detail::select_tuning() = {}; }

  static std::string name(std::size_t t) { return cat("t", t); }
  std::string path(std::size_t m) const { return folder_ / cat("m", m, ".safetensors"); }
  Plan plan(const std::string& parameters) const {
    std::string text = cat("{merge_method: pcb, base_model: ", path(0), ", parameters: {", parameters, "}, models: [");
    for (std::size_t m = 1; m < 4; ++m) text += cat("{model: ", path(m), ", parameters: {weight: ", 0.5 * m, "}}, ");
    return make_plan(parse_merge_config(parse_yaml(text + "]}", "f.yaml")), {.single_file = true});
  }
  ExecuteReport merge(const std::string& parameters, int threads, std::int64_t chunk) {
    Plan one = plan(parameters);
    return execute(
        one,
        {.out = folder_ / "out.safetensors", .threads = threads, .force = true, .block = 16, .blocks_per_chunk = chunk},
        no_progress());
  }
  std::vector<Values> merged() const {
    const auto made = checkpoint::open_checkpoint(folder_ / "out.safetensors");
    std::vector<Values> result;
    for (std::size_t t = 0; t < kShapes.size(); ++t) {
      const auto values = solera::test::values(made, name(t));
      result.emplace_back(values.begin(), values.end());
    }
    return result;
  }

  static inline const std::vector<checkpoint::Shape> kShapes = {{6, 10}, {40}, {3, 2, 20}, {0}};
  TemporaryFolder folder_;
  std::vector<Values> tensors_[4];
};

const std::vector<PcbModel> kWeights = {{0.5}, {1}, {1.5}};

TEST_F(PcbStored, TheWholeModelIsOneGroup) {
  Values base;
  std::vector<Values> tuned(3);
  for (std::size_t t = 0; t < kShapes.size(); ++t) {
    base.insert(base.end(), tensors_[0][t].begin(), tensors_[0][t].end());
    for (std::size_t m = 0; m < 3; ++m)
      tuned[m].insert(tuned[m].end(), tensors_[m + 1][t].begin(), tensors_[m + 1][t].end());
  }
  for (const auto& [text, params] : std::vector<std::pair<std::string, PcbParams>>{
           {"density: 0.2, lambda: 0.7", {.density = 0.2, .lambda = 0.7}},
           {"density: 1, clamp: 0.1, inter: pairwise_tanh",
            {.density = 1, .clamp = 0.1, .inter = InterScore::kPairwiseTanh}},
           {"density: 0.3, inter: sum_tanh_normed", {.density = 0.3, .inter = InterScore::kSumTanhNormed}},
           {"density: 0.4, formulation: paper", paper(0.4)}}) {
    Values expected(base.size());
    pcb(base, spans(tuned), params, kWeights, expected);
    for (const bool miss : {false, true}) {
      weights::detail::select_tuning().miss = miss;
      for (const int threads : {1, 3})
        for (const std::int64_t chunk : {1, 5}) {
          merge(text, threads, chunk);
          Values all;
          for (const Values& tensor : merged()) all.insert(all.end(), tensor.begin(), tensor.end());
          if (params.formulation == PcbFormulation::kCode)
            EXPECT_EQ(all, expected) << text;
          else  // sums run over other blocks
            expect_near(all, {expected.begin(), expected.end()}, 1e-7);
        }
    }
  }
}

TEST_F(PcbStored, GranularityTensorLeavesOutModelsThatDoNotChangeIt) {
  for (const auto& [text, params] : std::vector<std::pair<std::string, PcbParams>>{
           {"density: 0.2", {.density = 0.2}}, {"density: 0.4, formulation: paper", paper(0.4)}}) {
    merge(text + ", granularity: tensor", 2, 3);
    const auto out = merged();
    for (const std::size_t t : {0, 2}) {
      Values expected(tensors_[0][t].size());
      pcb(tensors_[0][t], spans({tensors_[1][t], tensors_[2][t], tensors_[3][t]}), params, kWeights, expected);
      expect_near(out[t], {expected.begin(), expected.end()}, 1e-7);
    }
    // Of tensor 1 two models are left, and N stays 3: all that they do not change is the base's.
    EXPECT_NE(out[1], tensors_[0][1]);
    for (std::size_t i = 0; i < 40; ++i)
      if (tensors_[1][1][i] == 0.5f && tensors_[3][1][i] == 0.5f) {
        EXPECT_EQ(out[1][i], 0.5f);
      }
  }
}

TEST_F(PcbStored, ThreeReadsOfTheInputsAndFourForThePaper) {
  std::uint64_t bytes = 0;
  for (const auto& shape : kShapes) bytes += 4 * 4 * static_cast<std::uint64_t>(checkpoint::element_count(shape));
  EXPECT_EQ(merge("density: 0.2", 1, 1).bytes_read, 3 * bytes);
  EXPECT_EQ(merge("density: 0.2, formulation: paper", 1, 1).bytes_read, 4 * bytes);
}

TEST_F(PcbStored, RefusalsNameModelsAndTensors) {
  EXPECT_EQ(message_of([&] { plan("density: 0.02, granularity: tensor"); }),
            "density 0.02 keeps none of 40 entries (t1); give more than 1/40");
  EXPECT_EQ(message_of([&] { merge("density: 0.004", 1, 1); }),
            "density 0.004 keeps none of 220 entries; give more than 1/220");
  solera::test::write_model(
      path(2), {solera::test::tensor("t0", checkpoint::DType::kF32, kShapes[0], std::vector<double>(60, 0.5)),
                solera::test::tensor("t1", checkpoint::DType::kF32, kShapes[1], std::vector<double>(40, 0.5)),
                solera::test::tensor("t2", checkpoint::DType::kF32, kShapes[2], std::vector<double>(120, 0.5)),
                solera::test::tensor("t3", checkpoint::DType::kF32, kShapes[3], {})});
  EXPECT_EQ(message_of([&] { merge("density: 0.2", 1, 1); }), path(2) + " equals the base; leave it out");
  EXPECT_FALSE(exists(folder_ / "out.safetensors"));
}

TEST_F(PcbStored, AWholeModelTakesOneValue) {
  const auto two = [](const std::string& name, const std::string& a, const std::string& b) {
    return cat(name, ": [{tensor: t1, value: ", a, "}, {value: ", b, "}]");
  };
  for (const auto& [name, a, b] : std::vector<std::array<std::string, 3>>{{"density", "0.5", "0.2"},
                                                                          {"clamp", "0.1", "0"},
                                                                          {"formulation", "paper", "code"},
                                                                          {"inter", "pairwise_tanh", "sum_tanh"}})
    EXPECT_EQ(message_of([&] { plan(two(name, a, b)); }),
              cat("granularity: model takes one \"", name, "\" for all tensors, and it is ", b, " at t0 but ", a,
                  " at t1 (f.yaml); give one value, without gradient, filter or slice, or set granularity: tensor"));
  for (const bool model : {true, false})
    EXPECT_EQ(message_of([&] { plan(two("granularity", model ? "model" : "tensor", model ? "tensor" : "model")); }),
              "\"granularity\" is model for some tensors only at t1 (f.yaml); give all tensors one, or none of them "
              "model");
  merge("density: 0.2", 1, 1);
  const auto plain = merged();
  merge("density: 0.2, " + two("lambda", "0", "1"), 1, 1);
  const auto some = merged();
  EXPECT_EQ(some[0], plain[0]);
  EXPECT_EQ(some[1], tensors_[0][1]);
}

TEST_F(PcbStored, OneModelIsAllowedWithAWarning) {
  const std::string text = cat("{merge_method: pcb, base_model: ", path(0), ", models: [{model: ", path(1), "}]}");
  const Plan one = make_plan(parse_merge_config(parse_yaml(text, "f.yaml")), {.single_file = true});
  ASSERT_EQ(one.warnings.size(), 1u);
  EXPECT_EQ(one.warnings[0], "pcb: one model has nothing to compete with; its own largest changes are kept");
}

}  // namespace
}  // namespace solera::merge
