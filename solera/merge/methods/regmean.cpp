#include "solera/merge/methods/regmean.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/merge/methods/weighted.h"
#include "solera/weights/dense.h"

namespace solera::merge {
namespace {

constexpr std::int64_t kGramRows = 256;  // of a Gram matrix in memory at a time

void check(const RegMeanParams& params, std::span<const RegMeanModel> models) {
  if (!in_range(params.alpha, "[0, 1]")) throw usage_error(cat("\"alpha\" is ", params.alpha, ", outside [0, 1]"));
  if (params.ridge < 0) throw usage_error(cat("\"ridge\" is ", params.ridge, ", less than 0"));
  require_shares(models);
}

// Loads rows [first, first + count) of model i's weight or Gram matrix.
using Rows = std::function<void(std::size_t i, std::int64_t first, std::int64_t count, double* target)>;

struct Problem {
  std::int64_t out = 0, in = 0;
  Rows weights, grams;
  std::function<std::string(std::size_t)> gram_name;
  std::string file;  // of the first model's statistics, in messages about the sum
};

std::size_t size_of(std::int64_t rows, std::int64_t columns) { return static_cast<std::size_t>(rows * columns); }

// Rows of G_i become those of w_i G_i'; the sum of their diagonal entries is returned.
double scale_rows(const Problem& p, std::size_t i, std::int64_t first, std::int64_t count, double weight, double alpha,
                  double* rows) {
  double trace = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    double* row = rows + k * p.in;
    const double diagonal = row[first + k];
    if (diagonal < 0)
      throw input_error(cat(p.gram_name(i), " is ", diagonal, " at [", first + k, ", ", first + k,
                            "], and a mean square is never negative"),
                        p.file);
    for (std::int64_t x = 0; x < p.in; ++x) row[x] = row[x] * (weight * alpha);
    row[first + k] = diagonal * weight;
    trace = trace + row[first + k];
  }
  return trace;
}

void require_symmetric(const Problem& p, const std::vector<double>& sum) {
  constexpr double kRounding = 1e-4;  // of entries that were stored as bfloat16 after a product in another order
  for (std::int64_t i = 0; i < p.in; ++i)
    for (std::int64_t j = i + 1; j < p.in; ++j) {
      const double upper = sum[size_of(i, p.in) + static_cast<std::size_t>(j)];
      const double lower = sum[size_of(j, p.in) + static_cast<std::size_t>(i)];
      const double scale = std::sqrt(sum[size_of(i, p.in + 1)] * sum[size_of(j, p.in + 1)]);
      if (std::abs(upper - lower) > kRounding * scale)
        throw input_error(cat("the sum over the models of ", p.gram_name(0), " is not symmetric: ", upper, " at [", i,
                              ", ", j, "], ", lower, " at [", j, ", ", i, "]"),
                          p.file);
    }
}

// The solution, [out, in].
std::vector<double> solve(Pool& pool, const Problem& p, const RegMeanParams& params,
                          std::span<const RegMeanModel> models) {
  std::vector<double> sum(size_of(p.in, p.in)), result(size_of(p.out, p.in)), weights(size_of(p.out, p.in));
  std::vector<double> gram(size_of(std::min(kGramRows, p.in), p.in));
  double trace = 0, shares = 0;
  for (std::size_t i = 0; i < models.size(); ++i) {
    shares += models[i].weight;
    p.weights(i, 0, p.out, weights.data());
    for (std::int64_t first = 0; first < p.in; first += kGramRows) {
      throw_if_stopped();
      const std::int64_t count = std::min(kGramRows, p.in - first);
      p.grams(i, first, count, gram.data());
      trace += scale_rows(p, i, first, count, models[i].weight, params.alpha, gram.data());
      weights::add_product(pool, {.m = p.out,
                                  .n = p.in,
                                  .depth = count,
                                  .a = weights.data() + first,
                                  .a_row = p.in,
                                  .b = gram.data(),
                                  .b_row = p.in,
                                  .c = result.data(),
                                  .c_row = p.in});
      double* target = sum.data() + first * p.in;
      for (std::size_t x = 0; x < size_of(count, p.in); ++x) target[x] = target[x] + gram[x];
    }
  }
  require_symmetric(p, sum);
  const double ridge = params.ridge * trace / (shares * static_cast<double>(p.in));
  if (ridge > 0)
    for (std::size_t i = 0; i < models.size(); ++i) {
      p.weights(i, 0, p.out, weights.data());
      const double factor = ridge * models[i].weight;
      for (std::size_t x = 0; x < result.size(); ++x) result[x] = result[x] + factor * weights[x];
      for (std::int64_t k = 0; k < p.in; ++k) sum[size_of(k, p.in + 1)] += factor;
    }
  if (const auto bad = weights::factor_cholesky(pool, sum.data(), p.in))
    throw input_error(
        cat("the sum over the models of ", p.gram_name(0), " is not positive definite (input feature ", *bad, ")"),
        p.file, "raise ridge, lower alpha, or measure on more examples");
  weights::solve_cholesky(pool, sum.data(), p.in, result.data(), p.out);
  return result;
}

// Rows of a stored tensor, by all threads.
Rows stored_rows(const weights::Engine& engine, std::span<const weights::Operand> operands, std::int64_t columns) {
  return [&engine, operands, columns](std::size_t i, std::int64_t first, std::int64_t count, double* target) {
    const weights::Operand& operand = operands[i];
    const std::int64_t step = std::max<std::int64_t>(1, engine.blocking.block / columns);
    engine.pool->for_each((count + step - 1) / step, [&](std::int64_t piece, int) {
      const std::int64_t row = piece * step, rows = std::min(step, count - row);
      weights::load_range<double>(engine, operand, (first + row) * columns, rows * columns, target + row * columns);
    });
    operand.tensor->source->check();
    if (engine.on_bytes_read) engine.on_bytes_read(checkpoint::byte_count(operand.tensor->dtype, count * columns));
  };
}

class RegMeanProgram final : public TypedProgram<RegMeanParams, RegMeanModel> {
 public:
  RegMeanProgram() : TypedProgram(nullptr, check) {}

  void bind(std::size_t index, const Binding& binding) override {
    TypedProgram::bind(index, binding);
    std::uint64_t numbers = 0;
    if (binding.statistics > 0) {
      const auto in = static_cast<std::uint64_t>(checkpoint::input_features(binding.shape));
      const auto all = static_cast<std::uint64_t>(checkpoint::element_count(binding.shape));
      // Besides the three matrices of solve(): rows of a Gram matrix, and a transposed panel of solve_cholesky().
      numbers = in * in + 2 * all + in * (static_cast<std::uint64_t>(kGramRows) + 64);
    }
    extra_.push_back(numbers * sizeof(double));
  }

  std::uint64_t extra_memory(std::size_t index) const override { return extra_[index]; }

  void merge(std::size_t index, const TensorPass& pass) override {
    if (pass.statistics == 0) return merge_by_shares(pass, models(index));
    if (pass.elements() == 0) return;
    const std::int64_t in = checkpoint::input_features(pass.shape);
    const auto grams = pass.statistic_operands();
    const Problem problem{pass.shape.front(),
                          in,
                          stored_rows(pass.engine, pass.model_operands(), in),
                          stored_rows(pass.engine, grams, in),
                          [grams](std::size_t i) { return grams[i].tensor->name; },
                          grams.front().tensor->source->path()};
    const auto result = solve(*pass.engine.pool, problem, params(index), models(index));
    const std::int64_t n = pass.elements(), piece = pass.engine.blocking.block;
    pass.engine.pool->for_each((n + piece - 1) / piece, [&](std::int64_t i, int) {
      const std::int64_t first = i * piece, count = std::min(piece, n - first);
      pass.sink->write(
          first, std::span(result).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)), true);
    });
  }

 private:
  std::vector<std::uint64_t> extra_;
};

}  // namespace

void regmean(std::span<const std::span<const float>> inputs, std::span<const std::span<const float>> grams,
             std::int64_t in, const RegMeanParams& params, std::span<const RegMeanModel> models, std::span<float> out) {
  check(params, models);
  const auto rows_of = [in](std::span<const std::span<const float>> matrices) -> Rows {
    return [matrices, in](std::size_t i, std::int64_t first, std::int64_t count, double* target) {
      std::copy_n(matrices[i].data() + first * in, count * in, target);
    };
  };
  Pool pool(1);
  const Problem problem{static_cast<std::int64_t>(out.size()) / in,           in, rows_of(inputs), rows_of(grams),
                        [](std::size_t i) { return cat("Gram matrix ", i); }, ""};
  const auto result = solve(pool, problem, params, models);
  std::transform(result.begin(), result.end(), out.begin(), [](double v) { return static_cast<float>(v); });
}

Method regmean_method() {
  return {.name = "regmean",
          .summary = "weights whose outputs are nearest to each model's on its own inputs",
          .citation = "Jin et al. 2023, arXiv 2212.09849",
          .base = BasePolicy::kNone,
          .min_models = 1,
          .program = []() -> std::unique_ptr<Program> { return std::make_unique<RegMeanProgram>(); },
          .parameters = described_fields<RegMeanParams>,
          .model_parameters = described_fields<RegMeanModel>,
          .statistics = StatisticsUse{"statistics", checkpoint::Statistic::kGram}};
}

}  // namespace solera::merge
