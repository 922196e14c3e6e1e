#include "solera/weights/low_rank.h"

#include <algorithm>
#include <cmath>

#include "solera/base/random.h"
#include "solera/weights/combine.h"
#include "solera/weights/make_adapter.h"
#include "tests/weights/fixture.h"

namespace solera::weights {
namespace {

using test::message_of;
using test::Model;
using test::tensor;

using Values = std::vector<double>;

Values product(const LowRank& factors) {
  Values sum(static_cast<std::size_t>(factors.rows * factors.columns));
  factors.add(0, factors.rows * factors.columns, 1, sum.data());
  return sum;
}

// A matrix of that rank whose singular values fall by `decay` from one to the next, roughly.
Values matrix_of_rank(std::int64_t rows, std::int64_t columns, std::int64_t rank, double decay, std::uint64_t seed) {
  const RandomStream stream({seed, "test"});
  Values result(static_cast<std::size_t>(rows * columns));
  double weight = 1;
  for (std::int64_t k = 0; k < rank; ++k, weight *= decay)
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j)
        result[static_cast<std::size_t>(i * columns + j)] +=
            weight * stream.normal(static_cast<std::uint64_t>(k * 100000 + i)) *
            stream.normal(static_cast<std::uint64_t>(k * 100000 + 50000 + j));
  return result;
}

class BestFactorsTest : public ::testing::Test {
 protected:
  BestFactors find(const Values& change, std::int64_t rows, std::int64_t columns, const RankOptions& options) {
    const Values zeros(change.size(), 0);
    const Model base({tensor("w", DType::kF64, {rows, columns}, zeros)}),
        tuned({tensor("w", DType::kF64, {rows, columns}, change)});
    return best_factors({&pool_}, base.operand("w"), tuned.operand("w"), options);
  }
  static double error_of(const BestFactors& best, const Values& change) {
    const Values made = product(best.factors);
    double sum = 0;
    for (std::size_t i = 0; i < change.size(); ++i) sum += (made[i] - change[i]) * (made[i] - change[i]);
    return std::sqrt(sum);
  }
  Pool pool_{2};
};

TEST(LowRank, AddsAnyRunOfEntries) {
  const LowRank factors{3, 4, 2, {1, 0, 0, 1, 2, -1}, {1, 2, 3, 4, 5, 6, 7, 8}};
  const Values whole = product(factors);
  EXPECT_EQ(whole, (Values{1, 2, 3, 4, 5, 6, 7, 8, -3, -2, -1, 0}));
  for (std::int64_t first = 0; first < 12; ++first)
    for (std::int64_t count = 0; count <= 12 - first; ++count) {
      Values part(static_cast<std::size_t>(count), 1);
      factors.add(first, count, 2, part.data());
      for (std::size_t i = 0; i < part.size(); ++i)
        EXPECT_EQ(part[i], 1 + 2 * whole[static_cast<std::size_t>(first) + i]);
    }
}

TEST_F(BestFactorsTest, AreTheLeadingSingularVectors) {  // diag(3, 2, 1) has them on the axes
  const Values diagonal = {3, 0, 0, 0, 2, 0, 0, 0, 1};
  const BestFactors best = find(diagonal, 3, 3, {.rank = 2});
  const Values made = product(best.factors), expected = {3, 0, 0, 0, 2, 0, 0, 0, 0};
  for (std::size_t i = 0; i < made.size(); ++i) EXPECT_NEAR(made[i], expected[i], 1e-14);
  EXPECT_DOUBLE_EQ(best.squared_norm, 14);
  EXPECT_NEAR(best.kept, 13, 1e-13);
}

TEST_F(BestFactorsTest, OfTheTrueRankReproduceTheChange) {
  for (const auto& [rows, columns] : {std::pair{40, 30}, std::pair{30, 40}, std::pair{300, 260}, std::pair{230, 400}}) {
    const Values change = matrix_of_rank(rows, columns, 4, 0.5, 1);
    for (const std::int64_t rank : {4, 7}) {
      const BestFactors best = find(change, rows, columns, {.rank = rank});
      EXPECT_LE(error_of(best, change), 1e-12 * std::sqrt(best.squared_norm)) << rows << " " << rank;
      EXPECT_NEAR(best.kept / best.squared_norm, 1, 1e-12);
    }
  }
}

TEST_F(BestFactorsTest, OfARandomizedSearchAreNearlyTheBest) {
  const Values change = matrix_of_rank(240, 250, 60, 0.9, 2);
  const BestFactors best = find(change, 240, 250, {.rank = 8}),
                    exact = find(change, 240, 250, {.rank = 8, .exact_below = 1000});
  EXPECT_GE(error_of(best, change), error_of(exact, change));  // Eckart and Young: none is better
  EXPECT_LE(error_of(best, change), 1.01 * error_of(exact, change));
  EXPECT_NEAR(error_of(exact, change), std::sqrt(exact.squared_norm - exact.kept), 1e-9);
}

TEST_F(BestFactorsTest, OfNoChangeAreZero) {
  const BestFactors best = find(Values(12, 0), 3, 4, {.rank = 2});
  EXPECT_EQ(best.squared_norm, 0);
  EXPECT_EQ(product(best.factors), Values(12, 0));
}

TEST_F(BestFactorsTest, OfARankAboveTheSmallerSideArePadded) {
  const Values change = {1, 2, 3, 4, 5, 6};
  const BestFactors best = find(change, 2, 3, {.rank = 5});
  EXPECT_EQ(best.factors.left.size(), 10u);
  EXPECT_LE(error_of(best, change), 1e-14);
}

class MakeAdapterTest : public ::testing::Test {
 protected:
  checkpoint::Checkpoint model(const std::string& name, const std::vector<checkpoint::NamedBytes>& tensors) {
    return checkpoint::open_checkpoint(test::write_model(folder_ / name + ".safetensors", tensors));
  }
  checkpoint::Adapter make(const checkpoint::Checkpoint& base, const checkpoint::Checkpoint& tuned,
                           AdapterOptions options) {
    options.out = folder_ / "l";
    options.force = true;
    options.is_embedding = [](const std::string& name) { return name.starts_with("emb"); };
    report_ = make_adapter(base, tuned, options, pool_, no_progress());
    return checkpoint::open_adapter(folder_ / "l");
  }
  TemporaryFolder folder_;
  Pool pool_{2};
  AdapterReport report_;
};

TEST_F(MakeAdapterTest, RoundTripsEveryKindOfMatrix) {
  const std::vector<std::pair<std::string, checkpoint::Shape>> shapes = {
      {"conv.weight", {4, 3, 2}}, {"emb.weight", {9, 4}}, {"layers.0.q.weight", {6, 5}}, {"layers.1.q.weight", {5, 8}}};
  std::vector<checkpoint::NamedBytes> from, to;
  std::uint64_t seed = 10;
  for (const auto& [name, shape] : shapes) {
    const std::int64_t rows = shape[0], columns = checkpoint::element_count(shape) / rows;
    const Values start = matrix_of_rank(rows, columns, 3, 1, seed++),
                 change = matrix_of_rank(rows, columns, 2, 1, seed++);
    Values end = start;
    for (std::size_t i = 0; i < end.size(); ++i) end[i] += change[i];
    from.push_back(tensor(name, DType::kF32, shape, start));
    to.push_back(tensor(name, DType::kF32, shape, end));
  }
  const auto base = model("base", from), tuned = model("tuned", to);
  for (const bool turned : {false, true}) {
    const checkpoint::Adapter adapter = make(base, tuned, {.rank = {.rank = 2}, .fan_in_fan_out = turned});
    EXPECT_EQ(adapter.modules().size(), 4u);
    EXPECT_EQ(adapter.config().target_modules, (std::vector<std::string>{"conv", "emb", "q"}));
    EXPECT_EQ(adapter.file().find("base_model.model.emb.lora_embedding_A")->shape, (checkpoint::Shape{2, 9}));
    EXPECT_EQ(adapter.file().find("base_model.model.conv.lora_A.weight")->shape, (checkpoint::Shape{2, 3, 2}));
    EXPECT_EQ(adapter.file().find("base_model.model.conv.lora_B.weight")->shape, (checkpoint::Shape{4, 2, 1}));
    EXPECT_EQ(adapter.file().find("base_model.model.layers.0.q.lora_A.weight")->shape,
              (checkpoint::Shape{2, turned ? 6 : 5}));
    EXPECT_NEAR(report_.kept, 1, 1e-10);
    std::vector<Term> terms;
    terms.push_back(open_term(folder_ / "l", 1));
    combine(base, std::move(terms), {.out = folder_ / "made.safetensors", .force = true}, pool_, no_progress());
    const auto made = checkpoint::open_checkpoint(folder_ / "made.safetensors");
    for (const auto& [name, shape] : shapes) {
      const Values is = test::values(made, name), should = test::values(tuned, name);
      // Factors and results are float32: a few roundings of values of at most about 10.
      for (std::size_t i = 0; i < is.size(); ++i) EXPECT_NEAR(is[i], should[i], 1e-5) << name << " " << i;
    }
  }
}

TEST_F(MakeAdapterTest, NamesOnlyTheModulesThatChange) {
  const auto base =
      model("base", {tensor("a.0.weight", DType::kF32, {1, 1}, {1}), tensor("a.q.weight", DType::kF32, {1, 1}, {1}),
                     tensor("b.q.weight", DType::kF32, {1, 1}, {1}), tensor("n.bias", DType::kF32, {1}, {1})});
  const auto tuned =
      model("tuned", {tensor("a.0.weight", DType::kF32, {1, 1}, {3}), tensor("a.q.weight", DType::kF32, {1, 1}, {2}),
                      tensor("b.q.weight", DType::kF32, {1, 1}, {1}), tensor("n.bias", DType::kF32, {1}, {2})});
  EXPECT_EQ(make(base, tuned, {.rank = {.rank = 1}}).config().target_modules,
            (std::vector<std::string>{"a.0", "a.q"}));  // "q" would name b.q, "0" other layers
  EXPECT_EQ(report_.warnings,
            std::vector<std::string>{"1 tensor changes but is no matrix, and LoRA cannot say so: left out"});
  EXPECT_NEAR(report_.kept, 5.0 / 6, 1e-12);  // 4 + 1 of 4 + 1 + 1
}

TEST_F(MakeAdapterTest, Refusals) {
  const auto base = model("base", {tensor("q.weight", DType::kF32, {1, 1}, {1})});
  EXPECT_EQ(message_of([&] { make(base, base, {.rank = {.rank = 0}}); }), "the rank is 0, less than 1");
  EXPECT_EQ(message_of([&] { make(base, base, {.rank = {.rank = 1}}); }),
            cat("no matrix changes, so there is nothing to store as low-rank factors (", base.path(), ")"));
  EXPECT_FALSE(exists(folder_ / "l"));
}

}  // namespace
}  // namespace solera::weights
