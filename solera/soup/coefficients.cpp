#include "solera/soup/coefficients.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "solera/base/error.h"
#include "solera/base/random.h"
#include "solera/search/cmaes.h"
#include "solera/soup/scoring.h"

namespace solera::soup {
namespace {

// Keeps the trials and which of them is best.
struct Record {
  const CoefficientOptions& options;
  const EvaluateBlend& evaluate;
  const OnBlendTrial& on_trial;
  BlendResult result;

  int count() const { return static_cast<int>(result.trials.size()); }

  // Scores the trials given, in their order.
  void run(std::vector<BlendTrial> trials) {
    score_in_order(
        static_cast<int>(trials.size()), options.jobs,
        [&](int i) {
          const BlendTrial& trial = trials[static_cast<std::size_t>(i)];
          const Evaluation evaluation = evaluate(trial.blend);
          require_finite(evaluation, trial.generation == 0
                                         ? "the start"
                                         : cat("candidate ", trial.candidate, " of generation ", trial.generation));
          return evaluation;
        },
        [&](int i, const Evaluation& evaluation) {
          BlendTrial& trial = trials[static_cast<std::size_t>(i)];
          trial.evaluation = evaluation;
          const double score = evaluation.score;
          trial.better = result.trials.empty() || (options.minimize ? score < result.best_trial().evaluation.score
                                                                    : score > result.best_trial().evaluation.score);
          if (trial.better) result.best = count();
          result.trials.push_back(std::move(trial));
          if (on_trial) on_trial(result.trials.back());
        });
  }
};

void require_sense(const CoefficientOptions& options) {
  if (options.budget < 1) throw usage_error(cat("--budget is ", options.budget, ", less than 1"));
  if (options.jobs < 1) throw usage_error(cat("jobs is ", options.jobs, ", less than 1"));
}

constexpr double kBoxStep = 1.0 / 6;  // of a side

search::CmaesOptions optimizer_options(const Coordinates& coordinates, const Blend& start,
                                       const CoefficientOptions& options) {
  search::CmaesOptions result;
  result.start = coordinates.point(start);
  result.seed = options.seed;
  const bool box = options.domain == Domain::kBox;
  result.sigma = options.sigma > 0 ? options.sigma : box ? kBoxStep : 1.0;
  if (box) {
    result.lower.assign(result.start.size(), 0.0);
    result.upper.assign(result.start.size(), 1.0);
  }
  return result;
}

// The start, then candidates until the budget is used.
BlendResult optimize(const Blend& start, const std::function<search::CmaesOptions()>& optimizer,
                     const std::function<Blend(std::span<const double> point)>& blend_at,
                     const CoefficientOptions& options, const EvaluateBlend& evaluate, const OnBlendTrial& on_trial) {
  require_sense(options);
  Record record{options, evaluate, on_trial, {}};
  record.run({BlendTrial{.blend = start}});
  search::Cmaes cmaes(optimizer());
  while (record.count() < options.budget) {
    if (cmaes.stop() != search::CmaesStop::kNone) cmaes.restart();
    const int left = options.budget - record.count();
    std::vector<BlendTrial> trials;
    for (int k = 0; k < std::min(cmaes.population(), left); ++k)
      trials.push_back({.blend = blend_at(cmaes.ask()[static_cast<std::size_t>(k)]),
                        .generation = cmaes.generation() + 1,
                        .candidate = k + 1});
    record.run(std::move(trials));
    record.result.generations = cmaes.generation() + 1;
    record.result.restarts = cmaes.restarts();
    if (left < cmaes.population()) break;
    std::vector<double> values;
    for (std::size_t t = record.result.trials.size() - static_cast<std::size_t>(cmaes.population());
         t < record.result.trials.size(); ++t)
      values.push_back((options.minimize ? 1 : -1) * record.result.trials[t].evaluation.score);
    cmaes.tell(values);
  }
  return std::move(record.result);
}

}  // namespace

Coordinates::Coordinates(Domain domain, int groups, int ingredients)
    : domain_(domain), groups_(groups), ingredients_(ingredients) {
  if (domain == Domain::kBox) return;
  // Column j: j equal entries, then one that makes up for them, then zeros.
  basis_.assign(static_cast<std::size_t>(ingredients), std::vector<double>(static_cast<std::size_t>(ingredients) - 1));
  for (std::size_t j = 1; j < basis_.size(); ++j) {
    const double size = static_cast<double>(j), length = std::sqrt(size * (size + 1));
    for (std::size_t i = 0; i < j; ++i) basis_[i][j - 1] = 1 / length;
    basis_[j][j - 1] = -size / length;
  }
}

std::vector<double> Coordinates::point(const Blend& blend) const {
  const auto k = static_cast<std::size_t>(ingredients_);
  std::vector<double> point;
  for (std::size_t g = 0; g < static_cast<std::size_t>(groups_); ++g) {
    const Mix weights = normalized(blend.rows[blend.rows.size() == 1 ? 0 : g]);
    for (std::size_t j = 0; j + 1 < k; ++j) {
      if (domain_ == Domain::kBox) {
        point.push_back(std::clamp(weights[j], 0.0, 1.0));
        continue;
      }
      double sum = 0;
      for (std::size_t i = 0; i < k; ++i)
        sum += basis_[i][j] * std::log(std::max(weights[i], 0.01 / static_cast<double>(k)));
      point.push_back(sum);
    }
  }
  return point;
}

Blend Coordinates::blend(std::span<const double> point) const {
  const auto k = static_cast<std::size_t>(ingredients_);
  Blend blend;
  for (std::size_t g = 0; g < static_cast<std::size_t>(groups_); ++g) {
    const std::span<const double> x = point.subspan(g * (k - 1), k - 1);
    Mix& mix = blend.rows.emplace_back(k);
    if (domain_ == Domain::kBox) {
      std::copy(x.begin(), x.end(), mix.begin());
      mix.back() = 1 - std::accumulate(x.begin(), x.end(), 0.0);
      continue;
    }
    for (std::size_t i = 0; i < k; ++i) mix[i] = std::inner_product(x.begin(), x.end(), basis_[i].begin(), 0.0);
    const double largest = *std::max_element(mix.begin(), mix.end());
    for (double& weight : mix) weight = std::exp(weight - largest);
    mix = normalized(mix);
  }
  return blend;
}

BlendResult search_coefficients(const Blend& start, const CoefficientOptions& options, const EvaluateBlend& evaluate,
                                const OnBlendTrial& on_trial) {
  const Coordinates coordinates(options.domain, static_cast<int>(start.rows.size()),
                                static_cast<int>(start.rows.front().size()));
  return optimize(
      start, [&] { return optimizer_options(coordinates, start, options); },
      [&](std::span<const double> point) { return coordinates.blend(point); }, options, evaluate, on_trial);
}

BlendResult search_box(const Box& box, const CoefficientOptions& options, const EvaluateBlend& evaluate,
                       const OnBlendTrial& on_trial) {
  const std::size_t n = box.start.size();
  const auto optimizer = [&] {
    search::CmaesOptions result{.sigma = options.sigma > 0 ? options.sigma : kBoxStep, .seed = options.seed};
    for (std::size_t i = 0; i < n; ++i)
      result.start.push_back((box.start[i] - box.low[i]) / (box.high[i] - box.low[i]));
    result.lower.assign(n, 0.0);
    result.upper.assign(n, 1.0);
    return result;
  };
  const auto values = [&](std::span<const double> point) {
    Mix row;
    for (std::size_t i = 0; i < n; ++i)
      row.push_back(std::clamp(box.low[i] + point[i] * (box.high[i] - box.low[i]), box.low[i], box.high[i]));
    return Blend{{row}};
  };
  return optimize(Blend{{box.start}}, optimizer, values, options, evaluate, on_trial);
}

BlendResult search_line(int points, const CoefficientOptions& options, const EvaluateBlend& evaluate,
                        const OnBlendTrial& on_trial) {
  require_sense(options);
  if (points < 2) throw usage_error(cat("--alphas is ", points, ", less than 2"));
  Record record{options, evaluate, on_trial, {}};
  std::vector<BlendTrial> trials;
  for (int i = 0; i < points; ++i) {
    const double alpha = i / (points - 1.0);
    trials.push_back({.blend = {{{1 - alpha, alpha}}}, .generation = 1, .candidate = i + 1, .alpha = alpha});
  }
  record.run(std::move(trials));
  record.result.generations = 1;
  return std::move(record.result);
}

BlendResult search_random(int models, const CoefficientOptions& options, const EvaluateBlend& evaluate,
                          const OnBlendTrial& on_trial) {
  require_sense(options);
  Record record{options, evaluate, on_trial, {}};
  std::vector<BlendTrial> trials;
  for (int draw = 0; draw < options.budget; ++draw) {
    const RandomStream stream({options.seed, "dirichlet", static_cast<std::uint64_t>(draw)});
    Mix mix;
    for (int i = 0; i < models; ++i)  // u in (0, 1]
      mix.push_back(-std::log(1 - stream.uniform(static_cast<std::uint64_t>(i))));
    trials.push_back({.blend = {{normalized(mix)}}, .generation = 1, .candidate = draw + 1});
  }
  record.run(std::move(trials));
  record.result.generations = 1;
  return std::move(record.result);
}

}  // namespace solera::soup
