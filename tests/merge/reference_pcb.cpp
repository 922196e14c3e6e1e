// Parameter competition (pcb), of a whole model.
#include <algorithm>
#include <cmath>
#include <utility>

#include "tests/merge/reference_parts.h"

namespace solera::merge::reference {
namespace {

Vector sorted(Vector values) {
  std::sort(values.begin(), values.end());
  return values;
}
Vector normed(const Vector& x) {
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  Vector result;
  for (const double v : x) result.push_back((v - *low) / (*high - *low));
  return result;
}
Vector product(const Vector& a, const Vector& b) {
  Vector result(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) result[i] = a[i] * b[i];
  return result;
}
Vector soft(const Vector& x) {
  double sum = 0;
  for (const double v : x) sum += std::exp(v);
  Vector result;
  for (const double v : x) result.push_back(std::exp(v) / sum);
  return result;
}
Vector with_signs(const Vector& signs, const Vector& sizes) {
  Vector result(sizes);
  for (std::size_t i = 0; i < sizes.size(); ++i) result[i] *= (signs[i] > 0) - (signs[i] < 0);
  return result;
}

struct Competitor {
  Vector change, score;     // what is merged, and its weights
  std::vector<bool> close;  // to the threshold
};

Competitor competitor(Vector change, Vector score, double density, bool subtract) {
  const std::size_t n = score.size();
  const Vector order = sorted(score);
  const double cut = order[std::min(n - 1, static_cast<std::size_t>(floor_count(1 - density, n)))];
  Competitor result{std::move(change), std::move(score), std::vector<bool>(n)};
  for (std::size_t i = 0; i < n; ++i) {
    double& s = result.score[i];
    result.close[i] = s != cut && std::abs(s - cut) <= 1e-9 * (order.back() - cut);
    if (subtract)
      s = std::max(s - cut, 0.0) / (order.back() - cut);
    else if (s < cut)
      s = 0;
  }
  return result;
}

// Of the whole model: the changes of task i in changes[i].
std::vector<Competitor> compete(const std::vector<Vector>& changes, const Values& global) {
  const auto tasks = static_cast<double>(changes.size());
  const double clamp = global.at("clamp"), density = global.at("density");
  std::vector<Competitor> result;
  if (global.at("formulation") == 1) {
    for (const Vector& change : changes) {
      Vector inter(change.size());
      for (const Vector& other : changes) inter = added(1, inter, 1, soft(normed(product(change, other))));
      const Vector intra = soft(scaled(tasks, normed(product(change, change))));
      result.push_back(competitor(change, product(intra, inter), density, false));
    }
    return result;
  }
  const std::size_t n = changes[0].size();
  std::vector<Vector> clipped, signed_norms;
  Vector total(n), total_norms(n);
  for (const Vector& change : changes) {
    Vector sizes;
    for (const double v : change) sizes.push_back(std::abs(v));
    const Vector order = sorted(sizes);
    const double low = order[static_cast<std::size_t>(floor_count(clamp, n))];
    const double high = order[static_cast<std::size_t>(std::floor((1 - clamp) * static_cast<double>(n) - 1 + 1e-9))];
    for (double& v : sizes) v = std::clamp(v, low, high);
    signed_norms.push_back(with_signs(change, normed(sizes)));
    clipped.push_back(std::move(sizes));
    total = added(1, total, 1, change);
    total_norms = added(1, total_norms, 1, signed_norms.back());
  }
  for (std::size_t t = 0; t < changes.size(); ++t) {
    Vector score(n);
    for (std::size_t i = 0; i < n; ++i) {
      const double norm = signed_norms[t][i];
      double agreement = std::tanh(changes[t][i] * (global.at("inter") == 1 ? total_norms[i] : total[i]));
      if (global.at("inter") == 2) {
        agreement = 0;
        for (const Vector& other : signed_norms) agreement += std::tanh(norm * other[i]);
      }
      score[i] = std::exp(tasks * norm * norm) * agreement;
    }
    result.push_back(competitor(with_signs(changes[t], clipped[t]), std::move(score), density, true));
  }
  return result;
}

}  // namespace

std::vector<Answer> pcb(const std::vector<Tensor>& tensors) {
  std::vector<Vector> changes(tensors[0].models.size());
  for (const Tensor& tensor : tensors) {
    const std::vector<Vector> of_tensor = changes_of(tensor);
    for (std::size_t m = 0; m < changes.size(); ++m)
      changes[m].insert(changes[m].end(), of_tensor[m].begin(), of_tensor[m].end());
  }
  const std::vector<Competitor> tasks = compete(changes, tensors[0].global);
  std::vector<Answer> answers;
  std::size_t first = 0;
  for (const Tensor& tensor : tensors) {
    Answer answer = decided(tensor.base);
    for (std::size_t i = 0; i < tensor.base.size(); ++i) {
      double sum = 0, divisor = 0;
      for (std::size_t m = 0; m < tasks.size(); ++m) {
        const double score = tasks[m].score[first + i];
        sum += score * tensor.each[m].at("weight") * tasks[m].change[first + i];
        divisor += score;
        answer.undecided[i] = answer.undecided[i] || tasks[m].close[first + i];
      }
      if (divisor > 0) answer.values[i] += tensor.global.at("lambda") * sum / divisor;
    }
    first += tensor.base.size();
    answers.push_back(std::move(answer));
  }
  return answers;
}

}  // namespace solera::merge::reference
