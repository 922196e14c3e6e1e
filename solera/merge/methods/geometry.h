// Angles and norms of models, and linear combinations of them: what the methods on spheres are made of.
//
// Model Stock, NuSLERP, Multi-SLERP and the Karcher mean all give a linear combination of their inputs whose factors
// depend on the inputs only through their dot products. So each of them is a rule from a table of products to factors,
// and a merge is two reads: one for the products, one for the combination. With a base the vectors are the changes
// d_i = x_i - base and
//
//   out = base + sum_i c_i d_i          else      out = sum_i c_i x_i        float64 sums, rounded once
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "solera/merge/method.h"
#include "solera/merge/methods/changes.h"
#include "solera/weights/vector.h"

namespace solera::merge {

// The dot products of a few vectors with one another.
class Gram {
 public:
  Gram() = default;
  explicit Gram(std::size_t size) : size_(size), sums_(size * (size + 1) / 2) {}

  std::size_t size() const { return size_; }
  double dot(std::size_t i, std::size_t j) const { return sums_[place(i, j)]; }
  double norm(std::size_t i) const;

  // The next elements of all vectors.
  template <class T>
  void add(std::span<T* const> rows, std::int64_t n) {
    if (size_ == 0) *this = Gram(rows.size());
    for (std::size_t i = 0; i < size_; ++i)
      for (std::size_t j = i; j < size_; ++j) {
        weights::LaneSum sum;  // summed up at once: a pass keeps a table for every block of a tensor
        sum.add_product(rows[i], rows[j], n);
        sums_[place(i, j)] = sums_[place(i, j)] + sum.total();
      }
  }
  void merge(const Gram& right) {
    if (size_ == 0) *this = Gram(right.size_);
    for (std::size_t k = 0; k < right.sums_.size(); ++k) sums_[k] = sums_[k] + right.sums_[k];
  }

 private:
  std::size_t place(std::size_t i, std::size_t j) const {
    const auto [low, high] = std::minmax(i, j);
    return low * size_ - low * (low + 1) / 2 + high;
  }

  std::size_t size_ = 0;
  std::vector<double> sums_;
};

// A factor for each vector.
using Rule = std::function<std::vector<double>(const Gram&)>;

// out = sum_k factors[k] rows[k]; a row whose factor is 1 while all others are 0 comes back with its bits.
template <class T>
void combine(std::span<const double> factors, std::span<T* const> rows, std::int64_t n, T* out);

// One vector a tensor, flattened.
void combine_tensors(const TensorPass& pass, const Rule& rule);
// One vector a row (the last dimension); a tensor of at most one dimension is one row.
void combine_rows(const TensorPass& pass, const Rule& rule);

// One vector in memory. `base` is empty where there is none; `out` may be one of the inputs.
void combine(std::span<const float> base, std::span<const std::span<const float>> inputs, const Rule& rule,
             std::span<float> out);

}  // namespace solera::merge
