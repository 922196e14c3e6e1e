#include "solera/merge/methods/passthrough.h"

#include <cstddef>

namespace solera::merge {
namespace {

template <class T>
void scaled(const T* input, double scale, std::int64_t n, T* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(scale * static_cast<double>(input[i]));
}

template <class T>
void run(const TensorPass& pass, double scale) {
  weights::map<T>(pass.engine, pass.operands, *pass.sink,
                  [&](const weights::Tile<T>& tile, T* out) { scaled(tile[0], scale, tile.count, out); });
}

void merge(const TensorPass& pass, const NoParams&, std::span<const PassthroughModel> models) {
  pass.wide() ? run<double>(pass, models[0].scale) : run<float>(pass, models[0].scale);
}

}  // namespace

void passthrough(std::span<const float> input, const PassthroughModel& model, std::span<float> out) {
  scaled(input.data(), model.scale, static_cast<std::int64_t>(input.size()), out.data());
}

Method passthrough_method() {
  return {.name = "passthrough",
          .summary = "one model as it is: to stack layers, or to scale tensors",
          .citation = "no paper; the practice of layer stacking",
          .base = BasePolicy::kNone,
          .min_models = 1,
          .max_models = 1,
          .program = [] { return typed_program<NoParams, PassthroughModel>(merge); },
          .parameters = described_fields<NoParams>,
          .model_parameters = described_fields<PassthroughModel>};
}

}  // namespace solera::merge
