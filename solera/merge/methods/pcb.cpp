#include "solera/merge/methods/pcb.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/merge/methods/bands.h"
#include "solera/merge/methods/change_group.h"
#include "solera/merge/methods/changes.h"

namespace solera::merge {
namespace {

using weights::Competing;
using weights::Competition;
using weights::RankRequest;

void check(const PcbParams& params, std::span<const PcbModel>) {
  if (!in_range(params.density, "(0, 1]"))
    throw usage_error(cat("\"density\" is ", number_text(params.density), ", outside (0, 1]"));
  if (!in_range(params.clamp, "[0, 0.5)"))
    throw usage_error(cat("\"clamp\" is ", number_text(params.clamp), ", outside [0, 0.5)"));
}

// ceil(fraction n), exactly.
std::int64_t ceil_count(double fraction, std::int64_t n) { return -floor_count(-fraction, n); }

void require_some_kept(const PcbParams& params, std::int64_t n, const std::string& where) {
  if (params.formulation == PcbFormulation::kPaper || n == 0 || ceil_count(params.density, n) > 1) return;
  throw usage_error(cat("density ", number_text(params.density), " keeps none of ", n, n == 1 ? " entry" : " entries"),
                    where, n == 1 ? "--exclude it or use granularity: model" : cat("give more than 1/", n));
}

// Every task's magnitudes must have two values at least.
void require_range(const ChangeGroup& group, std::size_t task, double low, double high, double clamp) {
  if (high > low) return;
  throw input_error(cat("the changes of ", group.name(task), " have all the same magnitude, ", high,
                        clamp > 0 ? cat(", with clamp ", number_text(clamp)) : ""),
                    group.where(), clamp > 0 ? "lower clamp, or leave the model out" : "leave it out");
}

void require_change(const ChangeGroup& group, std::size_t task, double largest) {
  if (largest == 0) throw input_error(cat(group.name(task), " equals the base"), group.where(), "leave it out");
}

void measure_magnitudes(ChangeGroup& group, const PcbParams& params, Competition& c) {
  const std::int64_t n = group.entries();
  std::vector<RankRequest> requests;
  for (std::size_t i = 0; i < group.tasks(); ++i) {
    requests.push_back({i, n - floor_count(params.clamp, n), true});
    requests.push_back({i, 1 + ceil_count(params.clamp, n), true});
  }
  const auto values = group.magnitudes(requests);
  for (std::size_t i = 0; i < group.tasks(); ++i) {
    c.low.push_back(values[2 * i]);
    c.high.push_back(values[2 * i + 1]);
    if (c.high[i] == 0) {
      const RankRequest first[] = {{i, 1}};
      require_change(group, i, group.magnitudes(first)[0]);
    }
  }
  for (std::size_t i = 0; i < group.tasks(); ++i) require_range(group, i, c.low[i], c.high[i], params.clamp);
}

// f(i, j, place of the pair in a triangle) for i <= j.
template <class F>
void for_pairs(std::size_t tasks, F f) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < tasks; ++i)
    for (std::size_t j = i; j < tasks; ++j) f(i, j, at++);
}

void measure_products(ChangeGroup& group, Competition& c) {
  const std::size_t tasks = group.tasks(), pairs = tasks * (tasks + 1) / 2;
  using Numbers = ChangeGroup::Numbers;
  Numbers start(pairs, std::numeric_limits<double>::infinity());
  start.resize(2 * pairs, -std::numeric_limits<double>::infinity());
  const Numbers extremes = group.fold(
      start,
      [&](Rows rows, std::int64_t n, Numbers& numbers) {
        for_pairs(tasks, [&](std::size_t i, std::size_t j, std::size_t at) {
          weights::product_extremes(rows[i], rows[j], n, numbers[at], numbers[pairs + at]);
        });
      },
      [&](Numbers& left, const Numbers& right) {
        for (std::size_t at = 0; at < pairs; ++at) {
          left[at] = std::min(left[at], right[at]);
          left[pairs + at] = std::max(left[pairs + at], right[pairs + at]);
        }
      });
  c.pair_low.resize(tasks * tasks);
  c.pair_high.resize(tasks * tasks);
  for_pairs(tasks, [&](std::size_t i, std::size_t j, std::size_t at) {
    c.pair_low[i * tasks + j] = c.pair_low[j * tasks + i] = extremes[at];
    c.pair_high[i * tasks + j] = c.pair_high[j * tasks + i] = extremes[pairs + at];
  });
  const auto end_of = [&](const std::vector<double>& ends, std::size_t i) { return ends[i * tasks + i]; };
  for (std::size_t i = 0; i < tasks; ++i) require_change(group, i, end_of(c.pair_high, i));
  for (std::size_t i = 0; i < tasks; ++i)
    require_range(group, i, std::sqrt(end_of(c.pair_low, i)), std::sqrt(end_of(c.pair_high, i)), 0);

  const Numbers sums = group.fold(
      Numbers(pairs + tasks, 0.0),
      [&](Rows rows, std::int64_t n, Numbers& numbers) {
        std::vector<double> terms(static_cast<std::size_t>(n));
        const auto sum = [&](std::size_t i, std::size_t j, double sharpness) {
          weights::product_terms(c.pair_low[i * tasks + j], c.pair_high[i * tasks + j], sharpness, rows[i], rows[j], n,
                                 terms.data());
          weights::LaneSum lanes;
          lanes.add(terms.data(), n);
          return lanes.total();
        };
        for_pairs(tasks, [&](std::size_t i, std::size_t j, std::size_t at) { numbers[at] += sum(i, j, 1); });
        for (std::size_t i = 0; i < tasks; ++i) numbers[pairs + i] += sum(i, i, c.sharpness);
      },
      [](Numbers& left, const Numbers& right) {
        for (std::size_t at = 0; at < left.size(); ++at) left[at] += right[at];
      });
  c.pair_sum.resize(tasks * tasks);
  for_pairs(tasks, [&](std::size_t i, std::size_t j, std::size_t at) {
    c.pair_sum[i * tasks + j] = c.pair_sum[j * tasks + i] = sums[at];
  });
  c.self_sum.assign(sums.begin() + static_cast<std::ptrdiff_t>(pairs), sums.end());
}

// Two passes, or three for the paper's formulation. `models` is N, which unchanged models count in.
Competition measure(ChangeGroup& group, const PcbParams& params, std::size_t models) {
  Competition c;
  const bool code = params.formulation == PcbFormulation::kCode;
  c.rule = code ? Competing::kCode : Competing::kPaper;
  c.inter = params.inter;
  c.sharpness = static_cast<double>(models);
  c.threshold.assign(group.tasks(), 0.0);
  c.most.assign(group.tasks(), 0.0);
  const std::int64_t n = group.entries();
  require_some_kept(params, n, group.where());
  code ? measure_magnitudes(group, params, c) : measure_products(group, c);
  std::vector<RankRequest> requests;
  for (std::size_t i = 0; i < group.tasks(); ++i) {
    requests.push_back({i, ceil_count(params.density, n), true});
    requests.push_back({i, 1});
  }
  const auto write = [&](Rows rows, std::int64_t count) {
    weights::competition_scores(c, rows, count);
    if (code)
      for (double* row : rows) weights::scores_as_magnitudes(row, count);
  };
  const auto values = group.scores(write, requests);
  for (std::size_t i = 0; i < group.tasks(); ++i) {
    c.threshold[i] = code ? weights::magnitude_as_score(values[2 * i]) : values[2 * i];
    c.most[i] = code ? weights::magnitude_as_score(values[2 * i + 1]) : values[2 * i + 1];
    if (code && !(c.most[i] > c.threshold[i]))
      throw input_error(cat("the best scores of ", group.name(i), " tie, so that density ", number_text(params.density),
                            " keeps none of ", n, " entries"),
                        group.where(), "raise density, or leave the model out");
  }
  return c;
}

class PcbProgram final : public TypedProgram<PcbParams, PcbModel> {
 public:
  PcbProgram() : TypedProgram(nullptr, check) {}

  void bind(std::size_t index, const Binding& binding) override {
    TypedProgram::bind(index, binding);
    const bool model = params(index).granularity == PcbGranularity::kModel;
    require_one_granularity(wants_survey(), model);
    if (model) require_values_of_group(index, binding);
    if (!model) require_some_kept(params(index), checkpoint::element_count(binding.shape), binding.tensor);
    if (index == 0 && binding.models.size() == 1 && binding.warnings)
      binding.warnings->push_back("pcb: one model has nothing to compete with; its own largest changes are kept");
  }

  bool wants_survey() const override { return count() > 0 && params(0).granularity == PcbGranularity::kModel; }

  void survey(std::span<const TensorPass> passes) override {
    StoredChanges group(passes.front().engine, survey_segments(passes));
    whole_ = measure(group, params(0), group.tasks());
  }

  bool survey_state(SurveyState& state) override {
    state(whole_.rule, whole_.inter, whole_.sharpness, whole_.low, whole_.high, whole_.pair_low, whole_.pair_high,
          whole_.pair_sum, whole_.self_sum, whole_.threshold, whole_.most);
    return true;
  }

  void merge(std::size_t index, const TensorPass& pass) override {
    if (pass.elements() == 0) return;
    std::vector<double> factors;
    for (const PcbModel& model : models(index)) factors.push_back(model.weight);
    if (params(index).granularity == PcbGranularity::kModel) return map_mean(pass, whole_, factors, index);

    // A model that leaves this tensor as it is takes no part in its competition.
    std::vector<weights::Operand> operands = {pass.operands.front()};
    std::vector<double> taking_part;
    const auto moved = moved_tasks(pass);
    for (std::size_t i = 0; i < moved.size(); ++i) {
      if (moved[i] == 0) continue;
      operands.push_back(pass.operands[i + 1]);
      taking_part.push_back(factors[i]);
    }
    const TensorPass part{pass.name, pass.shape, operands, pass.has_base, pass.engine, pass.sink};
    if (taking_part.empty()) return map_mean(part, {}, taking_part, index);
    StoredChanges group(pass.engine, {{operands}}, std::string(pass.name));
    map_mean(part, measure(group, params(index), pass.models()), taking_part, index);
  }

 private:
  // 1 for every task that changes anything.
  static ChangeGroup::Numbers moved_tasks(const TensorPass& pass) {
    StoredChanges group(pass.engine, {{pass.operands}});
    return group.fold(
        ChangeGroup::Numbers(pass.models(), 0.0),
        [](Rows rows, std::int64_t n, ChangeGroup::Numbers& moved) {
          for (std::size_t i = 0; i < moved.size(); ++i)
            if (moved[i] == 0) moved[i] = std::any_of(rows[i], rows[i] + n, [](double v) { return v != 0; });
        },
        [](ChangeGroup::Numbers& left, const ChangeGroup::Numbers& right) {
          for (std::size_t i = 0; i < left.size(); ++i) left[i] = std::max(left[i], right[i]);
        });
  }

  void map_mean(const TensorPass& pass, const Competition& competition, std::span<const double> factors,
                std::size_t index) {
    map_changes<double>(pass, [&](const weights::Tile<double>& tile, Rows changes, double* out) {
      weights::competition_mean(competition, factors, changes, tile.count, out);
      add_to_base(tile[0], params(index).lambda, out, tile.count, out);
    });
  }

  Competition whole_;
};

}  // namespace

void pcb(std::span<const float> base, std::span<const std::span<const float>> tuned, const PcbParams& params,
         std::span<const PcbModel> models, std::span<float> out) {
  check(params, models);
  if (base.empty()) return;
  ChangesInMemory group(base, tuned);
  const Competition competition = measure(group, params, tuned.size());
  std::vector<double> factors, origin(base.begin(), base.end()), result(base.size());
  for (const PcbModel& model : models) factors.push_back(model.weight);
  const auto n = std::ssize(result);
  weights::competition_mean(competition, factors, group.rows(), n, result.data());
  add_to_base(origin.data(), params.lambda, result.data(), n, result.data());
  std::transform(result.begin(), result.end(), out.begin(), [](double v) { return static_cast<float>(v); });
}

Method pcb_method() {
  return {.name = "pcb",
          .summary = "every change weighed by its size and its agreement with the other models",
          .citation = "Du et al. 2024, arXiv 2410.02396",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = []() -> std::unique_ptr<Program> { return std::make_unique<PcbProgram>(); },
          .parameters = described_fields<PcbParams>,
          .model_parameters = described_fields<PcbModel>};
}

}  // namespace solera::merge
