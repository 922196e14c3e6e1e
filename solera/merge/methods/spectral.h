// What the merges by singular vectors have in common (tsv_m, iso_c, iso_cts): matrices of changes in memory, one tensor
// at a time, and the mean for everything that is no matrix.
//
//   out = base + lambda M(w_1 tau_1, ..., w_N tau_N)    a tensor of two dimensions, [rows, columns], unless spectral:
//   false out = base + lambda sum_i w_i tau_i / N             any other; also where a value that is no number is let
//   through
//
// Float64 for matrices, rounded once. The same bits for any number of threads.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "solera/merge/method.h"

namespace solera::merge {

struct SpectralModel {
  double weight = 1.0;
};
template <class Visitor>
void fields(SpectralModel& m, Visitor&& field) {
  field("weight", m.weight, "factor on this model's changes", "finite");
}

// Parameters that all three have.
template <class Params, class Visitor>
void spectral_fields(Params& p, Visitor&& field) {
  field("lambda", p.lambda, "factor on the merged change", "finite").alias("alpha");
  field("spectral", p.spectral, "false: a matrix, too, gets the mean of the changes (embeddings, say)");
}

// The weighted changes of one tensor.
struct MatrixChanges {
  Pool& pool;
  std::int64_t rows = 0, columns = 0;
  std::size_t tasks = 0;
  std::function<std::vector<double>(std::size_t task)> change;  // [rows, columns]
  std::vector<double> sum() const;
};

// M of the changes; empty for no change at all.
template <class Params>
using MatrixFormula = std::vector<double> (*)(const MatrixChanges& changes, const Params& params);

// c [rows, columns] = left [rows, depth] right [depth, columns].
std::vector<double> product(Pool& pool, const std::vector<double>& left, const std::vector<double>& right,
                            std::int64_t rows, std::int64_t columns);

// Columns side by side, and rows one below the other, of the decompositions of several matrices.
struct Directions {
  explicit Directions(std::int64_t of_rows, std::int64_t of_columns) : rows(of_rows), columns(of_columns) {}
  void add(const std::vector<double>& left, const std::vector<double>& right, std::span<const double> some_values);
  std::int64_t count() const { return static_cast<std::int64_t>(values.size()); }
  // Both made orthonormal: the nearest isometries. left [rows, count], right [count, columns].
  std::vector<double> orthonormal_left() const;
  std::vector<double> orthonormal_right() const;

  std::int64_t rows, columns;
  std::vector<double> left_transposed, right;  // [count, rows] and [count, columns]
  std::vector<double> values;
};

namespace detail {
std::uint64_t spectral_memory(std::span<const std::int64_t> shape, std::size_t models);
void merge_mean(const TensorPass& pass, double lambda, std::span<const SpectralModel> models);
// False, and nothing written, if a change is not finite.
bool merge_matrix(const TensorPass& pass, double lambda, std::span<const SpectralModel> models,
                  const std::function<std::vector<double>(const MatrixChanges&)>& formula);
void merge_in_memory(std::span<const float> base, std::span<const std::span<const float>> tuned, std::int64_t columns,
                     double lambda, std::span<const SpectralModel> models,
                     const std::function<std::vector<double>(const MatrixChanges&)>& formula, std::span<float> out);
}  // namespace detail

// The formula for one matrix in memory; `out` may be `base` itself.
template <class Params>
void merge_in_memory(MatrixFormula<Params> formula, std::span<const float> base,
                     std::span<const std::span<const float>> tuned, std::int64_t columns, const Params& params,
                     std::span<const SpectralModel> models, std::span<float> out) {
  detail::merge_in_memory(
      base, tuned, columns, params.lambda, models,
      [&](const MatrixChanges& changes) { return formula(changes, params); }, out);
}

template <class Params>
class SpectralProgram final : public TypedProgram<Params, SpectralModel> {
  using Base = TypedProgram<Params, SpectralModel>;

 public:
  explicit SpectralProgram(MatrixFormula<Params> formula, CheckFunction<Params, SpectralModel> checker = nullptr)
      : Base(nullptr, checker), formula_(formula) {}

  void bind(std::size_t index, const Binding& binding) override {
    Base::bind(index, binding);
    const bool matrix = Base::params(index).spectral && binding.shape.size() == 2;
    memory_.push_back(matrix ? detail::spectral_memory(binding.shape, binding.models.size()) : 0);
  }
  std::uint64_t extra_memory(std::size_t index) const override { return memory_[index]; }

  void merge(std::size_t index, const TensorPass& pass) override {
    const Params& params = Base::params(index);
    const auto formula = [&](const MatrixChanges& changes) { return formula_(changes, params); };
    if (memory_[index] > 0 && params.lambda != 0 &&
        detail::merge_matrix(pass, params.lambda, Base::models(index), formula))
      return;
    detail::merge_mean(pass, params.lambda, Base::models(index));
  }

 private:
  MatrixFormula<Params> formula_;
  std::vector<std::uint64_t> memory_;
};

}  // namespace solera::merge
