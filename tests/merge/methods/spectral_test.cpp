// TSV-M, Iso-C and Iso-CTS: hand-worked matrices, what the three share, and tensors in files.

#include "solera/merge/methods/spectral.h"

#include <algorithm>
#include <cmath>

#include "solera/base/random.h"
#include "solera/merge/execute.h"
#include "solera/merge/methods/iso_c.h"
#include "solera/merge/methods/iso_cts.h"
#include "solera/merge/methods/tsv_m.h"
#include "solera/weights/spectral.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;
using solera::test::message_of;

template <class Formula, class Params>
Values run(Formula formula, const std::vector<Values>& changes, std::int64_t columns, const Params& params,
           std::vector<SpectralModel> models = {}) {
  models.resize(changes.size());
  const Values base(changes[0].size(), 0.0f);
  Values out(base.size());
  formula(base, spans(changes), columns, params, models, out);
  return out;
}

Values diagonal(std::initializer_list<float> values) {
  Values matrix(values.size() * values.size());
  std::size_t i = 0;
  for (const float v : values) {
    matrix[i * values.size() + i] = v;
    ++i;
  }
  return matrix;
}

Values draws(std::size_t n, std::uint64_t input) {
  const RandomStream stream({.seed = 8, .purpose = "test.spectral", .input = input});
  Values values;
  for (std::size_t i = 0; i < n; ++i) values.push_back(static_cast<float>(stream.normal(i)));
  return values;
}

std::vector<double> doubles(const Values& values) { return {values.begin(), values.end()}; }

std::vector<double> singular_values(const Values& matrix, std::int64_t columns) {
  return weights::decompose(doubles(matrix), std::ssize(matrix) / columns, columns).values;
}

// Two changes of one direction each, whose left ones are 30 degrees apart: made orthogonal, each turns by 30 degrees.
TEST(TsvM, ByHand) {
  const auto s = static_cast<float>(std::sqrt(3) / 2);
  const Values first = {2, 0, 0, 0}, second = {0, 3 * s, 0, 1.5f};
  expect_near(run(tsv_m, {first, second}, 2, TsvParams{}), {2 * s, 3 * 0.5, -2 * 0.5, 3 * s});
  expect_near(run(tsv_m, {first, second}, 2, TsvParams{.lambda = 2}, {{1}, {0.5}}), {4 * s, 1.5, -2, 3 * s});
}

TEST(TsvM, OneModelComesBackWhole) {
  for (const std::int64_t columns : {3, 4, 12}) {
    const Values change = draws(12, 1);
    expect_near(run(tsv_m, {change}, columns, TsvParams{}), doubles(change));
  }
}

TEST(TsvM, OrthogonalChangesAreSummed) {
  expect_near(run(tsv_m, {diagonal({5, 2, 0, 0}), diagonal({0, 0, 3, 1})}, 4, TsvParams{}),
              doubles(diagonal({5, 2, 3, 1})));
  // More than floor(4 / 2) directions: the least is left out.
  expect_near(run(tsv_m, {diagonal({5, 2, 1, 0}), diagonal({0, 0, 0, 3})}, 4, TsvParams{}),
              doubles(diagonal({5, 2, 0, 3})));
}

TEST(TsvM, DirectionsThatRepeatCountOnce) {
  const Values thin = {2, 4, 1, 2};  // of rank 1
  expect_near(run(tsv_m, {thin, thin}, 2, TsvParams{}), doubles(thin));
  // More models than directions: each keeps one.
  expect_near(run(tsv_m, {thin, thin, thin}, 2, TsvParams{}), doubles(thin));
}

TEST(IsoC, ByHand) {
  expect_near(run(iso_c, {diagonal({3, 1})}, 2, IsoCParams{}), {2, 0, 0, 2});
  expect_near(run(iso_c, {diagonal({3, 0}), diagonal({0, -1})}, 2, IsoCParams{.lambda = 0.5}), {1, 0, 0, -1});
  expect_near(run(iso_c, {diagonal({3, 0}), diagonal({0, 1})}, 2, IsoCParams{}, {{1}, {5}}), {4, 0, 0, 4});
}

TEST(IsoC, TheSpectrumIsFlatAndItsSumStays) {
  const Values a = draws(35, 1), b = draws(35, 2);
  Values sum(35);
  for (std::size_t i = 0; i < 35; ++i) sum[i] = a[i] + b[i];
  const auto before = singular_values(sum, 7), after = singular_values(run(iso_c, {a, b}, 7, IsoCParams{}), 7);
  const double mean = std::accumulate(before.begin(), before.end(), 0.0) / 5;
  ASSERT_EQ(after.size(), 5u);
  for (const double v : after) EXPECT_NEAR(v, mean, 1e-5);
}

TEST(IsoC, AFlatChangeStaysAndSoDoesOneOfRankOne) {
  const auto s = static_cast<float>(std::sqrt(0.5));
  const Values rotation = {s, -s, s, s}, thin = {2, 4, 1, 2};
  expect_near(run(iso_c, {rotation}, 2, IsoCParams{}), doubles(rotation));
  expect_near(run(iso_c, {thin}, 2, IsoCParams{}), doubles(thin));
}

TEST(IsoCts, ByHand) {
  // In common (10, 8), then 3 of the first and 2 of the second: 23 / 4.
  const std::vector<Values> changes = {diagonal({5, 4, 3, 0}), diagonal({5, 4, 1, 2})};
  expect_near(run(iso_cts, changes, 4, IsoCtsParams{.common = 0.5}), doubles(diagonal({5.75f, 5.75f, 5.75f, 5.75f})));
  // All in common: (10, 8, 4, 2).
  expect_near(run(iso_cts, changes, 4, IsoCtsParams{.common = 1}), doubles(diagonal({6, 6, 6, 6})));
}

TEST(IsoCts, AllInCommonIsIsoC) {
  const std::vector<Values> changes = {draws(48, 1), draws(48, 2), draws(48, 3)};
  expect_near(run(iso_cts, changes, 6, IsoCtsParams{.common = 1}), doubles(run(iso_c, changes, 6, IsoCParams{})));
}

TEST(IsoCts, TheSpectrumIsFlat) {
  const std::vector<Values> changes = {draws(80, 1), draws(80, 2)};
  const auto values = singular_values(run(iso_cts, changes, 8, IsoCtsParams{.common = 0.5}), 8);
  ASSERT_EQ(values.size(), 8u);
  for (const double v : values) EXPECT_NEAR(v, values[0], 1e-5);
}

// What lies in the common directions leaves rounding behind, which is no direction.
TEST(IsoCts, ChangesWithoutDirectionsOfTheirOwn) {
  const Values a = {1, -2, 3, 1}, b = {2, 1, -1, 4};  // whose products are exact
  Values thin;
  std::vector<double> twice;
  for (const float x : a)
    for (const float y : b) {
      thin.push_back(x * y);
      twice.push_back(2.0 * static_cast<double>(x * y));
    }
  expect_near(run(iso_cts, {thin, thin}, 4, IsoCtsParams{.common = 0.5}), twice, 1e-5);
  // Nothing in common: the direction of both counts once.
  expect_near(run(iso_cts, {{2, 4, 1, 2}, {2, 4, 1, 2}}, 2, IsoCtsParams{.common = 0}), {2, 4, 1, 2});
}

TEST(IsoCts, DirectionsPerTask) {
  EXPECT_EQ(directions_per_task(0.8, 10, 3), 1);    // 2 / 3 rounded
  EXPECT_EQ(directions_per_task(0.8, 100, 8), 2);   // 20 / 8: a half goes to even
  EXPECT_EQ(directions_per_task(0.72, 100, 8), 4);  // 28 / 8
  EXPECT_EQ(directions_per_task(0, 5, 3), 1);       // 5 / 3 would be 2, and 6 directions
  EXPECT_EQ(directions_per_task(1, 5, 3), 0);
  EXPECT_EQ(directions_per_task(0.2, 3, 8), 0);
}

TEST(Spectral, NoChangeGivesTheBase) {
  const Values base = {1, -0.0f, 3, 4};
  const std::vector<SpectralModel> models(2);
  Values out(4);
  tsv_m(base, spans({base, base}), 2, {}, models, out);
  EXPECT_EQ(out, base);
  iso_c(base, spans({base, base}), 2, {}, models, out);
  EXPECT_EQ(out, base);
  iso_cts(base, spans({base, base}), 2, {}, models, out);
  EXPECT_EQ(out, base);
}

TEST(Spectral, CommonOutsideItsRangeIsRefused) {
  EXPECT_EQ(message_of([] { run(iso_cts, {{1, 0, 0, 1}}, 2, IsoCtsParams{.common = 1.5}); }),
            "\"common\" is 1.5, outside [0, 1]");
}

// Every method over tensors in files: matrices by the formula, all else and what `spectral: false` says by the mean.
class SpectralStored : public testing::TestWithParam<std::string> {};

TEST_P(SpectralStored, MatricesByTheFormulaAndTheRestByTheMean) {
  const TemporaryFolder folder;
  const std::vector<checkpoint::Shape> shapes = {{5, 8}, {6}, {3, 2, 4}, {4, 3}};
  const char* names[] = {"layer.weight", "layer.bias", "conv.weight", "embed.weight"};
  std::vector<Values> tensors[3];
  for (std::size_t m = 0; m < 3; ++m) {
    std::vector<checkpoint::NamedBytes> stored;
    for (std::size_t t = 0; t < shapes.size(); ++t) {
      tensors[m].push_back(draws(static_cast<std::size_t>(checkpoint::element_count(shapes[t])), 10 * m + t));
      stored.push_back(solera::test::tensor(names[t], checkpoint::DType::kF32, shapes[t], doubles(tensors[m].back())));
    }
    solera::test::write_model(folder / cat("m", m, ".safetensors"), stored);
  }
  const std::string text =
      cat("{merge_method: ", GetParam(), ", base_model: ", folder / "m0.safetensors",
          ", parameters: {lambda: 0.7, spectral: [{filter: embed, value: false}, {value: true}]}, models: [{model: ",
          folder / "m1.safetensors", "}, {model: ", folder / "m2.safetensors", ", parameters: {weight: 0.5}}]}");
  Plan plan = make_plan(parse_merge_config(parse_yaml(text, "f.yaml")), {.single_file = true});
  const std::string out = folder / "out.safetensors";
  execute(plan, {.out = out, .threads = 3, .block = 16, .blocks_per_chunk = 1}, no_progress());
  const auto made = checkpoint::open_checkpoint(out);

  const std::vector<SpectralModel> models = {{1}, {0.5}};
  for (std::size_t t = 0; t < shapes.size(); ++t) {
    const auto values = solera::test::values(made, names[t]);
    const Values &base = tensors[0][t], &a = tensors[1][t], &b = tensors[2][t];
    Values expected(base.size());
    if (t == 0) {
      if (GetParam() == "tsv_m") tsv_m(base, spans({a, b}), 8, {.lambda = 0.7}, models, expected);
      if (GetParam() == "iso_c") iso_c(base, spans({a, b}), 8, {.lambda = 0.7}, models, expected);
      if (GetParam() == "iso_cts") iso_cts(base, spans({a, b}), 8, {.lambda = 0.7}, models, expected);
      EXPECT_EQ(Values(values.begin(), values.end()), expected);
    } else {
      for (std::size_t i = 0; i < base.size(); ++i)
        EXPECT_NEAR(values[i], base[i] + 0.35 * ((a[i] - base[i]) + 0.5 * (b[i] - base[i])), 1e-6) << names[t];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SpectralStored, testing::Values("tsv_m", "iso_c", "iso_cts"),
                         [](const auto& name) { return name.param; });

}  // namespace
}  // namespace solera::merge
