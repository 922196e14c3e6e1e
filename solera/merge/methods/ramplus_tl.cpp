#include "solera/merge/methods/ramplus_tl.h"

#include <algorithm>

namespace solera::merge {

namespace {

struct Counts {
  std::vector<std::int64_t> shared, alone;

  template <class T>
  void add(double epsilon, std::span<T* const> changes, std::int64_t n) {
    shared.resize(changes.size());
    alone.resize(changes.size());
    weights::count_active<T>(static_cast<T>(epsilon), changes, n, shared, alone);
  }
  void merge(const Counts& right) {
    shared.resize(right.shared.size());
    alone.resize(right.alone.size());
    for (std::size_t i = 0; i < shared.size(); ++i) {
      shared[i] += right.shared[i];
      alone[i] += right.alone[i];
    }
  }
  template <class T>
  std::vector<T> factors(const RamplusTlParams& params) const {
    std::vector<T> result;
    for (std::size_t i = 0; i < shared.size(); ++i)
      result.push_back(static_cast<T>(ramplus_tl_factor(shared[i], alone[i], params)));
    return result;
  }
};

template <class T>
void run(const TensorPass& pass, const RamplusTlParams& params) {
  const auto counts = weights::reduce<T, Counts>(
      pass.engine, pass.operands,
      [&](const weights::Tile<T>& tile, Counts& state) {
        state.template add<T>(params.epsilon, tile.inputs.subspan(1), tile.count);
      },
      weights::Reading::kChanges);
  map_active<T>(pass, params.epsilon, counts.template factors<T>(params));
}

void merge(const TensorPass& pass, const RamplusTlParams& params, std::span<const NoParams>) {
  pass.wide() ? run<double>(pass, params) : run<float>(pass, params);
}

}  // namespace

double ramplus_tl_factor(std::int64_t shared, std::int64_t alone, const RamplusTlParams& params) {
  if (shared == 0) return 1;
  const double ratio = static_cast<double>(shared) / std::max(static_cast<double>(alone), params.epsilon);
  return 1 + params.r * std::min(ratio, params.alpha);
}

void ramplus_tl(std::span<const float> base, std::span<const std::span<const float>> tuned,
                const RamplusTlParams& params, std::span<float> out) {
  const Changes changes(base, tuned);
  const auto n = static_cast<std::int64_t>(out.size());
  Counts counts;
  counts.add<float>(params.epsilon, changes.pointers, n);
  std::vector<float> result(out.size());
  add_active<float>(params.epsilon, counts.factors<float>(params), base.data(), changes.pointers, n, result.data());
  std::copy(result.begin(), result.end(), out.begin());
}

Method ramplus_tl_method() {
  return {.name = "ramplus_tl",
          .summary = "ram, with changes of one model alone enlarged",
          .citation = "Yuan et al. 2026, arXiv 2601.13572",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = [] { return typed_program<RamplusTlParams, NoParams>(merge); },
          .parameters = described_fields<RamplusTlParams>,
          .model_parameters = described_fields<NoParams>};
}

}  // namespace solera::merge
