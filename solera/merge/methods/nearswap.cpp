#include "solera/merge/methods/nearswap.h"

#include "solera/weights/mixing.h"

namespace solera::merge {

namespace {

template <class T>
void run(const TensorPass& pass, const NearswapParams& params) {
  weights::map<T>(pass.engine, pass.operands, *pass.sink, [&](const weights::Tile<T>& tile, T* out) {
    weights::near_swap(static_cast<T>(params.t), tile[0], tile[1], tile.count, out);
  });
}

void merge(const TensorPass& pass, const NearswapParams& params, std::span<const NoParams>) {
  pass.wide() ? run<double>(pass, params) : run<float>(pass, params);
}

}  // namespace

void nearswap(std::span<const float> base, std::span<const float> other, const NearswapParams& params,
              std::span<float> out) {
  weights::near_swap(static_cast<float>(params.t), base.data(), other.data(), static_cast<std::int64_t>(out.size()),
                     out.data());
}

Method nearswap_method() {
  return {.name = "nearswap",
          .summary = "another model's entries where they are near the base's",
          .citation = "alchemonaut 2024, huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .max_models = 1,
          .program = [] { return typed_program<NearswapParams, NoParams>(merge); },
          .parameters = described_fields<NearswapParams>,
          .model_parameters = described_fields<NoParams>};
}

}  // namespace solera::merge
