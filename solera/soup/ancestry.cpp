#include "solera/soup/ancestry.h"

#include <algorithm>
#include <cmath>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/weights/pass.h"
#include "solera/weights/vector.h"

namespace solera::soup {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Tensor;

// Inner products of a block, upper triangle.
struct Products {
  std::vector<double> sums;
  void merge(const Products& right) {
    if (sums.empty()) sums.resize(right.sums.size());
    for (std::size_t i = 0; i < right.sums.size(); ++i) sums[i] += right.sums[i];
  }
};

bool in_all(const Tensor& tensor, std::span<const Checkpoint* const> models) {
  return std::all_of(models.begin(), models.end(), [&](const Checkpoint* model) {
    const Tensor* other = model->find(tensor.name);
    return other && other->shape == tensor.shape && checkpoint::is_float(other->dtype);
  });
}

// Tensors that count, thinned out evenly until the multiplications fit.
std::vector<const Tensor*> sampled(std::span<const Checkpoint* const> models, double cost_per_element, double budget) {
  std::vector<const Tensor*> matrices, floats;
  for (const Tensor& t : models.front()->tensors()) {
    if (!checkpoint::is_float(t.dtype) || t.elements() == 0 || !in_all(t, models)) continue;
    floats.push_back(&t);
    if (t.shape.size() >= 2) matrices.push_back(&t);
  }
  const std::vector<const Tensor*>& candidates = matrices.empty() ? floats : matrices;
  double total = 0;
  for (const Tensor* t : candidates) total += static_cast<double>(t->elements()) * cost_per_element;
  if (total <= budget) return candidates;
  std::vector<const Tensor*> chosen;
  double seen = 0, spent = 0;
  const Tensor* smallest = candidates.front();
  for (const Tensor* t : candidates) {
    const double cost = static_cast<double>(t->elements()) * cost_per_element;
    seen += cost;
    if (spent + cost <= budget * seen / total) {  // never ahead of an even spread
      chosen.push_back(t);
      spent += cost;
    }
    if (t->elements() < smallest->elements()) smallest = t;
  }
  if (chosen.empty()) chosen.push_back(smallest);
  return chosen;
}

}  // namespace

std::vector<double> gram_matrix(std::span<const Checkpoint* const> models, std::span<const std::string> labels,
                                Pool& pool, double budget) {
  const std::size_t n = models.size();
  const std::size_t pairs = n * (n + 1) / 2;
  std::vector<double> gram(n * n, 0.0);
  weights::Engine engine;
  engine.pool = &pool;
  for (const Tensor* first : sampled(models, static_cast<double>(pairs), budget)) {
    std::vector<weights::Operand> operands;
    for (std::size_t k = 0; k < n; ++k)
      operands.push_back({models[k], &models[k]->at(first->name), std::nullopt, labels[k]});
    const auto products =
        weights::reduce<float, Products>(engine, operands, [&](const weights::Tile<float>& tile, Products& state) {
          if (state.sums.empty()) state.sums.resize(pairs);
          std::size_t at = 0;
          for (std::size_t a = 0; a < n; ++a)
            for (std::size_t b = a; b < n; ++b) {
              weights::LaneSum sum;
              sum.add_product(tile[a], tile[b], tile.count);
              state.sums[at++] += sum.total();
            }
        });
    std::size_t at = 0;
    for (std::size_t a = 0; a < n; ++a)
      for (std::size_t b = a; b < n; ++b, ++at) {
        gram[a * n + b] += products.sums[at];
        if (a != b) gram[b * n + a] += products.sums[at];
      }
  }
  return gram;
}

std::vector<Kinship> kinship(std::span<const double> gram, int n, bool has_base) {
  const auto at = [&](int a, int b) {
    return gram[static_cast<std::size_t>(a) * static_cast<std::size_t>(n) + static_cast<std::size_t>(b)];
  };
  const int k = has_base ? n - 1 : n;
  // <theta_a, theta_c> and <theta_c, theta_c>, theta_c the base or the mean of the k models.
  std::vector<double> with_center(static_cast<std::size_t>(k), 0.0);
  double center = 0;
  for (int a = 0; a < k; ++a) {
    double& product = with_center[static_cast<std::size_t>(a)];
    if (has_base)
      product = at(a, k);
    else
      for (int b = 0; b < k; ++b) product += at(a, b) / k;
    center += product / k;
  }
  if (has_base) center = at(k, k);
  const auto centered = [&](int a, int b) {
    return at(a, b) - with_center[static_cast<std::size_t>(a)] - with_center[static_cast<std::size_t>(b)] + center;
  };
  std::vector<Kinship> pairs;
  for (int i = 0; i < k; ++i)
    for (int j = i + 1; j < k; ++j) {
      Kinship pair{i, j, 0, 0};
      const double norms = std::sqrt(at(i, i)) * std::sqrt(at(j, j));
      if (norms > 0) pair.distance = std::sqrt(std::max(0.0, at(i, i) + at(j, j) - 2 * at(i, j)) / norms);
      const double lengths = std::sqrt(std::max(0.0, centered(i, i))) * std::sqrt(std::max(0.0, centered(j, j)));
      if (lengths > 0) pair.cosine = centered(i, j) / lengths;
      pairs.push_back(pair);
    }
  return pairs;
}

std::string kinship_warning(std::span<const Kinship> pairs, std::span<const std::string> labels) {
  const Kinship* farthest = nullptr;
  int count = 0;
  for (const Kinship& pair : pairs) {
    if (!pair.suspicious()) continue;
    ++count;
    if (!farthest || pair.distance > farthest->distance) farthest = &pair;
  }
  if (!farthest) return "";
  const std::string& a = labels[static_cast<std::size_t>(farthest->i)];
  const std::string& b = labels[static_cast<std::size_t>(farthest->j)];
  return cat(a, " and ", b, count > 1 ? cat(" (and ", count - 1, " more of ", pairs.size(), " pairs)") : "",
             " probably do not share an initialization: they are ", number_text(farthest->distance, 3),
             " of their norm apart; the average of unrelated networks is worthless");
}

}  // namespace solera::soup
