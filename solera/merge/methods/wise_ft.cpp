#include "solera/merge/methods/wise_ft.h"

#include <array>

#include "solera/merge/methods/geometry.h"

namespace solera::merge {

namespace {

template <class T>
void mix(std::span<T* const> inputs, double alpha, std::int64_t n, T* out) {
  combine<T>(std::array{1 - alpha, alpha}, inputs, n, out);
}

template <class T>
void run(const TensorPass& pass, const WiseFtParams& params) {
  weights::map<T>(pass.engine, pass.operands, *pass.sink,
                  [&](const weights::Tile<T>& tile, T* out) { mix<T>(tile.inputs, params.alpha, tile.count, out); });
}

void merge(const TensorPass& pass, const WiseFtParams& params, std::span<const NoParams>) {
  pass.wide() ? run<double>(pass, params) : run<float>(pass, params);
}

}  // namespace

void wise_ft(std::span<const float> base, std::span<const float> tuned, const WiseFtParams& params,
             std::span<float> out) {
  std::vector<float> a(base.begin(), base.end()), b(tuned.begin(), tuned.end());
  mix<float>(std::array{a.data(), b.data()}, params.alpha, static_cast<std::int64_t>(out.size()), out.data());
}

Method wise_ft_method() {
  return {.name = "wise_ft",
          .summary = "between a pre-trained model and its fine-tune",
          .citation = "Wortsman et al. 2022, arXiv 2109.01903",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .max_models = 1,
          .program = [] { return typed_program<WiseFtParams, NoParams>(merge); },
          .parameters = described_fields<WiseFtParams>,
          .model_parameters = described_fields<NoParams>};
}

}  // namespace solera::merge
