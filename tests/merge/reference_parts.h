// What the two halves of reference.h share.
#pragma once

#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "tests/merge/reference.h"

namespace solera::merge::reference {

inline constexpr double kMargin = 1e-6;  // relative; float32 resolves 6e-8

inline double dot(const Vector& a, const Vector& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }
inline double norm(const Vector& a) { return std::sqrt(dot(a, a)); }

inline Vector added(double c, const Vector& a, double d, const Vector& b) {
  Vector sum(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) sum[i] = c * a[i] + d * b[i];
  return sum;
}
inline Vector scaled(double c, const Vector& a) { return added(c, a, 0, a); }

inline std::vector<Vector> changes_of(const Tensor& tensor) {
  if (tensor.base.empty()) return tensor.models;
  std::vector<Vector> changes;
  for (const Vector& model : tensor.models) changes.push_back(added(1, model, -1, tensor.base));
  return changes;
}

inline Vector on_base(const Tensor& tensor, const Vector& change) {
  return tensor.base.empty() ? change : added(1, tensor.base, 1, change);
}

inline Answer decided(Vector values) {
  const std::size_t n = values.size();
  return {std::move(values), std::vector<bool>(n)};
}

inline std::int64_t floor_count(double share, std::size_t n) {
  return static_cast<std::int64_t>(std::floor(share * static_cast<double>(n) + 1e-9));
}

// A share between two values of a gradient whose count hangs on how the share itself was rounded.
inline bool is_edge(double share, std::size_t n) {
  const double count = share * static_cast<double>(n);
  return std::abs(count - std::round(count)) < 1e-6 && share != std::round(100 * share) / 100;
}

inline std::size_t row_length(const Tensor& tensor) {
  return tensor.shape.empty() ? 1 : static_cast<std::size_t>(tensor.shape.back());
}

inline double weight_sum(const Tensor& tensor) {
  double sum = 0;
  for (const Values& one : tensor.each) sum += one.at("weight");
  return std::abs(sum) < 1e-8 ? 1 : sum;
}

using OfAll = std::function<std::vector<Answer>(const std::vector<Tensor>&)>;

inline OfAll one_by_one(Answer (*method)(const Tensor&)) {
  return [method](const std::vector<Tensor>& tensors) {
    std::vector<Answer> answers;
    for (const Tensor& tensor : tensors) answers.push_back(method(tensor));
    return answers;
  };
}

std::vector<Answer> pcb(const std::vector<Tensor>& tensors);  // reference_pcb.cpp

// The methods that choose among changes, entry by entry: reference_masks.cpp.
std::map<std::string, OfAll> masking_methods();

}  // namespace solera::merge::reference
