#include "solera/merge/config.h"

#include <algorithm>
#include <set>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/checkpoint/remote.h"
#include "solera/merge/methods.h"
#include "solera/merge/references.h"
#include "solera/merge/values.h"

namespace solera::merge {
namespace {

using checkpoint::DType;
using Names = std::vector<std::string>;

const Names kTopKeys = {"merge_method",     "models",    "slices",        "modules", "base_model",
                        "parameters",       "dtype",     "out_dtype",     "rules",   "random_seed",
                        "tokenizer_source", "tokenizer", "chat_template", "name"};
// Parameters of mergekit's methods; one that the method at hand does not have is ignored there, and noted here.
const std::set<std::string> kMergekitParameters = {
    "weight",   "density", "gamma", "epsilon",           "normalize",       "rescale",
    "lambda",   "t",       "scale", "int8_mask",         "filter_wise",     "select_topk",
    "max_iter", "tol",     "eps",   "normalize_weights", "nuslerp_flatten", "nuslerp_row_wise"};

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

std::string range_text(const std::pair<std::int64_t, std::int64_t>& range) {
  return cat("[", range.first, ", ", range.second, "]");
}

Error unsupported(std::string_view what, const Node& node, std::string hint) {
  return usage_error(cat(what, " is not supported yet"), node.where(), std::move(hint));
}

std::string base_of(const Node& map, std::string& where) {
  const Node* base = present(map, "base_model");
  if (!base) return "";
  where = base->where();
  return model_reference(*base, "base_model");
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

ModelEntry model_entry(const Node& node, bool slice, const Method& method, Names& notes) {
  if (node.is_scalar() && !slice) return {model_reference(node, "model"), {}, node.where(), std::nullopt};
  const std::string_view what = slice ? "a source of a slice" : "an entry of the models";
  require_keys(node, slice ? Names{"model", "parameters", "layer_range"} : Names{"model", "parameters"}, what);
  const Node* model = present(node, "model");
  if (!model) throw usage_error(cat(what, " has no \"model\""), node.where());
  ModelEntry entry{model_reference(*model, "model"), parameters_of(node, method, true, notes), model->where(),
                   std::nullopt};
  if (!slice) return entry;
  const Node* range = present(node, "layer_range");
  if (!range)
    throw usage_error("a slice's source has no \"layer_range\"", node.where(),
                      "write layer_range: [first, end]; the end is not included");
  if (!range->is_list() || range->items().size() != 2)
    throw usage_error("\"layer_range\" is not [first, end]", range->where());
  entry.layers = {{range->items()[0].as_int(), range->items()[1].as_int()}};
  if (entry.layers->first < 0 || entry.layers->first >= entry.layers->second)
    throw usage_error(cat("\"layer_range\" is ", range_text(*entry.layers), ", which holds no layer"), range->where(),
                      "layers count from 0 and the end is not included");
  return entry;
}

void require_once(const std::vector<ModelEntry>& entries, std::string_view hint) {
  for (std::size_t i = 0; i < entries.size(); ++i)
    for (std::size_t k = 0; k < i; ++k)
      if (entries[k].path == entries[i].path)
        throw usage_error(cat("model ", entries[i].path, " is listed twice"), entries[i].where, std::string(hint));
}

void add_models(MergeConfig& config, const Node& list, const Method& method) {
  if (!list.is_list()) throw usage_error("\"models\" is not a list", list.where());
  for (const Node& node : list.items()) config.models.push_back(model_entry(node, false, method, config.notes));
  require_once(config.models, "keep one entry with the sum of the weights");
}

SliceEntry slice_entry(const Node& node, const Method& method, Names& notes) {
  require_keys(node, {"sources", "base_model", "parameters", "residual_weight"}, "a slice");
  SliceEntry slice;
  slice.where = node.where();
  if (const Node* residual = present(node, "residual_weight"))
    notes.push_back(cat("\"residual_weight\" does nothing (", residual->where(), ")"));
  slice.base_model = base_of(node, slice.base_where);
  slice.parameters = parameters_of(node, method, false, notes);
  const Node* sources = present(node, "sources");
  if (!sources || !sources->is_list() || sources->items().empty())
    throw usage_error("a slice has no \"sources\"", node.where(), "list its models, each with a layer_range");
  for (const Node& source : sources->items()) slice.sources.push_back(model_entry(source, true, method, notes));
  require_once(slice.sources, "layers of one model are stacked by slices of their own");
  const auto length = [](const ModelEntry& entry) { return entry.layers->second - entry.layers->first; };
  const ModelEntry& first = slice.sources.front();
  for (const ModelEntry& entry : slice.sources)
    if (length(entry) != length(first))
      throw usage_error(cat("layer_range ", range_text(*entry.layers), " of ", entry.path, " has ", length(entry),
                            length(entry) == 1 ? " layer, " : " layers, ", range_text(*first.layers), " of ",
                            first.path, " has ", length(first)),
                        entry.where, "the sources of one slice have equally many layers");
  return slice;
}

void add_slices(MergeConfig& config, const Node& list, const Method& method) {
  if (!list.is_list()) throw usage_error("\"slices\" is not a list", list.where());
  for (const Node& node : list.items()) config.slices.push_back(slice_entry(node, method, config.notes));
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
  config.module_parameters = parameters_of(module, method, false, config.notes);
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
  if (const Node* seed = present(document, "random_seed")) config.seed = seed->as_uint();
  if (const Node* own = present(document, "name")) config.name = text_of(*own, "name");
  config.dtype = dtype_of(document, "dtype");
  config.out_dtype = dtype_of(document, "out_dtype");
  config.base_model = base_of(document, config.base_where);
  config.parameters = parameters_of(document, chosen, false, config.notes);

  const Node *models = present(document, "models"), *slices = present(document, "slices"),
             *modules = present(document, "modules");
  if ((models != nullptr) + (slices != nullptr) + (modules != nullptr) > 1)
    throw usage_error("more than one of \"models\", \"slices\" and \"modules\" is given",
                      (modules ? modules : slices)->where(), "keep the one that is meant");
  if (models) add_models(config, *models, chosen);
  if (slices) add_slices(config, *slices, chosen);
  if (modules) add_modules(config, *modules, chosen);
  if (config.models.empty() && config.slices.empty())
    throw usage_error("\"models\" is missing or empty", config.file, "list the models to merge");
  return config;
}

MergeConfig read_merge_config(const std::string& path) {
  const std::string text = read_file(path);
  const Node document = parse_yaml(text, path);
  if (document.is_null()) throw empty_file(path);  // an empty document has no place
  MergeConfig config = parse_merge_config(document);
  config.text = text;
  config.file = path;
  config.folder = parent_folder(path);
  return config;
}

std::string config_yaml(const MergeConfig& config) {
  // A URL's query may be a signature.
  const auto shown = [](const std::string& path) {
    return checkpoint::is_remote(path) ? path.substr(0, path.find('?')) : path;
  };
  Node document = Node::map({{"merge_method", Node::text(config.method)}});
  if (!config.base_model.empty()) document.set("base_model", Node::text(shown(config.base_model)));
  Node models = Node::list();
  for (const ModelEntry& entry : config.models) {
    Node model = Node::map({{"model", Node::text(shown(entry.path))}});
    if (!entry.parameters.is_null()) model.set("parameters", entry.parameters);
    models.push(std::move(model));
  }
  document.set("models", std::move(models));
  if (!config.parameters.is_null()) document.set("parameters", config.parameters);
  if (config.rules == Rules::kPaper) document.set("rules", Node::text("paper"));
  return to_yaml(document);
}

}  // namespace solera::merge
