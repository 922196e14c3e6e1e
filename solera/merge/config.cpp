#include "solera/merge/config.h"

#include <algorithm>
#include <set>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/merge/methods.h"
#include "solera/merge/values.h"

namespace solera::merge {
namespace {

using checkpoint::DType;
using Names = std::vector<std::string>;

const Names kTopKeys = {"merge_method", "models",        "slices",    "modules", "base_model",
                        "parameters",   "dtype",         "out_dtype", "rules",   "tokenizer_source",
                        "tokenizer",    "chat_template", "name"};
// Parameters of mergekit's methods; one that the method at hand does not have is ignored there, and noted here.
const std::set<std::string> kMergekitParameters = {"weight",    "density",   "gamma",       "epsilon",
                                                   "normalize", "rescale",   "lambda",      "t",
                                                   "scale",     "int8_mask", "filter_wise", "select_topk"};

const Node* present(const Node& map, std::string_view key) {
  const Node* node = map.find(key);
  return node && !node->is_null() ? node : nullptr;
}

void require_map(const Node& node, std::string_view what) {
  if (!node.is_map()) throw usage_error(cat(what, " is not a map of keys and values"), node.where());
}

void require_keys(const Node& map, const Names& known, std::string_view what) {
  require_map(map, what);
  require_known_keys(map, known, cat("in ", what));
}

const std::string& text_of(const Node& node, std::string_view key) {
  if (!node.is_scalar() || node.as_text().empty()) throw usage_error(cat("\"", key, "\" is not a text"), node.where());
  return node.as_text();
}

Error unsupported(std::string_view what, const Node& node, std::string hint) {
  return usage_error(cat(what, " is not supported yet"), node.where(), std::move(hint));
}

// "path[@revision][+adapter]", or {model: path | {path: ..., revision: ...}, lora: ...}.
std::string model_path(const Node& node, std::string_view key) {
  if (node.is_map()) {
    require_keys(node, {"model", "lora", "override_architecture", "path", "revision"}, cat("\"", key, "\""));
    if (const Node* lora = present(node, "lora"))
      throw unsupported("merging an adapter (lora)", *lora, "merge it into its model first");
    if (const Node* other = present(node, "override_architecture"))
      throw unsupported("override_architecture", *other, "remove it: no architecture is needed here");
    if (const Node* revision = present(node, "revision"))
      throw unsupported("a hub revision", *revision, "download the model and give its folder");
    const Node* inner = present(node, node.find("path") ? "path" : "model");
    if (!inner) throw usage_error(cat("\"", key, "\" names no model"), node.where(), "write {model: FOLDER}");
    return model_path(*inner, key);
  }
  const std::string& text = text_of(node, key);
  if (text.find('+') != std::string::npos && !exists(text))
    throw unsupported(cat("merging an adapter (", text, ")"), node, "merge it into its model first");
  return text;
}

std::string base_of(const Node& map, std::string& where) {
  const Node* base = present(map, "base_model");
  if (!base) return "";
  where = base->where();
  return model_path(*base, "base_model");
}

bool has_field(const std::vector<Field>& fields, const std::string& key) {
  return std::any_of(fields.begin(), fields.end(), [&](const Field& f) {
    return f.name == key || std::find(f.aliases.begin(), f.aliases.end(), key) != f.aliases.end();
  });
}

// A map of settings, its names checked against the method's lists.
Node parameters_of(const Node& map, const Method& method, bool of_model, Names& notes) {
  const Node* node = present(map, "parameters");
  if (!node) return {};
  require_map(*node, "\"parameters\"");
  const auto global = method.parameters(), models = method.model_parameters();
  for (const auto& [key, setting] : node->entries()) {
    require_setting(setting, key);
    const std::string position = setting.key_where().empty() ? "" : cat(" (", setting.key_where(), ")");
    const bool is_global = has_field(global, key);
    if (has_field(models, key) || (is_global && !of_model)) continue;
    if (is_global) {
      notes.push_back(
          cat("\"", key, "\" is one value for the whole merge and does nothing among a model's parameters", position));
      continue;
    }
    if (key == "rescale" && method.name != "task_arithmetic" && setting.is_scalar() &&
        setting.try_bool().value_or(false))
      throw unsupported(cat("\"rescale\" with ", method.name), setting, "remove it or set it to false");
    if (kMergekitParameters.contains(key)) {
      notes.push_back(cat("\"", key, "\" does nothing for ", method.name, position));
      continue;
    }
    Names known;
    for (const auto* list : {&models, &global})
      for (const Field& field : *list) {
        known.push_back(field.name);
        known.insert(known.end(), field.aliases.begin(), field.aliases.end());
      }
    const std::string near = did_you_mean(key, known);
    throw usage_error(cat("unknown parameter \"", key, "\" of ", method.name), setting.key_where(),
                      near.empty() ? cat("known are ", join(known, ", ")) : near);
  }
  return *node;
}

std::optional<DType> dtype_of(const Node& document, std::string_view key) {
  const Node* node = present(document, key);
  if (!node) return std::nullopt;
  const std::string& text = text_of(*node, key);
  const auto dtype = checkpoint::parse_dtype(text);
  if (dtype == DType::kF64 || dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16) return dtype;
  const Names known = {"float32", "bfloat16", "float16", "float64"};
  const std::string near = did_you_mean(text, known);
  throw usage_error(cat("\"", key, "\" is \"", text, "\", not a type to merge in"), node->where(),
                    near.empty() ? cat("use ", join(known, ", ")) : near);
}

void add_model(MergeConfig& config, const Node& node, bool slice, const Method& method) {
  if (node.is_scalar()) {
    config.models.push_back({model_path(node, "model"), {}, node.where(), std::nullopt});
  } else {
    require_keys(node, slice ? Names{"model", "parameters", "layer_range"} : Names{"model", "parameters"},
                 "an entry of the models");
    const Node* model = present(node, "model");
    if (!model) throw usage_error("an entry of the models has no \"model\"", node.where());
    ModelEntry entry{model_path(*model, "model"), parameters_of(node, method, true, config.notes), model->where(),
                     std::nullopt};
    if (const Node* range = present(node, "layer_range")) {
      if (!range->is_list() || range->items().size() != 2)
        throw usage_error("\"layer_range\" is not [first, end]", range->where());
      entry.layers = {{range->items()[0].as_int(), range->items()[1].as_int()}};
    } else if (slice) {
      throw usage_error("a slice's source has no \"layer_range\"", node.where());
    }
    config.models.push_back(std::move(entry));
  }
  for (std::size_t i = 0; i + 1 < config.models.size(); ++i)
    if (config.models[i].path == config.models.back().path)
      throw usage_error(
          cat("model ", config.models[i].path, " is listed twice"), config.models.back().where,
          slice ? "stacking layers of one model is not supported yet" : "keep one entry with the sum of the weights");
}

void add_models(MergeConfig& config, const Node& list, const Method& method) {
  if (!list.is_list()) throw usage_error("\"models\" is not a list", list.where());
  for (const Node& node : list.items()) add_model(config, node, false, method);
}

void add_slices(MergeConfig& config, const Node& list, const Method& method) {
  if (!list.is_list()) throw usage_error("\"slices\" is not a list", list.where());
  if (list.items().size() != 1)
    throw unsupported("stacking layers (more than one slice)", list.items().size() > 1 ? list.items()[1] : list,
                      "only one slice over all layers can be merged");
  const Node& slice = list.items().front();
  require_keys(slice, {"sources", "base_model", "parameters", "residual_weight"}, "a slice");
  config.sliced = true;
  if (const Node* residual = present(slice, "residual_weight"))
    config.notes.push_back(cat("\"residual_weight\" does nothing (", residual->where(), ")"));
  if (std::string where, base = base_of(slice, where); !base.empty()) {
    config.base_model = base;
    config.base_where = where;
  }
  if (Node parameters = parameters_of(slice, method, false, config.notes); !parameters.is_null())
    config.inner_parameters.push_back(std::move(parameters));
  const Node* sources = present(slice, "sources");
  if (!sources || !sources->is_list()) throw usage_error("a slice has no list of \"sources\"", slice.where());
  for (const Node& node : sources->items()) add_model(config, node, true, method);
}

void add_modules(MergeConfig& config, const Node& map, const Method& method) {
  require_map(map, "\"modules\"");
  for (const auto& [name, module] : map.entries())
    if (name != "default")
      throw unsupported(cat("the module \"", name, "\""), module,
                        "only the module \"default\", the whole model, can be merged");
  const Node& module = map.at("default");
  require_keys(module, {"slices", "models", "parameters"}, "a module");
  const Node *models = present(module, "models"), *slices = present(module, "slices");
  if (!models == !slices) throw usage_error("a module needs exactly one of \"models\" and \"slices\"", module.where());
  models ? add_models(config, *models, method) : add_slices(config, *slices, method);
  if (Node parameters = parameters_of(module, method, false, config.notes); !parameters.is_null())
    config.inner_parameters.push_back(std::move(parameters));
}

Error empty_file(const std::string& file) {
  return usage_error("the configuration is empty", file, "it needs merge_method and models");
}

std::string file_of(const Node& document) {
  std::string where = document.where();
  for (int i = 0; i < 2; ++i)
    if (const auto colon = where.rfind(':');
        colon != std::string::npos && parse_int(std::string_view(where).substr(colon + 1)))
      where.resize(colon);
  return where;
}

}  // namespace

MergeConfig parse_merge_config(const Node& document) {
  MergeConfig config;
  config.file = file_of(document);
  if (document.is_null()) throw empty_file(config.file);
  require_map(document, "the configuration");
  for (const auto& [key, value] : document.entries()) {
    if (std::find(kTopKeys.begin(), kTopKeys.end(), key) != kTopKeys.end()) continue;
    if (const std::string near = did_you_mean(key, kTopKeys); !near.empty())
      throw usage_error(cat("unknown key \"", key, "\""), value.key_where(), near);
    config.notes.push_back(
        cat("the key \"", key, "\" is not used", value.key_where().empty() ? "" : cat(" (", value.key_where(), ")")));
  }
  const Node* name = present(document, "merge_method");
  if (!name) throw usage_error("\"merge_method\" is missing", config.file);
  config.method = text_of(*name, "merge_method");
  config.method_where = name->where();
  const Method& chosen = method(config.method, config.method_where);
  config.tokenizer = parse_tokenizer(document);
  config.chat_template = parse_chat_template(document);
  if (const Node* rules = present(document, "rules")) {
    const std::string& text = text_of(*rules, "rules");
    if (text != "mergekit" && text != "paper")
      throw usage_error(cat("\"rules\" is \"", text, "\", neither mergekit nor paper"), rules->where());
    config.rules = text == "paper" ? Rules::kPaper : Rules::kMergekit;
  }
  config.dtype = dtype_of(document, "dtype");
  config.out_dtype = dtype_of(document, "out_dtype");
  config.base_model = base_of(document, config.base_where);
  config.parameters = parameters_of(document, chosen, false, config.notes);

  const Node *models = present(document, "models"), *slices = present(document, "slices"),
             *modules = present(document, "modules");
  if ((models != nullptr) + (slices != nullptr) + (modules != nullptr) > 1)
    throw usage_error("more than one of \"models\", \"slices\" and \"modules\" is given",
                      (modules ? modules : slices)->where(), "keep \"models\"");
  if (models) add_models(config, *models, chosen);
  if (slices) add_slices(config, *slices, chosen);
  if (modules) add_modules(config, *modules, chosen);
  if (config.models.empty())
    throw usage_error("\"models\" is missing or empty", config.file, "list the models to merge");
  return config;
}

MergeConfig read_merge_config(const std::string& path) {
  const Node document = read_yaml(path);
  if (document.is_null()) throw empty_file(path);  // an empty document has no place
  MergeConfig config = parse_merge_config(document);
  config.file = path;
  config.folder = parent_folder(path);
  return config;
}

}  // namespace solera::merge
