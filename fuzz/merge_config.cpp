// A merge configuration from anywhere: an Error, or a configuration whose every setting is a plain value for any
// tensor.
#include <cstdlib>
#include <string_view>

#include "solera/base/error.h"
#include "solera/merge/config.h"
#include "solera/merge/methods.h"
#include "solera/merge/settings.h"

using namespace solera::merge;

namespace {

void look_up(const Lookup& lookup, const std::vector<Field>& fields) {
  for (const Field& field : fields) {
    const auto value = lookup(field.name);
    if (value && !value->is_scalar()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const MergeConfig config =
        parse_merge_config(solera::parse_yaml({reinterpret_cast<const char*>(data), size}, "fuzz.yaml"));
    const Method& chosen = method(config.method);
    const auto look = [&](const solera::Node* slice, const std::vector<ModelEntry>& models) {
      const Settings settings(config, chosen, slice);
      for (const double t : {0.0, 0.3, 1.0}) {
        const TensorPlace place{"model.layers.1.mlp.up_proj.weight", t, Role::kBody};
        look_up(settings.global(place), chosen.parameters());
        for (const ModelEntry& model : models)
          look_up(settings.of_model(model.parameters, place), chosen.model_parameters());
      }
    };
    look(nullptr, config.models);
    for (const SliceEntry& slice : config.slices) look(&slice.parameters, slice.sources);
  } catch (const solera::Error&) {
  }
  return 0;
}
