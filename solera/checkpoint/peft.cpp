#include "solera/checkpoint/peft.h"

#include <algorithm>
#include <array>
#include <map>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/checkpoint/remote.h"

namespace solera::checkpoint {
namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr const char* kConfigName = "adapter_config.json";
constexpr const char* kWeightsName = "adapter_model.safetensors";

// What a tensor of the file is to its module.
enum class Part { kA, kB, kBias, kEmbeddingA, kEmbeddingB };

struct Named {
  std::string module;
  Part part = Part::kA;
};

// "base_model.model.x.lora_A.weight", also without the prefix, with ".default" (the adapter's name) or "_orig_mod.".
std::optional<Named> parse_name(std::string_view text) {
  std::string name(text);
  if (name.starts_with(kPrefix)) name.erase(0, kPrefix.size());
  for (const std::string_view part : {"_orig_mod.", ".default"})
    if (const auto at = name.find(part); at != std::string::npos) name.erase(at, part.size());
  struct Suffix {
    std::string_view text;
    Part part;
  };
  static constexpr std::array<Suffix, 5> kSuffixes = {{{".lora_A.weight", Part::kA},
                                                       {".lora_B.weight", Part::kB},
                                                       {".lora_B.bias", Part::kBias},
                                                       {".lora_embedding_A", Part::kEmbeddingA},
                                                       {".lora_embedding_B", Part::kEmbeddingB}}};
  for (const Suffix& suffix : kSuffixes)
    if (name.ends_with(suffix.text) && name.size() > suffix.text.size())
      return Named{name.substr(0, name.size() - suffix.text.size()), suffix.part};
  return std::nullopt;
}

// Entries per row when a tensor's first axis is kept and the others are joined.
std::int64_t row_length(const Tensor& tensor) {
  std::int64_t length = 1;
  for (std::size_t i = 1; i < tensor.shape.size(); ++i) length *= tensor.shape[i];
  return length;
}

bool is_matrix(const Tensor& tensor) { return tensor.shape.size() >= 2 && is_float(tensor.dtype); }

void require_factors(AdapterModule& module, const AdapterConfig& config, const std::string& folder) {
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) throw input_error(cat(module.module, ": ", what), folder);
  };
  require(module.a != nullptr && module.b != nullptr, cat(module.a ? "lora_B" : "lora_A", " is missing"));
  require(is_matrix(*module.a) && is_matrix(*module.b), "its factors are not matrices of floating-point numbers");
  const std::int64_t rank = module.a->shape[0], other = row_length(*module.b);
  require(rank == other, cat("lora_A has rank ", rank, ", lora_B has rank ", other));
  const std::int64_t expected = config.rank_of(module.module);
  require(rank == expected, cat("its tensors have rank ", rank, ", ", kConfigName, " says ", expected));
  require(config.targets(module.module),
          cat("it has tensors, but target_modules of ", kConfigName, " does not name it"));
  require(!module.bias || (is_float(module.bias->dtype) && module.bias->shape == Shape{module.b->shape[0]}),
          "lora_B.bias is not a vector of lora_B's rows");
  module.rank = rank;
  module.scale = config.scale_of(module.module);
}

}  // namespace

Adapter::Adapter(const std::string& folder, const AdapterConfig& config, Checkpoint file)
    : folder_(folder), config_(config), file_(std::move(file)) {
  std::map<std::string, AdapterModule> modules;
  for (const Tensor& tensor : file_.tensors()) {
    const auto named = parse_name(tensor.name);
    if (!named) {
      const bool dora = tensor.name.find("lora_magnitude_vector") != std::string::npos;
      throw input_error(cat(tensor.name, dora ? " belongs to a DoRA adapter" : " is a trained tensor beside LoRA",
                            ", which is not supported"),
                        folder, "merge it into the model with the tool that made it");
    }
    AdapterModule& module = modules[named->module];
    module.module = named->module;
    if (named->part == Part::kEmbeddingA || named->part == Part::kEmbeddingB) module.embedding = true;
    const Tensor*& place = named->part == Part::kBias                                    ? module.bias
                           : named->part == Part::kA || named->part == Part::kEmbeddingA ? module.a
                                                                                         : module.b;
    if (place) throw input_error(cat(tensor.name, " and ", place->name, " are the same factor"), folder);
    place = &tensor;
  }
  if (modules.empty()) throw input_error("the adapter has no tensors", folder);
  for (auto& [name, module] : modules) {
    require_factors(module, config_, folder);
    modules_.push_back(module);
  }
}

bool is_adapter(const std::string& path) {
  if (is_remote(path)) return !is_remote_file(path) && RemoteFolder(path).has(kConfigName);
  return is_folder(path) && exists(join_path(path, kConfigName));
}

Adapter open_adapter(const std::string& folder) {
  if (is_remote(folder)) {
    const RemoteFolder remote(folder);
    const std::string path = join_path(remote.path(), kConfigName);
    return Adapter(remote.path(), parse_adapter_config(parse_json(read_remote(path), path)),
                   open_checkpoint(join_path(remote.path(), kWeightsName)));
  }
  const AdapterConfig config = parse_adapter_config(read_json(join_path(folder, kConfigName)));
  std::string weights = join_path(folder, kWeightsName);
  if (const std::string older = join_path(folder, "adapter_model.bin"); !exists(weights) && exists(older))
    weights = older;
  return Adapter(folder, config, open_checkpoint(weights));
}

AdapterTarget target_of(const Adapter& adapter, const AdapterModule& module, const Checkpoint& base) {
  AdapterTarget target;
  const std::string wanted = module.module + ".weight";
  target.weight = base.find(wanted);
  if (!target.weight) {
    std::vector<std::string> names;
    std::string hint;
    for (const Tensor& tensor : base.tensors()) {
      names.push_back(tensor.name);
      if (tensor.name.ends_with("." + wanted) || wanted.ends_with("." + tensor.name))
        hint = cat("the base has ", tensor.name, ": was the adapter made for a model with another prefix?");
    }
    throw input_error(cat(adapter.path(), " changes ", wanted, ", which ", base.path(), " lacks"), "",
                      hint.empty() ? did_you_mean(wanted, names) : hint);
  }
  const Tensor& w = *target.weight;
  if (!is_matrix(w))
    throw input_error(cat(wanted, " is ", name(w.dtype), " ", shape_text(w.shape), ", no matrix"), base.path());
  target.rows = w.shape[0];
  target.columns = row_length(w);
  const std::int64_t out = module.b->shape[0], in = row_length(*module.a);
  const bool straight = target.rows == out && target.columns == in,
             turned = w.shape.size() == 2 && target.rows == in && target.columns == out;
  target.transposed = module.embedding || (turned && (adapter.config().fan_in_fan_out || !straight));
  if (target.transposed ? !turned : !straight)
    throw input_error(cat(wanted, " is ", shape_text(w.shape), ", the adapter's factors are ",
                          shape_text(module.b->shape), " and ", shape_text(module.a->shape)),
                      adapter.path(), "the adapter was made for another base");
  if (module.bias) {
    target.bias = base.find(module.module + ".bias");
    if (!target.bias || target.bias->shape != module.bias->shape || !is_float(target.bias->dtype))
      throw input_error(cat(module.module, " has no bias of ", module.bias->shape[0], " entries for lora_B.bias"),
                        base.path());
  }
  return target;
}

std::string adapter_tensor_name(std::string_view module, bool embedding, char factor) {
  return cat(kPrefix, module, embedding ? ".lora_embedding_" : ".lora_", factor, embedding ? "" : ".weight");
}

}  // namespace solera::checkpoint
