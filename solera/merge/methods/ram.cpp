#include "solera/merge/methods/ram.h"

namespace solera::merge {

namespace {

template <class T>
void run(const TensorPass& pass, const RamParams& params) {
  map_active<T>(pass, params.epsilon, std::vector<T>(pass.models(), T(1)));
}

void merge(const TensorPass& pass, const RamParams& params, std::span<const NoParams>) {
  pass.wide() ? run<double>(pass, params) : run<float>(pass, params);
}

}  // namespace

void ram(std::span<const float> base, std::span<const std::span<const float>> tuned, const RamParams& params,
         std::span<float> out) {
  const Changes changes(base, tuned);
  const std::vector<float> alone(tuned.size(), 1.0f);
  std::vector<float> result(out.size());
  add_active<float>(params.epsilon, alone, base.data(), changes.pointers, static_cast<std::int64_t>(out.size()),
                    result.data());
  std::copy(result.begin(), result.end(), out.begin());
}

Method ram_method() {
  return {.name = "ram",
          .summary = "changes of one model whole, those of several averaged",
          .citation = "Yuan et al. 2026, arXiv 2601.13572",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = [] { return typed_program<RamParams, NoParams>(merge); },
          .parameters = described_fields<RamParams>,
          .model_parameters = described_fields<NoParams>};
}

}  // namespace solera::merge
