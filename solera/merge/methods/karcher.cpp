#include "solera/merge/methods/karcher.h"

#include <algorithm>
#include <cmath>

namespace solera::merge {

namespace {

// Vectors in the span of a few unit vectors, by their factors.
class UnitVectors {
 public:
  UnitVectors(const Gram& vectors, std::span<const std::size_t> kept) : size_(kept.size()), cosines_(size_ * size_) {
    for (std::size_t i = 0; i < size_; ++i)
      for (std::size_t j = 0; j < size_; ++j)
        cosines_[i * size_ + j] =
            i == j ? 1.0 : vectors.dot(kept[i], kept[j]) / (vectors.norm(kept[i]) * vectors.norm(kept[j]));
  }

  std::size_t size() const { return size_; }
  // <u_i, sum_j factors[j] u_j>
  double along(std::size_t i, std::span<const double> factors) const {
    double sum = 0;
    for (std::size_t j = 0; j < size_; ++j) sum += cosines_[i * size_ + j] * factors[j];
    return sum;
  }
  double length(std::span<const double> factors) const {
    double square = 0;
    for (std::size_t i = 0; i < size_; ++i) square += factors[i] * along(i, factors);
    return std::sqrt(std::max(square, 0.0));
  }

 private:
  std::size_t size_;
  std::vector<double> cosines_;
};

void scale(std::vector<double>& factors, double by) {
  for (double& factor : factors) factor *= by;
}

// The step T from u.
std::vector<double> step(const UnitVectors& units, std::span<const double> u, double tol) {
  constexpr double kOpposite = 1e-12;
  std::vector<double> result(units.size(), 0.0);
  for (std::size_t i = 0; i < units.size(); ++i) {
    const double cosine = std::clamp(units.along(i, u), -1.0, 1.0), angle = std::acos(cosine);
    if (angle < tol || angle == 0 || 1 + cosine < kOpposite) continue;
    const double factor = angle / std::sin(angle) / static_cast<double>(units.size());
    result[i] += factor;
    for (std::size_t j = 0; j < units.size(); ++j) result[j] -= factor * cosine * u[j];
  }
  return result;
}

std::vector<double> mean_direction(const UnitVectors& units, const KarcherParams& params) {
  std::vector<double> u(units.size(), 1.0 / static_cast<double>(units.size()));
  if (const double length = units.length(u); length < params.tol || length == 0) {
    std::fill(u.begin(), u.end(), 0.0);
    u[0] = 1;
  } else {
    scale(u, 1 / length);
  }
  for (std::int64_t k = 0; k < params.max_iter; ++k) {
    std::vector<double> t = step(units, u, params.tol);
    const double length = units.length(t);
    if (length < params.tol || length == 0) break;
    scale(u, std::cos(length));
    for (std::size_t i = 0; i < u.size(); ++i) u[i] += std::sin(length) / length * t[i];
    if (const double size = units.length(u); size > params.tol) scale(u, 1 / size);
  }
  return u;
}

void merge(const TensorPass& pass, const KarcherParams& params, std::span<const NoParams>) {
  combine_tensors(pass, [&](const Gram& vectors) { return karcher_factors(vectors, params); });
}

}  // namespace

std::vector<double> karcher_factors(const Gram& vectors, const KarcherParams& params) {
  const std::size_t n = vectors.size();
  if (n == 1) return {1.0};
  std::vector<std::size_t> kept;
  double mean_norm = 0;
  for (std::size_t i = 0; i < n; ++i) {
    mean_norm += vectors.norm(i) / static_cast<double>(n);
    if (vectors.norm(i) > params.tol) kept.push_back(i);
  }
  std::vector<double> factors(n, 0.0);
  if (kept.empty()) return factors;
  const std::vector<double> u = mean_direction(UnitVectors(vectors, kept), params);
  for (std::size_t k = 0; k < kept.size(); ++k) factors[kept[k]] = u[k] * mean_norm / vectors.norm(kept[k]);
  return factors;
}

void karcher(std::span<const std::span<const float>> inputs, const KarcherParams& params, std::span<float> out) {
  combine({}, inputs, [&](const Gram& vectors) { return karcher_factors(vectors, params); }, out);
}

Method karcher_method() {
  return {.name = "karcher",
          .summary = "mean of models' directions on the sphere, with their mean norm",
          .citation = "Karcher 1977, Comm. Pure Appl. Math. 30(5)",
          .base = BasePolicy::kAsModel,
          .min_models = 1,
          .program = [] { return typed_program<KarcherParams, NoParams>(merge); },
          .parameters = described_fields<KarcherParams>,
          .model_parameters = described_fields<NoParams>};
}

}  // namespace solera::merge
