#include "solera/weights/make_delta.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "solera/base/random.h"
#include "solera/base/text.h"
#include "solera/checkpoint/delta.h"
#include "solera/weights/mask_index.h"
#include "tests/support/support.h"

namespace solera::weights {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Delta;
using checkpoint::NamedBytes;
using test::message_of;
using test::tensor;

class MakeDeltaTest : public ::testing::Test {
 protected:
  Checkpoint model(const std::string& name, const std::vector<NamedBytes>& tensors) {
    return checkpoint::open_checkpoint(test::write_model(folder_ / name + ".safetensors", tensors));
  }
  Delta make(const Checkpoint& base, const Checkpoint& tuned, DeltaOptions options = {}) {
    options.out = out_;
    options.force = true;
    report_ = make_delta(base, tuned, options, pool_, no_progress());
    return checkpoint::open_delta(out_);
  }
  // The entries of a tensor that a delta stores.
  static std::vector<std::int64_t> kept(const Delta& delta, const std::string& name) {
    const checkpoint::DeltaEntry& entry = *delta.find(name);
    std::vector<std::int64_t> result;
    if (entry.change == checkpoint::Change::kNone) return result;
    std::vector<std::byte> scratch;
    for_ones(delta.file().read(*entry.mask, 0, entry.mask->bytes(), scratch),
             [&](std::int64_t i, std::int64_t) { result.push_back(i); });
    return result;
  }
  std::string refusal(const std::function<void()>& action) {
    std::string text = message_of(action);
    for (std::size_t at; (at = text.find(folder_.path())) != std::string::npos;)
      text.replace(at, folder_.path().size(), "HERE");
    return text;
  }

  TemporaryFolder folder_;
  std::string out_ = folder_ / "d.safetensors";
  Pool pool_{3};
  DeltaReport report_;
};

using Indices = std::vector<std::int64_t>;

TEST_F(MakeDeltaTest, WritesTheBytesOfTheFormatsPage) {
  std::vector<double> values(11, 1);
  const Checkpoint base = model("base", {tensor("w", DType::kBF16, {11}, values)});
  values[3] = 2;
  values[9] = -1;
  make(base, model("tuned", {tensor("w", DType::kBF16, {11}, values)}));
  EXPECT_EQ(test::slurp(out_), test::hex_example(SOLERA_SOURCE_DIR "/docs/formats/delta.md"));
}

TEST_F(MakeDeltaTest, KeepsTheLargestMovements) {  // Ansell et al., worked by hand: |d| = .1, .3, 0, .2, .4
  const Checkpoint base = model("base", {tensor("w", DType::kF32, {5}, {0.5, -1, 2, 0, 1.5})});
  const Checkpoint tuned = model("tuned", {tensor("w", DType::kF32, {5}, {0.6, -1.3, 2, 0.2, 1.1})});
  EXPECT_EQ(kept(make(base, tuned, {.sparsity = {.how = Sparsify::kMagnitude, .count = 2, .whole_model = true}}), "w"),
            (Indices{1, 4}));
  EXPECT_EQ(kept(make(base, tuned, {.sparsity = {.how = Sparsify::kMagnitude, .density = 0.6}}), "w"),
            (Indices{1, 3, 4}));
  // The largest fifth is an outlier, the next two fifths stay.
  EXPECT_EQ(kept(make(base, tuned, {.sparsity = {.how = Sparsify::kOutliers, .density = 0.4, .remove = 0.2}}), "w"),
            (Indices{1, 3}));
  EXPECT_EQ(report_.kept, 2);
  EXPECT_EQ(report_.entries, 5);
}

TEST_F(MakeDeltaTest, CountsAreExactAmongTiesAndAcrossTensors) {
  const std::vector<double> zeros(300, 0), ones(300, 1);
  const Checkpoint base =
      model("base", {tensor("a", DType::kBF16, {300}, zeros), tensor("b", DType::kF16, {300}, zeros)});
  const Checkpoint tuned =
      model("tuned", {tensor("a", DType::kBF16, {300}, ones), tensor("b", DType::kF16, {300}, ones)});
  for (const double density : {0.01, 0.29, 0.5, 0.77, 1.0}) {
    const auto k = static_cast<std::int64_t>(density * 600 + 0.5);
    const Delta delta =
        make(base, tuned, {.sparsity = {.how = Sparsify::kMagnitude, .density = density, .whole_model = true}});
    Indices expected(static_cast<std::size_t>(std::min<std::int64_t>(k, 300)));
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(kept(delta, "a"), expected) << density;  // the earlier tensor and the lower index first
    expected.resize(static_cast<std::size_t>(std::max<std::int64_t>(k - 300, 0)));
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(kept(delta, "b"), expected) << density;
    EXPECT_EQ(report_.kept, k);
  }
  make(base, tuned, {.sparsity = {.how = Sparsify::kMagnitude, .density = 0.29}});
  EXPECT_EQ(report_.kept, 87 * 2);  // floor(0.29 * 300) of each tensor
}

TEST_F(MakeDeltaTest, RandomSharesAreScaled) {
  std::vector<double> from(5000), to(5000);
  const RandomStream stream({1, "test"});
  for (std::size_t i = 0; i < from.size(); ++i) {
    from[i] = stream.normal(i);
    to[i] = from[i] + 0.25;  // a change of 0.25 but for rounding
  }
  const Checkpoint base = model("base", {tensor("w", DType::kF64, {50, 100}, from)});
  const Checkpoint tuned = model("tuned", {tensor("w", DType::kF64, {50, 100}, to)});
  struct Case {
    Sparsity sparsity;
    double scale;
  };
  const std::vector<Case> cases = {{{.how = Sparsify::kRandom, .density = 0.25, .seed = 7}, 4},
                                   {{.how = Sparsify::kQ, .density = 0.25, .q = 0.5, .seed = 7}, 2},
                                   {{.how = Sparsify::kQ, .density = 0.25, .q = 0.25, .seed = 7}, 4}};
  std::vector<std::vector<double>> stored;
  for (const Case& one : cases) {
    const Delta delta = make(base, tuned, {.sparsity = one.sparsity});
    const Indices indices = kept(delta, "w");
    const RandomStream draws({7, "delta", 0, "w"});
    Indices expected;
    for (std::int64_t i = 0; i < 5000; ++i)
      if (draws.bernoulli(static_cast<std::uint64_t>(i), 0.25)) expected.push_back(i);
    EXPECT_EQ(indices, expected);
    EXPECT_NEAR(static_cast<double>(indices.size()), 1250, 5 * 31);  // five deviations of sqrt(n p (1 - p)) = 30.6
    const std::vector<double> values = test::values(delta.file(), "w/difference");
    ASSERT_EQ(values.size(), indices.size());
    for (std::size_t k = 0; k < values.size(); ++k) {
      const auto i = static_cast<std::size_t>(indices[k]);
      EXPECT_EQ(values[k], (to[i] - from[i]) * one.scale);
    }
    stored.push_back(values);
  }
  EXPECT_EQ(stored[0], stored[2]);  // q = density is DARE, bit for bit
}

// Deng et al., worked by hand: inputs (1 0 2 0), (0 3 1 1), so mean squares (1, 9, 5, 1) / 2.
TEST_F(MakeDeltaTest, WandaKeepsTheFirstOfEachRow) {
  const std::vector<double> change = {.5, -.1, .3, .2, .05, .4, -.2, .1}, zeros(8, 0);
  const auto make_model = [&](const std::string& name, const std::vector<double>& values, double bias) {
    return model(name, {tensor("fc.bias", DType::kF32, {4}, {0, 0, bias, bias / 2}),
                        tensor("fc.weight", DType::kF32, {2, 4}, values)});
  };
  const Checkpoint base = make_model("base", zeros, 0), tuned = make_model("tuned", change, 1);
  const auto statistics = [&](std::vector<NamedBytes> tensors) {
    tensors.push_back(tensor("n", DType::kI64, {}, {2}));
    return checkpoint::open_statistics(test::write_model(folder_ / "stats.safetensors", tensors), tuned);
  };
  const auto inputs = statistics({tensor("fc.weight.input_sq", DType::kF32, {4}, {.5, 4.5, 2.5, .5})});
  const Sparsity wanda = {.how = Sparsify::kWanda, .density = 0.5, .inputs = &inputs};
  const Delta delta = make(base, tuned, {.sparsity = wanda});
  EXPECT_EQ(kept(delta, "fc.weight"), (Indices{0, 2, 5, 6}));
  EXPECT_EQ(kept(delta, "fc.bias"), (Indices{2, 3}));  // no rows: by magnitude
  EXPECT_EQ(delta.find("fc.weight")->change, checkpoint::Change::kXor);
  // By magnitude alone: four of eight, the tie of .2 goes to the lower index.
  EXPECT_EQ(kept(make(base, tuned, {.sparsity = {.how = Sparsify::kMagnitude, .density = 0.5}}), "fc.weight"),
            (Indices{0, 2, 3, 5}));
  // At least one a row, however low the density; rounded, not cut off.
  const auto with = [&](double density) {
    return kept(make(base, tuned, {.sparsity = {.how = Sparsify::kWanda, .density = density, .inputs = &inputs}}),
                "fc.weight");
  };
  EXPECT_EQ(with(0.01), (Indices{2, 5}));
  EXPECT_EQ(with(0.37), (Indices{2, 5}));
  EXPECT_EQ(with(0.375), (Indices{0, 2, 5, 6}));
  EXPECT_EQ(with(1).size(), 8u);

  EXPECT_EQ(refusal([&] { make(base, tuned, {.sparsity = {.how = Sparsify::kWanda, .density = 0.5}}); }),
            "wanda needs the size of the inputs; add --statistics FILE, measured on the tuned model");
  const auto refused = [&](const std::vector<NamedBytes>& tensors) {
    const auto other = statistics(tensors);
    return refusal(
        [&] { make(base, tuned, {.sparsity = {.how = Sparsify::kWanda, .density = 0.5, .inputs = &other}}); });
  };
  EXPECT_EQ(refused({tensor("fc.weight.input_mean", DType::kF32, {4}, {1, 1, 1, 1})}),
            "no fc.weight.input_sq (HERE/stats.safetensors); measure it, or leave the tensor out with --exclude "
            "'fc.weight', or keep its whole change with --whole");
  EXPECT_EQ(refused({tensor("fc.weight.input_sq", DType::kF32, {4}, {0, 0, 0, 0})}),
            "fc.weight.input_sq is all 0: the layer never ran on the data (HERE/stats.safetensors); measure on data "
            "that reach it, or leave it out with --exclude");
  EXPECT_EQ(refused({tensor("fc.weight.input_sq", DType::kF32, {4}, {1, -1, 0, 0})}),
            "fc.weight.input_sq holds a value that is below 0 or not finite, and a mean square is neither "
            "(HERE/stats.safetensors)");
}

// Rows that reach over pieces of a tensor, against the scores one by one.
TEST_F(MakeDeltaTest, WandaIsThatOfEveryRow) {
  constexpr std::int64_t kRows = 900, kColumns = 411;
  std::vector<double> from(kRows * kColumns), to(from.size()), squares(kColumns);
  const RandomStream stream({5, "test"});
  for (std::size_t i = 0; i < from.size(); ++i) {
    from[i] = stream.normal(i);
    to[i] = from[i] + std::round(4 * stream.normal(from.size() + i)) / 64;  // ties abound
  }
  for (std::size_t j = 0; j < squares.size(); ++j) squares[j] = 1 + static_cast<double>(j % 3);
  const Checkpoint base = model("base", {tensor("w", DType::kF64, {kRows, kColumns}, from)});
  const Checkpoint tuned = model("tuned", {tensor("w", DType::kF64, {kRows, kColumns}, to)});
  const auto inputs = checkpoint::open_statistics(
      test::write_model(folder_ / "stats.safetensors",
                        {tensor("n", DType::kI64, {}, {2}), tensor("w.input_sq", DType::kF64, {kColumns}, squares)}),
      tuned);
  Indices expected;
  for (std::int64_t row = 0; row < kRows; ++row) {
    Indices order(kColumns);
    std::iota(order.begin(), order.end(), row * kColumns);
    const auto score = [&](std::int64_t i) {
      const auto at = static_cast<std::size_t>(i);
      return std::abs(to[at] - from[at]) * std::sqrt(squares[at % kColumns]);
    };
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return score(a) > score(b); });
    order.resize(41);  // round(41.1)
    std::sort(order.begin(), order.end());
    expected.insert(expected.end(), order.begin(), order.end());
  }
  EXPECT_EQ(kept(make(base, tuned, {.sparsity = {.how = Sparsify::kWanda, .density = 0.1, .inputs = &inputs}}), "w"),
            expected);
}

TEST_F(MakeDeltaTest, ColumnsAreWholeAndDivided) {
  const std::vector<double> zeros(40, 0), ones(40, 1);
  const auto make_model = [&](const std::string& name, const std::vector<double>& values) {
    return model(name,
                 {tensor("fc.bias", DType::kF32, {40}, values), tensor("fc.weight", DType::kF32, {4, 10}, values)});
  };
  const Checkpoint base = make_model("base", zeros), tuned = make_model("tuned", ones);
  for (const auto& [density, columns] : {std::pair(0.3, 3), {0.25, 3}, {0.24, 2}, {0.01, 1}, {1.0, 10}}) {
    Sparsity rule = {.how = Sparsify::kColumns, .density = density, .q = 0.5, .seed = 7};
    rule.divisors = {{"fc.bias", 0.25}};
    const Delta delta = make(base, tuned, {.sparsity = rule});
    const Indices indices = kept(delta, "fc.weight");
    ASSERT_EQ(indices.size(), static_cast<std::size_t>(4 * columns)) << density;
    for (int row = 1; row < 4; ++row)
      for (int k = 0; k < columns; ++k)
        EXPECT_EQ(indices[static_cast<std::size_t>(row * columns + k)],
                  indices[static_cast<std::size_t>(k)] + 10 * row);
    for (const double value : test::values(delta.file(), "fc.weight/difference")) EXPECT_EQ(value, 2);
    if (delta.find("fc.bias")->change == checkpoint::Change::kNone) continue;
    // Entry by entry: a bias has no columns.
    for (const double value : test::values(delta.file(), "fc.bias/difference")) EXPECT_EQ(value, 4);
  }
  // Another seed, other columns; every column comes up.
  std::set<std::int64_t> seen;
  for (std::uint64_t seed = 0; seed < 60; ++seed)
    seen.insert(kept(make(base, tuned, {.sparsity = {.how = Sparsify::kColumns, .density = 0.1, .q = 1, .seed = seed}}),
                     "fc.weight")
                    .front());
  EXPECT_EQ(seen.size(), 10u);
}

// The mean of a delta over many masks, here rows of one, is (k / q) times the change.
TEST_F(MakeDeltaTest, RandomSharesAreUnbiased) {
  constexpr std::int64_t kMasks = 20000;
  const std::vector<double> change = {.2, -.4, .6, .8};
  std::vector<double> changes;
  for (std::int64_t i = 0; i < kMasks; ++i) changes.insert(changes.end(), change.begin(), change.end());
  const Checkpoint base = model("base", {tensor("w", DType::kF64, {kMasks, 4}, std::vector<double>(4 * kMasks, 0))});
  const Checkpoint tuned = model("tuned", {tensor("w", DType::kF64, {kMasks, 4}, changes)});
  const Delta delta = make(base, tuned, {.sparsity = {.how = Sparsify::kQ, .density = 0.5, .q = 0.75}});
  const Indices indices = kept(delta, "w");
  const std::vector<double> values = test::values(delta.file(), "w/difference");
  ASSERT_EQ(indices.size(), values.size());
  std::vector<double> sum(4);
  for (std::size_t k = 0; k < indices.size(); ++k) {
    const auto i = static_cast<std::size_t>(indices[k] % 4);
    ASSERT_EQ(values[k], change[i] * (1 / 0.75));
    sum[i] += values[k];
  }
  for (std::size_t i = 0; i < 4; ++i)  // five deviations of the mean of kMasks draws
    EXPECT_NEAR(sum[i] / kMasks, change[i] * 0.5 / 0.75,
                5 * std::abs(change[i]) / 0.75 * 0.5 / std::sqrt(static_cast<double>(kMasks)));
  // All kept and divided by 1: the tuned model.
  const Delta all = make(base, tuned, {.sparsity = {.how = Sparsify::kQ, .density = 1, .q = 1}});
  EXPECT_EQ(test::values(all.file(), "w/difference"), changes);
}

TEST_F(MakeDeltaTest, WholeTensorsBesideSparseOnes) {
  std::vector<double> from(64, 1), to(64, 2);
  const auto make_model = [&](const std::string& name, const std::vector<double>& values) {
    return model(name, {tensor("body", DType::kF32, {64}, values), tensor("head", DType::kF32, {64}, values)});
  };
  const Checkpoint base = make_model("base", from), tuned = make_model("tuned", to);
  for (const Sparsity& rule : {Sparsity{.how = Sparsify::kQ, .density = 0.25, .q = 0.5},
                               Sparsity{.how = Sparsify::kMagnitude, .density = 0.25}}) {
    const Delta delta = make(base, tuned, {.whole = {Pattern("head")}, .sparsity = rule});
    EXPECT_TRUE(delta.find("body")->sparse);
    EXPECT_FALSE(delta.find("head")->sparse);
    EXPECT_EQ(delta.find("head")->change, checkpoint::Change::kXor);
    EXPECT_EQ(delta.find("head")->kept, 64);
  }
  EXPECT_EQ(refusal([&] {
              make(base, tuned,
                   {.whole = {Pattern("haed")}, .sparsity = {.how = Sparsify::kMagnitude, .density = 0.5}});
            }),
            "--whole 'haed' matches no tensor that is compared");
  make(base, base, {.sparsity = {.how = Sparsify::kRandom, .density = 0.5}});
  EXPECT_EQ(report_.warnings,
            std::vector<std::string>{cat(base.path(), " equals ", base.path(), ": the delta changes nothing")});
}

TEST_F(MakeDeltaTest, StoresFewChangesSparseAndManyDense) {
  std::vector<double> few(64, 1), many(64, 2);
  const Checkpoint base = model("base", {tensor("w", DType::kBF16, {64}, few)});
  few[3] = 5;
  EXPECT_TRUE(make(base, model("few", {tensor("w", DType::kBF16, {64}, few)})).find("w")->sparse);
  EXPECT_EQ(report_.kept, 1);
  EXPECT_FALSE(make(base, model("many", {tensor("w", DType::kBF16, {64}, many)})).find("w")->sparse);
  EXPECT_EQ(report_.kept, 64);
  make(base, model("same", {tensor("w", DType::kBF16, {64}, std::vector<double>(64, 1))}));
  EXPECT_EQ(report_.changed, 0u);
}

TEST_F(MakeDeltaTest, AnotherTypeHasDifferencesOnly) {
  const Checkpoint base = model("base", {tensor("w", DType::kBF16, {2}, {1, 2})});
  const Checkpoint tuned = model("tuned", {tensor("w", DType::kF32, {2}, {1.0009765625, 2})});
  EXPECT_EQ(refusal([&] { make(base, tuned); }),
            "w is BF16 in HERE/base.safetensors and F32 in HERE/tuned.safetensors; use --values difference, or convert "
            "one of the models");
  const Delta delta = make(base, tuned, {.values = DeltaValues::kDifference});
  EXPECT_EQ(test::values(delta.file(), "w/difference"), (std::vector<double>{0.0009765625, 0}));
}

TEST_F(MakeDeltaTest, RefusalsLeaveNothing) {
  const Checkpoint base = model("base", {tensor("n", DType::kI64, {}, {1}), tensor("w", DType::kF32, {2}, {1, 2})});
  const auto with = [&](std::vector<NamedBytes> tensors) { return model("other", tensors); };
  const std::vector<std::string> before = {"base.safetensors", "other.safetensors"};
  const auto n = tensor("n", DType::kI64, {}, {1});
  EXPECT_EQ(refusal([&] { make(base, with({n, tensor("w", DType::kF32, {1, 2}, {1, 2})})); }),
            "w is [2] in HERE/base.safetensors and [1, 2] in HERE/other.safetensors; leave it out with --exclude 'w'");
  EXPECT_EQ(refusal([&] { make(base, with({n})); }),
            "w is in HERE/base.safetensors but not in HERE/other.safetensors; leave it out with --exclude 'w'");
  EXPECT_EQ(refusal([&] {
              make(base, with({n, tensor("v", DType::kF32, {1}, {1}), tensor("w", DType::kF32, {2}, {1, 2})}));
            }),
            "v is in HERE/other.safetensors but not in HERE/base.safetensors; leave it out with --exclude 'v'");
  const Checkpoint nan = with({n, tensor("w", DType::kF32, {2}, {1, std::numeric_limits<double>::quiet_NaN()})});
  EXPECT_EQ(refusal([&] { make(base, nan, {.sparsity = {.how = Sparsify::kMagnitude, .density = 0.5}}); }),
            "w holds a value that is not finite among entries 0 to 1 (HERE/other.safetensors); such a model has no "
            "largest changes");
  EXPECT_EQ(refusal([&] { make(base, nan, {.values = DeltaValues::kDifference}); }),
            "w holds a value that is not finite among entries 0 to 1 (HERE/other.safetensors); --values exact stores "
            "any value");
  EXPECT_EQ(list_folder(folder_.path()), before);

  const auto sparsity = [&](Sparsity how) { return refusal([&] { make(base, base, {.sparsity = how}); }); };
  EXPECT_EQ(sparsity({.how = Sparsify::kMagnitude, .density = 0}), "density is 0, outside (0, 1]");
  EXPECT_EQ(sparsity({.how = Sparsify::kMagnitude, .density = 0.1}),
            "a density of 0.1 keeps none of 2 entries; raise --density");
  EXPECT_EQ(sparsity({.how = Sparsify::kMagnitude, .count = 3, .whole_model = true}),
            "3 changes are to be kept, but there are 2 entries to choose from");
  EXPECT_EQ(sparsity({.how = Sparsify::kMagnitude, .count = 0, .whole_model = true}), "count is 0, less than 1");
  EXPECT_EQ(sparsity({.how = Sparsify::kOutliers, .density = 0.8, .remove = 0.3}),
            "density + remove is 1.1, more than 1; lower density or remove");
  EXPECT_EQ(sparsity({.how = Sparsify::kQ, .density = 0.5}),
            "the divisor q is 0, not above 0; q = 0.5 is DARE, a larger q shrinks the changes");
  EXPECT_EQ(refusal([&] { make(base, base, {.sparsity = {.how = Sparsify::kRandom}, .values = DeltaValues::kExact}); }),
            "exact values cannot be multiplied, which random and q do; leave --values exact out");
}

TEST_F(MakeDeltaTest, ASparseDeltaLeavesIntegersAlone) {
  const Checkpoint base = model("base", {tensor("n", DType::kI64, {}, {1}), tensor("w", DType::kF32, {2}, {1, 2})});
  const Checkpoint tuned = model("tuned", {tensor("n", DType::kI64, {}, {2}), tensor("w", DType::kF32, {2}, {1, 5})});
  const Delta delta = make(base, tuned, {.sparsity = {.how = Sparsify::kMagnitude, .density = 0.5}});
  EXPECT_EQ(delta.find("n")->change, checkpoint::Change::kNone);
  EXPECT_EQ(report_.warnings,
            std::vector<std::string>{"1 integer tensor changes, and is left as the base's: a sparse delta chooses "
                                     "among floating-point numbers"});
}

TEST_F(MakeDeltaTest, ItsBytesDependOnNeitherThreadsNorFormat) {
  std::vector<double> from(300000), to(300000);
  const RandomStream stream({3, "test"});
  for (std::size_t i = 0; i < from.size(); ++i) {
    from[i] = stream.normal(i);
    to[i] = from[i] + stream.normal(from.size() + i) * 0.01;
  }
  const Checkpoint base = model("base", {tensor("w", DType::kF32, {300000}, from)});
  const Checkpoint tuned = model("tuned", {tensor("w", DType::kF32, {300000}, to)});
  for (const Sparsify how : {Sparsify::kChanged, Sparsify::kMagnitude, Sparsify::kRandom}) {
    make(base, tuned, {.sparsity = {.how = how}});
    const std::string bytes = test::slurp(out_);
    Pool one(1);
    make_delta(base, tuned, {.out = out_, .force = true, .sparsity = {.how = how}}, one, no_progress());
    EXPECT_EQ(test::slurp(out_), bytes);
  }
}

}  // namespace
}  // namespace solera::weights
