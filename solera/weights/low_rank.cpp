#include "solera/weights/low_rank.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/random.h"
#include "solera/weights/eigen.h"
#include "solera/weights/vector.h"

namespace solera::weights {

namespace {

// The change D = tuned - base as blocks of whole rows.
class Change {
 public:
  Change(const Engine& engine, const Operand& base, const Operand& tuned)
      : engine_(engine), base_(base), tuned_(tuned), rows_(base.tensor->shape[0]) {
    columns_ = rows_ == 0 ? 0 : base.tensor->elements() / rows_;
    engine_.allow_nonfinite = false;
  }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }

  // f(first row, block) from top to bottom.
  void for_blocks(const std::function<void(std::int64_t, const Matrix&)>& f) const {
    const std::int64_t step = std::max<std::int64_t>(1, (1 << 18) / columns_);
    Matrix base, change;
    for (std::int64_t first = 0; first < rows_; first += step) {
      throw_if_stopped();
      const std::int64_t n = std::min(step, rows_ - first), count = n * columns_;
      base.resize(n, columns_);
      change.resize(n, columns_);
      load_range(engine_, base_, first * columns_, count, base.data());
      load_range(engine_, tuned_, first * columns_, count, change.data(), base.data());
      f(first, change);
    }
    base_.tensor->source->check();
    tuned_.tensor->source->check();
  }

  Matrix whole() const {
    Matrix all(rows_, columns_);
    for_blocks([&](std::int64_t first, const Matrix& block) { all.middleRows(first, block.rows()) = block; });
    return all;
  }
  Matrix times(const Matrix& right) const {
    Matrix product(rows_, right.cols());
    for_blocks([&](std::int64_t first, const Matrix& block) {
      product.middleRows(first, block.rows()).noalias() = block * right;
    });
    return product;
  }
  Matrix transposed_times(const Matrix& right) const {
    Matrix product = Matrix::Zero(columns_, right.cols());
    for_blocks([&](std::int64_t first, const Matrix& block) {
      product.noalias() += block.transpose() * right.middleRows(first, block.rows());
    });
    return product;
  }

 private:
  Engine engine_;
  Operand base_, tuned_;
  std::int64_t rows_, columns_ = 0;
};

Matrix orthonormal(const Matrix& m) {
  Eigen::HouseholderQR<Matrix> qr(m);
  return qr.householderQ() * Matrix::Identity(m.rows(), std::min(m.rows(), m.cols()));
}

double squared_norm(const Change& change) {
  LaneSum sum;
  change.for_blocks(
      [&](std::int64_t, const Matrix& block) { sum.add_product(block.data(), block.data(), block.size()); });
  return sum.total();
}

// D = basis (basis^T D) up to what the basis leaves out.
Matrix find_basis(const Change& change, const RankOptions& options, const std::string& name) {
  const std::int64_t l = options.rank + options.oversample;
  Matrix test(change.columns(), l);
  const RandomStream stream({options.seed, "lowrank", 0, name});
  for (std::int64_t i = 0; i < test.size(); ++i) test.data()[i] = stream.normal(static_cast<std::uint64_t>(i));
  Matrix basis = orthonormal(change.times(test));
  for (int i = 0; i < options.power_iterations; ++i)
    basis = orthonormal(change.times(orthonormal(change.transposed_times(basis))));
  return basis;
}

std::vector<double> read_factor(const checkpoint::Adapter& adapter, const checkpoint::Tensor& tensor) {
  std::vector<std::byte> scratch;
  std::vector<double> values(static_cast<std::size_t>(tensor.elements()));
  const auto bytes = adapter.file().read(tensor, 0, tensor.bytes(), scratch);
  if (!load(tensor.dtype, bytes.data(), tensor.elements(), values.data()))
    throw input_error(cat(tensor.name, " holds a value that is not finite"), adapter.path(), "the adapter is broken");
  tensor.source->check();
  return values;
}

void copy_to(const Matrix& m, std::vector<double>& target) { target.assign(m.data(), m.data() + m.size()); }

}  // namespace

void LowRank::add(std::int64_t first, std::int64_t count, double c, double* sum) const {
  for (std::int64_t at = 0; at < count;) {
    const std::int64_t row = (first + at) / columns, column = (first + at) % columns;
    const std::int64_t n = std::min(count - at, columns - column);
    for (std::int64_t k = 0; k < rank; ++k) {
      const double factor = c * left[static_cast<std::size_t>(row * rank + k)];
      add_scaled(factor, right.data() + k * columns + column, n, sum + at);
    }
    at += n;
  }
}

std::vector<double> transposed(const std::vector<double>& matrix, std::int64_t rows, std::int64_t columns) {
  std::vector<double> result(matrix.size());
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j)
      result[static_cast<std::size_t>(j * rows + i)] = matrix[static_cast<std::size_t>(i * columns + j)];
  return result;
}

LowRank factors_of(const checkpoint::Adapter& adapter, const checkpoint::AdapterModule& module,
                   const checkpoint::AdapterTarget& target) {
  LowRank result{target.rows, target.columns, module.rank, read_factor(adapter, *module.b),
                 read_factor(adapter, *module.a)};
  if (target.transposed) {  // dW = s (B A)^T = s A^T B^T
    std::swap(result.left, result.right);
    result.left = transposed(result.left, module.rank, target.rows);
    result.right = transposed(result.right, target.columns, module.rank);
  }
  for (double& value : result.left) value *= module.scale;
  return result;
}

LowRank bias_of(const checkpoint::Adapter& adapter, const checkpoint::AdapterModule& module) {
  return {1, module.bias->shape[0], 1, {module.scale}, read_factor(adapter, *module.bias)};
}

BestFactors best_factors(const Engine& engine, const Operand& base, const Operand& tuned, const RankOptions& options) {
  fix_blocking();
  const Change change(engine, base, tuned);
  const std::int64_t side = std::min(change.rows(), change.columns());
  BestFactors best;
  best.factors = {change.rows(), change.columns(), options.rank, {}, {}};
  best.squared_norm = squared_norm(change);
  Matrix left = Matrix::Zero(change.rows(), options.rank), right = Matrix::Zero(options.rank, change.columns());
  if (best.squared_norm > 0) {
    const bool exact = side <= options.exact_below || side <= 2 * (options.rank + options.oversample);
    const Matrix basis = exact ? Matrix() : find_basis(change, options, base.tensor->name);
    const Matrix inner = exact ? change.whole() : Matrix(change.transposed_times(basis).transpose());
    const Thin svd = thin_svd(inner);
    const std::int64_t r = std::min<std::int64_t>(options.rank, svd.values.size());
    const Eigen::VectorXd values = svd.values.head(r), roots = values.cwiseSqrt();
    const Matrix u = exact ? Matrix(svd.u.leftCols(r)) : Matrix(basis * svd.u.leftCols(r));
    left.leftCols(r) = u * roots.asDiagonal();
    right.topRows(r) = roots.asDiagonal() * svd.v.leftCols(r).transpose();
    best.kept = values.squaredNorm();
  }
  copy_to(left, best.factors.left);
  copy_to(right, best.factors.right);
  return best;
}

}  // namespace solera::weights
