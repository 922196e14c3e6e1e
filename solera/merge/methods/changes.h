// What the methods that add changes to a base have in common: the order of the sums, in one place.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "solera/merge/method.h"
#include "solera/weights/vector.h"

namespace solera::merge {

// What tuned inputs in memory change of a base: the writable rows that the formulas over spans work in.
struct Changes {
  Changes(std::span<const float> base, std::span<const std::span<const float>> tuned) {
    for (const auto& input : tuned) {
      std::vector<float>& row = rows.emplace_back(input.size());
      weights::difference(input.data(), base.data(), static_cast<std::int64_t>(row.size()), row.data());
      pointers.push_back(row.data());
    }
  }
  std::vector<std::vector<float>> rows;
  std::vector<float*> pointers;
};

// One output tile from the base, tile[0], and the models' changes, which may be overwritten: `f(tile, changes, out)`.
template <class T, class F>
void map_changes(const TensorPass& pass, F f) {
  weights::map<T>(
      pass.engine, pass.operands, *pass.sink,
      [&](const weights::Tile<T>& tile, T* out) { f(tile, tile.inputs.subspan(1), out); }, weights::Reading::kChanges);
}

// The divisor of a plain (unelected) sum of changes: the sum of the weights, 1 where that is nearly 0 (mergekit).
template <class Models>
double weight_sum(const Models& models) {
  double sum = 0;
  for (const auto& model : models) sum += model.weight;
  return std::abs(sum) < 1e-8 ? 1.0 : sum;
}

// out = base + factor sum; a factor of 0 gives the base's bits, negative zeros included.
template <class T>
void add_to_base(const T* base, double factor, const T* sum, std::int64_t n, T* out) {
  if (factor == 0) {
    std::copy_n(base, n, out);
    return;
  }
  weights::scaled_sum(T(1), base, static_cast<T>(factor), sum, n, out);
}

// One row of so many entries after the other, as map_changes() does tiles.
template <class T, class F>
void merge_rows(const TensorPass& pass, std::int64_t row, F f) {
  weights::for_rows<T>(
      pass.engine, pass.operands, row, 1,
      [&](const weights::Tile<T>& tile) {
        T* out = tile.inputs.back();
        f(tile, tile.inputs.subspan(1, pass.models()), out);
        pass.sink->write(tile.first, std::span<const T>(out, static_cast<std::size_t>(tile.count)), tile.last);
      },
      weights::Reading::kChanges);
}

}  // namespace solera::merge
