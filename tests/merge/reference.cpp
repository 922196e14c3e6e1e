#include "tests/merge/reference.h"

#include <algorithm>
#include <cmath>

#include "tests/merge/reference_parts.h"

namespace solera::merge::reference {
namespace {

// --- means and arcs ---------------------------------------------------------------------------------------------

Answer weighted_mean(const Tensor& tensor, bool normalize) {
  Vector sum(tensor.models[0].size());
  double total = 0;
  for (std::size_t m = 0; m < tensor.models.size(); ++m) {
    sum = added(1, sum, tensor.each[m].at("weight"), tensor.models[m]);
    total += tensor.each[m].at("weight");
  }
  return decided(normalize ? scaled(1 / total, sum) : sum);
}

Answer linear(const Tensor& tensor) { return weighted_mean(tensor, tensor.global.at("normalize") != 0); }

Answer wise_ft(const Tensor& tensor) {
  const double alpha = tensor.global.at("alpha");
  return decided(added(1 - alpha, tensor.base, alpha, tensor.models[0]));
}

Answer passthrough(const Tensor& tensor) { return decided(scaled(tensor.each[0].at("scale"), tensor.models[0])); }

Vector arc(double t, double angle, const Vector& a, const Vector& b) {
  return added(std::sin((1 - t) * angle) / std::sin(angle), a, std::sin(t * angle) / std::sin(angle), b);
}

Answer slerp(const Tensor& tensor) {
  const Vector &a = tensor.base, &b = tensor.models[0];
  const double t = tensor.global.at("t"), na = norm(a), nb = norm(b);
  const double cosine = dot(a, b) / (na > 1e-8 ? na : 1) / (nb > 1e-8 ? nb : 1);
  Answer answer = decided(std::abs(cosine) > 0.9995 ? added(1 - t, a, t, b) : arc(t, std::acos(cosine), a, b));
  if (std::abs(std::abs(cosine) - 0.9995) < 1e-9) answer.undecided.assign(a.size(), true);
  return answer;
}

Vector nuslerp_of(double t, const Vector& a, const Vector& b) {
  const double cosine = dot(a, b) / (std::max(norm(a), 1e-7) * std::max(norm(b), 1e-7));
  if (1 - cosine * cosine <= 1e-12) return added(1 - t, a, t, b);
  return arc(t, std::acos(std::clamp(cosine, -1.0, 1.0)), a, b);
}

// Nearly opposite vectors have no arc that float32 could tell from another.
bool are_opposite(const Vector& a, const Vector& b) {
  const double size = norm(a) * norm(b);
  return size > 0 && dot(a, b) / size < -1 + 1e-5;
}

Answer nuslerp(const Tensor& tensor) {
  const std::vector<Vector> x = changes_of(tensor);
  const double w0 = tensor.each[0].at("weight"), w1 = tensor.each[1].at("weight");
  const double t = std::abs(w0 + w1) < 1e-6 ? 0.5 : w1 / (w0 + w1);
  if (tensor.global.at("nuslerp_flatten") != 0 || tensor.shape.size() < 2) {
    Answer answer = decided(on_base(tensor, nuslerp_of(t, x[0], x[1])));
    if (are_opposite(x[0], x[1])) answer.undecided.assign(x[0].size(), true);
    return answer;
  }
  // Vectors along the last axis, or along the first: `step` apart.
  const std::size_t n = x[0].size();
  const bool columns = tensor.global.at("nuslerp_row_wise") != 0;
  const std::size_t length = columns ? static_cast<std::size_t>(tensor.shape[0]) : row_length(tensor);
  const std::size_t step = columns ? n / length : 1;
  Vector result(n);
  std::vector<bool> undecided(n);
  for (std::size_t v = 0; v < n / length; ++v) {
    const std::size_t first = columns ? v : v * length;
    Vector a(length), b(length);
    for (std::size_t i = 0; i < length; ++i) a[i] = x[0][first + i * step], b[i] = x[1][first + i * step];
    const Vector one = nuslerp_of(t, a, b);
    for (std::size_t i = 0; i < length; ++i) {
      result[first + i * step] = one[i];
      undecided[first + i * step] = are_opposite(a, b);
    }
  }
  return {on_base(tensor, result), std::move(undecided)};
}

Answer multislerp(const Tensor& tensor) {
  const std::vector<Vector> x = changes_of(tensor);
  if (x.size() == 1) return decided(on_base(tensor, x[0]));
  const double eps = tensor.global.at("eps");
  const double total = tensor.global.at("normalize_weights") != 0 ? weight_sum(tensor) : 1;
  Vector mean(x[0].size());
  double length = 0;
  for (std::size_t m = 0; m < x.size(); ++m) {
    const double w = tensor.each[m].at("weight") / total;
    mean = added(1, mean, w / (norm(x[m]) + eps), x[m]);
    length += w * norm(x[m]);
  }
  if (norm(mean) < eps) return decided(on_base(tensor, mean));  // all of them zero: the others are refused
  Answer answer = decided(on_base(tensor, scaled(length * std::cos(eps) / norm(mean), mean)));
  if (norm(mean) < 1e-3) answer.undecided.assign(mean.size(), true);  // directions that nearly cancel
  return answer;
}

Answer karcher(const Tensor& tensor) {
  const double tol = tensor.global.at("tol");
  std::vector<Vector> units;
  double length = 0;
  for (const Vector& x : tensor.models) {
    length += norm(x) / static_cast<double>(tensor.models.size());
    if (norm(x) > tol) units.push_back(scaled(1 / norm(x), x));
  }
  if (units.empty()) return decided(Vector(tensor.models[0].size()));
  const double share = 1 / static_cast<double>(units.size());
  Vector u(units[0].size());
  for (const Vector& unit : units) u = added(1, u, share, unit);
  const bool cancel = norm(u) < 1e-3;
  u = norm(u) < tol ? units[0] : scaled(1 / norm(u), u);
  for (int step = 0; step < static_cast<int>(tensor.global.at("max_iter")); ++step) {
    Vector tangent(u.size());
    for (const Vector& unit : units) {
      const double angle = std::acos(std::clamp(dot(u, unit), -1.0, 1.0));
      if (angle < tol) continue;
      tangent = added(1, tangent, share * angle / std::sin(angle), added(1, unit, -std::cos(angle), u));
    }
    const double size = norm(tangent);
    if (size < tol) break;
    u = added(std::cos(size), u, std::sin(size) / size, tangent);
    u = scaled(1 / norm(u), u);
  }
  Answer answer = decided(scaled(length, u));
  if (cancel) answer.undecided.assign(u.size(), true);
  return answer;
}

Answer model_stock(const Tensor& tensor) {
  const std::vector<Vector> changes = changes_of(tensor);
  const std::size_t length = tensor.global.at("filter_wise") != 0 ? row_length(tensor) : tensor.base.size();
  const auto n = static_cast<double>(changes.size());
  Vector result(tensor.base.size());
  for (std::size_t first = 0; first < result.size(); first += length) {
    const auto piece = [&](const Vector& v) {
      return Vector(v.begin() + static_cast<std::ptrdiff_t>(first),
                    v.begin() + static_cast<std::ptrdiff_t>(first + length));
    };
    double cosines = 0;
    for (std::size_t a = 0; a < changes.size(); ++a)
      for (std::size_t b = a + 1; b < changes.size(); ++b) {
        const Vector p = piece(changes[a]), q = piece(changes[b]);
        cosines += std::clamp(dot(p, q) / std::max(norm(p) * norm(q), 1e-6), -1.0, 1.0);
      }
    const double c = cosines / (n * (n - 1) / 2), divisor = 1 + (n - 1) * c;
    const double t = std::abs(divisor) < 1e-6 ? 0 : n * c / divisor;
    for (std::size_t i = first; i < first + length; ++i) {
      double mean = 0;
      for (const Vector& change : changes) mean += change[i] / n;
      result[i] = tensor.base[i] + t * mean;
    }
  }
  return decided(result);
}

Answer nearswap(const Tensor& tensor) {
  const double t = tensor.global.at("t");
  Vector result(tensor.base.size());
  for (std::size_t i = 0; i < result.size(); ++i) {
    const double a = tensor.base[i], b = tensor.models[0][i];
    const double w = std::clamp(t / std::max(std::abs(a - b), 1e-6), 0.0, 1.0);
    result[i] = w * b + (1 - w) * a;
  }
  return decided(result);
}

// --- with statistics --------------------------------------------------------------------------------------------

std::vector<Answer> fisher(const std::vector<Tensor>& tensors) {
  Vector norms(tensors[0].models.size());
  for (const Tensor& tensor : tensors)
    for (std::size_t m = 0; m < tensor.statistics.size(); ++m)
      norms[m] += dot(tensor.statistics[m], tensor.statistics[m]);
  std::vector<Answer> answers;
  for (const Tensor& tensor : tensors) {
    if (tensor.statistics.empty()) {
      answers.push_back(weighted_mean(tensor, true));
      continue;
    }
    Answer answer = decided(tensor.models[0]);
    for (std::size_t i = 0; i < answer.values.size(); ++i) {
      double sum = 0, divisor = 0;
      for (std::size_t m = 0; m < tensor.models.size(); ++m) {
        const bool floored = m == 0 || tensor.global.at("favor_target") == 0;
        const double information =
            floored ? std::max(tensor.statistics[m][i], tensor.global.at("floor")) : tensor.statistics[m][i];
        const double c = tensor.each[m].at("weight") / (tensor.global.at("normalize") != 0 ? std::sqrt(norms[m]) : 1);
        sum += c * information * tensor.models[m][i];
        divisor += c * information;
      }
      if (divisor >= 1e-38) answer.values[i] = sum / divisor;
    }
    answers.push_back(std::move(answer));
  }
  return answers;
}

// Solves X A = B for X [rows, n], A [n, n], by elimination with pivots.
Vector solve_right(Vector a, Vector b, std::size_t rows, std::size_t n) {
  for (std::size_t c = 0; c < n; ++c) {  // columns of A and B are combined
    std::size_t pivot = c;
    for (std::size_t k = c; k < n; ++k)
      if (std::abs(a[c * n + k]) > std::abs(a[c * n + pivot])) pivot = k;
    for (std::size_t r = 0; r < n; ++r) std::swap(a[r * n + c], a[r * n + pivot]);
    for (std::size_t r = 0; r < rows; ++r) std::swap(b[r * n + c], b[r * n + pivot]);
    for (std::size_t k = 0; k < n; ++k) {
      if (k == c) continue;
      const double factor = a[c * n + k] / a[c * n + c];
      for (std::size_t r = 0; r < n; ++r) a[r * n + k] -= factor * a[r * n + c];
      for (std::size_t r = 0; r < rows; ++r) b[r * n + k] -= factor * b[r * n + c];
    }
  }
  for (std::size_t c = 0; c < n; ++c)
    for (std::size_t r = 0; r < rows; ++r) b[r * n + c] /= a[c * n + c];
  return b;
}

Answer regmean(const Tensor& tensor) {
  if (tensor.statistics.empty()) return weighted_mean(tensor, true);
  const std::size_t n =
      static_cast<std::size_t>(std::llround(std::sqrt(static_cast<double>(tensor.statistics[0].size()))));
  const std::size_t rows = tensor.models[0].size() / n;
  const double alpha = tensor.global.at("alpha");
  double ridge = 0, total = 0;
  for (std::size_t m = 0; m < tensor.models.size(); ++m) {
    double diagonal = 0;
    for (std::size_t j = 0; j < n; ++j) diagonal += tensor.statistics[m][j * n + j] / static_cast<double>(n);
    ridge += tensor.each[m].at("weight") * diagonal;
    total += tensor.each[m].at("weight");
  }
  ridge *= tensor.global.at("ridge") / total;
  Vector left(n * n), right(rows * n);
  for (std::size_t m = 0; m < tensor.models.size(); ++m) {
    Vector gram = tensor.statistics[m];
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) gram[i * n + j] = i == j ? gram[i * n + j] + ridge : alpha * gram[i * n + j];
    const double w = tensor.each[m].at("weight");
    left = added(1, left, w, gram);
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t j = 0; j < n; ++j)
        for (std::size_t k = 0; k < n; ++k) right[r * n + j] += w * tensor.models[m][r * n + k] * gram[k * n + j];
  }
  return decided(solve_right(left, right, rows, n));
}

// --- the table --------------------------------------------------------------------------------------------------

const std::map<std::string, OfAll>& table() {
  static const std::map<std::string, OfAll> all = [] {
    std::map<std::string, OfAll> methods = masking_methods();
    methods.insert({
        {"linear", one_by_one(linear)},
        {"slerp", one_by_one(slerp)},
        {"model_stock", one_by_one(model_stock)},
        {"nuslerp", one_by_one(nuslerp)},
        {"multislerp", one_by_one(multislerp)},
        {"karcher", one_by_one(karcher)},
        {"nearswap", one_by_one(nearswap)},
        {"passthrough", one_by_one(passthrough)},
        {"wise_ft", one_by_one(wise_ft)},
        {"fisher", fisher},
        {"regmean", one_by_one(regmean)},
    });
    return methods;
  }();
  return all;
}

}  // namespace

std::vector<Answer> merge(const std::string& method, const std::vector<Tensor>& tensors) {
  return table().at(method)(tensors);
}

std::vector<std::string> methods() {
  std::vector<std::string> names;
  for (const auto& [name, method] : table()) names.push_back(name);
  return names;
}

}  // namespace solera::merge::reference
