#include "solera/search/cmaes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <Eigen/Eigenvalues>

#include "solera/base/error.h"
#include "solera/base/random.h"
#include "solera/base/text.h"

namespace solera::search {
namespace {

constexpr int kFullUpTo = 100;
constexpr double kWorstCondition = 1e14;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

double squared_norm(std::span<const double> v) { return std::inner_product(v.begin(), v.end(), v.begin(), 0.0); }

void require_sense(const CmaesOptions& o) {
  if (o.start.empty()) throw usage_error("CMA-ES has no coordinates to search");
  for (std::size_t i = 0; i < o.start.size(); ++i)
    if (!std::isfinite(o.start[i]))
      throw usage_error(cat("coordinate ", i, " of the start is ", exact_text(o.start[i]), ", not a finite number"));
  if (!(o.sigma > 0 && std::isfinite(o.sigma)))
    throw usage_error(cat("sigma is ", exact_text(o.sigma), ", not a finite number > 0"));
  if (o.population != 0 && o.population < 2)
    throw usage_error(cat("the population is ", o.population, ", less than 2"));
  for (const auto* bounds : {&o.lower, &o.upper})
    if (bounds->size() != o.start.size() && !(o.lower.empty() && o.upper.empty()))
      throw usage_error(cat(bounds->size(), bounds == &o.lower ? " lower" : " upper", " bounds for ", o.start.size(),
                            " coordinates"));
  for (std::size_t i = 0; i < o.lower.size(); ++i) {
    if (!(o.lower[i] < o.upper[i]))
      throw usage_error(cat("coordinate ", i, " is bounded by [", exact_text(o.lower[i]), ", ", exact_text(o.upper[i]),
                            "], an empty range"));
    if (o.start[i] < o.lower[i] || o.start[i] > o.upper[i])
      throw usage_error(cat("coordinate ", i, " of the start is ", exact_text(o.start[i]), ", outside [",
                            exact_text(o.lower[i]), ", ", exact_text(o.upper[i]), "]"));
  }
}

}  // namespace

int default_population(int n) { return 4 + static_cast<int>(std::floor(3 * std::log(n))); }

CmaesConstants cmaes_constants(int n, int lambda, bool active, bool separable) {
  CmaesConstants c;
  c.n = n;
  c.lambda = lambda;
  c.mu = lambda / 2;
  std::vector<double>& w = c.weights;
  for (int i = 1; i <= lambda; ++i) w.push_back(std::log((lambda + 1) / 2.0) - std::log(i));
  const auto middle = static_cast<std::size_t>(c.mu);
  const std::span<double> better = std::span(w).first(middle), worse = std::span(w).subspan(middle);
  const auto sum = [](std::span<const double> v) { return std::accumulate(v.begin(), v.end(), 0.0); };
  const double dimension = n;
  c.mu_eff = sum(better) * sum(better) / squared_norm(better);
  c.c_sigma = (c.mu_eff + 2) / (dimension + c.mu_eff + 5);
  c.d_sigma = 1 + 2 * std::max(0.0, std::sqrt((c.mu_eff - 1) / (dimension + 1)) - 1) + c.c_sigma;
  c.c_c = (4 + c.mu_eff / dimension) / (dimension + 4 + 2 * c.mu_eff / dimension);
  const double faster = separable ? (dimension + 2) / 3 : 1;
  c.c_1 = std::min(1.0, faster * 2 / ((dimension + 1.3) * (dimension + 1.3) + c.mu_eff));
  c.c_mu =
      std::min(1 - c.c_1, faster * 2 * (c.mu_eff - 2 + 1 / c.mu_eff) / ((dimension + 2) * (dimension + 2) + c.mu_eff));
  c.chi_n = std::sqrt(dimension) * (1 - 1 / (4 * dimension) + 1 / (21 * dimension * dimension));

  const double positive = sum(better), negative = -sum(worse);
  for (double& weight : better) weight /= positive;
  if (!active || c.c_mu == 0) {
    std::fill(worse.begin(), worse.end(), 0.0);
    return c;
  }
  // Their sum is bounded: by the learning rates, by what they are worth, and so that C stays positive definite.
  const double worth = negative * negative / squared_norm(worse);
  const double total =
      std::min({1 + c.c_1 / c.c_mu, 1 + 2 * worth / (c.mu_eff + 2), (1 - c.c_1 - c.c_mu) / (dimension * c.c_mu)});
  for (double& weight : worse) weight *= total / negative;
  return c;
}

std::string_view stop_name(CmaesStop stop) {
  constexpr std::string_view kNames[] = {"", "flat", "small steps", "large steps", "bad condition", "no effect"};
  return kNames[static_cast<std::size_t>(stop)];
}

Cmaes::Cmaes(CmaesOptions options) : options_(std::move(options)) {
  require_sense(options_);
  separable_ = options_.separable.value_or(dimension() > kFullUpTo);
  state_.best_value = kInfinity;
  begin_run(options_.start);
}

void Cmaes::begin_run(std::vector<double> mean) {
  const std::size_t n = mean.size();
  state_.run_generation = 0;
  state_.sigma = options_.sigma;
  state_.mean = std::move(mean);
  state_.p_sigma.assign(n, 0.0);
  state_.p_c.assign(n, 0.0);
  state_.covariance.assign(separable_ ? n : n * n, separable_ ? 1.0 : 0.0);
  if (!separable_)
    for (std::size_t i = 0; i < n; ++i) state_.covariance[i * n + i] = 1;
  state_.history.clear();
  state_.stop = CmaesStop::kNone;
  derive();
}

void Cmaes::restart() {
  ++state_.restarts;
  const RandomStream stream({options_.seed, "cmaes restart", static_cast<std::uint64_t>(state_.restarts)});
  const std::size_t n = options_.start.size();
  bool closed = !options_.lower.empty();
  for (std::size_t i = 0; closed && i < n; ++i)
    closed = std::isfinite(options_.lower[i]) && std::isfinite(options_.upper[i]);
  std::vector<double> mean = options_.start;
  for (std::size_t i = 0; i < n; ++i) {
    if (closed) {
      mean[i] = options_.lower[i] + stream.uniform(i) * (options_.upper[i] - options_.lower[i]);
    } else {
      mean[i] += options_.sigma * stream.normal(i);
      if (!options_.lower.empty()) mean[i] = std::clamp(mean[i], options_.lower[i], options_.upper[i]);
    }
  }
  begin_run(std::move(mean));
}

// What is not in the state: the constants, the axes of C, and the candidates.
void Cmaes::derive() {
  const int first = options_.population ? options_.population : default_population(dimension());
  const int lambda = first << std::min(state_.restarts, 16);
  if (constants_.lambda != lambda) constants_ = cmaes_constants(dimension(), lambda, options_.active, separable_);
  decompose();
  sample();
}

void Cmaes::decompose() {
  const auto n = static_cast<Eigen::Index>(dimension());
  Eigen::VectorXd values;
  if (separable_) {
    values = Eigen::Map<const Eigen::VectorXd>(state_.covariance.data(), n);
  } else {
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(
        Eigen::MatrixXd(Eigen::Map<const Matrix>(state_.covariance.data(), n, n)));
    values = solver.eigenvalues();
    axes_.resize(state_.covariance.size());
    Eigen::Map<Matrix>(axes_.data(), n, n) = solver.eigenvectors();
  }
  const double largest = values.maxCoeff();
  degenerate_ = !(values.minCoeff() * kWorstCondition >= largest);
  lengths_.clear();
  // Rounding may make an eigenvalue zero or less; the run is over then, but candidates must stay numbers.
  for (const double value : values) lengths_.push_back(std::sqrt(std::max(value, largest / kWorstCondition)));
}

void Cmaes::sample() {
  candidates_.clear();
  for (int k = 0; k < population(); ++k) candidates_.push_back(draw(k));
}

std::vector<double> Cmaes::draw(int candidate) const {
  const RandomStream stream({options_.seed, "cmaes", static_cast<std::uint64_t>(state_.generation)});
  const std::size_t n = options_.start.size();
  const std::uint64_t attempts = options_.lower.empty() ? 1 : 1 + 10 * n;
  const auto normal = [&](std::uint64_t attempt, std::size_t i) {
    return stream.normal((static_cast<std::uint64_t>(candidate) * attempts + attempt) * n + i);
  };
  const auto inside = [&](std::size_t i, double x) {
    return options_.lower.empty() || (x >= options_.lower[i] && x <= options_.upper[i]);
  };
  std::vector<double> x(n);
  if (separable_) {
    for (std::size_t i = 0; i < n; ++i)
      for (std::uint64_t attempt = 0; attempt < attempts; ++attempt) {
        x[i] = state_.mean[i] + state_.sigma * lengths_[i] * normal(attempt, i);
        if (inside(i, x[i])) break;
      }
  } else {
    std::vector<double> z(n);
    for (std::uint64_t attempt = 0; attempt < attempts; ++attempt) {
      for (std::size_t i = 0; i < n; ++i) z[i] = lengths_[i] * normal(attempt, i);
      bool all = true;
      for (std::size_t i = 0; i < n; ++i) {
        x[i] = state_.mean[i] + state_.sigma * std::inner_product(z.begin(), z.end(), axes_.begin() + i * n, 0.0);
        all = all && inside(i, x[i]);
      }
      if (all) break;
    }
  }
  if (!options_.lower.empty())
    for (std::size_t i = 0; i < n; ++i) x[i] = std::clamp(x[i], options_.lower[i], options_.upper[i]);
  return x;
}

std::vector<double> Cmaes::whitened(std::span<const double> y) const {
  const std::size_t n = y.size();
  std::vector<double> result(n, 0.0);
  if (separable_) {
    for (std::size_t i = 0; i < n; ++i) result[i] = y[i] / lengths_[i];
    return result;
  }
  const auto size = static_cast<Eigen::Index>(n);
  const Eigen::Map<const Matrix> axes(axes_.data(), size, size);
  const Eigen::Map<const Eigen::VectorXd> lengths(lengths_.data(), size), step(y.data(), size);
  Eigen::Map<Eigen::VectorXd>(result.data(), size) = axes * (axes.transpose() * step).cwiseQuotient(lengths).eval();
  return result;
}

void Cmaes::tell(std::span<const double> values) {
  if (values.size() != candidates_.size())
    throw usage_error(cat(values.size(), " values for ", candidates_.size(), " candidates"));
  for (std::size_t i = 0; i < values.size(); ++i)
    if (std::isnan(values[i])) throw input_error(cat("the value of candidate ", i, " is not a number"));
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });

  if (values[order.front()] < state_.best_value || state_.best.empty()) {
    state_.best = candidates_[order.front()];
    state_.best_value = values[order.front()];
  }
  std::vector<std::vector<double>> steps;
  for (const std::size_t k : order) {
    std::vector<double>& y = steps.emplace_back(candidates_[k]);
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = (y[i] - state_.mean[i]) / state_.sigma;
  }
  state_.evaluations += static_cast<std::int64_t>(values.size());
  ++state_.generation;
  ++state_.run_generation;
  adapt(steps);

  const auto window = static_cast<std::size_t>(10 + std::ceil(30.0 * dimension() / population()));
  state_.history.push_back(values[order.front()]);
  if (state_.history.size() > window) state_.history.erase(state_.history.begin());
  decompose();
  state_.stop = state_.history.size() < window ? CmaesStop::kNone : judge(values);
  if (state_.stop == CmaesStop::kNone) state_.stop = judge({});
  sample();
}

// The update of the header, from the generation's steps, best first.
void Cmaes::adapt(std::span<const std::vector<double>> steps) {
  const CmaesConstants& c = constants_;
  const std::size_t n = state_.mean.size();
  std::vector<double> mean_step(n, 0.0);
  for (std::size_t k = 0; k < static_cast<std::size_t>(c.mu); ++k)
    for (std::size_t i = 0; i < n; ++i) mean_step[i] += c.weights[k] * steps[k][i];
  const std::vector<double> white = whitened(mean_step);
  const double into_sigma = std::sqrt(c.c_sigma * (2 - c.c_sigma) * c.mu_eff);
  for (std::size_t i = 0; i < n; ++i) {
    state_.mean[i] += state_.sigma * mean_step[i];
    state_.p_sigma[i] = (1 - c.c_sigma) * state_.p_sigma[i] + into_sigma * white[i];
  }
  const double length = std::sqrt(squared_norm(state_.p_sigma));
  const double settled = std::sqrt(1 - std::pow(1 - c.c_sigma, 2.0 * state_.run_generation));
  const bool h = length < settled * (1.4 + 2 / (static_cast<double>(n) + 1)) * c.chi_n;
  const double into_c = h ? std::sqrt(c.c_c * (2 - c.c_c) * c.mu_eff) : 0;
  for (std::size_t i = 0; i < n; ++i) state_.p_c[i] = (1 - c.c_c) * state_.p_c[i] + into_c * mean_step[i];

  const double sum = std::accumulate(c.weights.begin(), c.weights.end(), 0.0);
  const double kept = 1 + (h ? 0 : c.c_1 * c.c_c * (2 - c.c_c)) - c.c_1 - c.c_mu * sum;
  for (double& entry : state_.covariance) entry *= kept;
  const auto add = [&](double factor, std::span<const double> v) {
    if (separable_) {
      for (std::size_t i = 0; i < n; ++i) state_.covariance[i] += factor * v[i] * v[i];
    } else {
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j) state_.covariance[i * n + j] += factor * (v[i] * v[j]);
    }
  };
  add(c.c_1, state_.p_c);
  for (std::size_t k = 0; k < steps.size(); ++k) {
    double weight = c.weights[k];
    if (weight == 0) continue;
    if (weight < 0) {
      const double distance = squared_norm(whitened(steps[k]));
      weight = distance > 0 ? weight * static_cast<double>(n) / distance : 0;
    }
    add(c.c_mu * weight, steps[k]);
  }
  state_.sigma *= std::exp(c.c_sigma / c.d_sigma * (length / c.chi_n - 1));
}

// With the generation's values: is the function flat? Without: the criteria of the distribution.
CmaesStop Cmaes::judge(std::span<const double> values) const {
  if (!values.empty()) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    const auto [least, most] = std::minmax_element(state_.history.begin(), state_.history.end());
    return std::max(*high, *most) - std::min(*low, *least) < 1e-12 ? CmaesStop::kFlat : CmaesStop::kNone;
  }
  const std::size_t n = state_.mean.size();
  const double limit = 1e-12 * options_.sigma;
  bool small = true;
  for (std::size_t i = 0; small && i < n; ++i)
    small = state_.sigma * std::abs(state_.p_c[i]) < limit &&
            state_.sigma * std::sqrt(state_.covariance[separable_ ? i : i * n + i]) < limit;
  if (small) return CmaesStop::kSmall;
  if (!(state_.sigma * *std::max_element(lengths_.begin(), lengths_.end()) <= 1e4 * options_.sigma))
    return CmaesStop::kLarge;
  if (degenerate_) return CmaesStop::kCondition;
  return has_no_effect() ? CmaesStop::kNoEffect : CmaesStop::kNone;
}

bool Cmaes::has_no_effect() const {
  const std::size_t n = state_.mean.size();
  for (std::size_t i = 0; i < n; ++i) {
    const double deviation = std::sqrt(state_.covariance[separable_ ? i : i * n + i]);
    if (state_.mean[i] == state_.mean[i] + 0.2 * state_.sigma * deviation) return true;
  }
  if (separable_) return false;
  // One axis a generation is enough, as the tutorial has it.
  const std::size_t axis = static_cast<std::size_t>(state_.run_generation) % n;
  for (std::size_t i = 0; i < n; ++i)
    if (state_.mean[i] != state_.mean[i] + 0.1 * state_.sigma * lengths_[axis] * axes_[i * n + axis]) return false;
  return true;
}

}  // namespace solera::search
