#include "solera/soup/varied_config.h"

#include <algorithm>
#include <map>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/checkpoint/remote.h"
#include "solera/merge/methods.h"
#include "solera/merge/references.h"
#include "solera/soup/ingredients.h"

namespace solera::soup {
namespace {

using merge::Field;
using merge::MergeConfig;
using merge::ModelEntry;

constexpr std::pair<double, double> kWeights{0, 2};  // around 1, a fine-tune's changes as they are

std::vector<std::string> names_of(const Field& field) {
  std::vector<std::string> names = {field.name};
  names.insert(names.end(), field.aliases.begin(), field.aliases.end());
  return names;
}

const Field* find_field(const std::vector<Field>& fields, const std::string& name) {
  for (const Field& field : fields) {
    const auto names = names_of(field);
    if (std::find(names.begin(), names.end(), name) != names.end()) return &field;
  }
  return nullptr;
}

bool is_number(const Field& field) { return std::holds_alternative<double*>(field.target); }

std::vector<std::string> numbers_of(const merge::Method& method) {
  std::vector<std::string> names;
  for (const auto& fields : {method.model_parameters(), method.parameters()})
    for (const Field& field : fields)
      if (is_number(field)) names.push_back(field.name);
  return names;
}

const Node* setting_of(const Node& parameters, const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (const Node* found = parameters.is_map() ? parameters.find(name) : nullptr; found && !found->is_null())
      return found;
  return nullptr;
}

void erase_all(Node& map, const std::vector<std::string>& names) {
  if (map.is_map())
    for (const std::string& name : names) map.erase(name);
}

// A path that is only in the configuration's folder, from the working folder.
std::string from_here(const std::string& path, const std::string& folder) {
  if (checkpoint::is_remote(path) || path.starts_with('/') || exists(path)) return path;
  const std::string beside = join_path(folder, path);
  return exists(beside) ? beside : path;
}

// The same of models, and of what names one of them elsewhere.
class Mover {
 public:
  explicit Mover(std::string folder) : folder_(std::move(folder)) {}

  Node model(const Node& node) {
    if (!node.is_scalar()) return node;
    const merge::AdapterReference named = merge::split_adapter(node.as_text(), folder_);
    const std::string model = from_here(named.model, folder_);
    const std::string moved = named.adapter.empty() ? model : cat(model, "+", from_here(named.adapter, folder_));
    moved_[node.as_text()] = moved;
    return Node::text(moved);
  }
  Node reference(const Node& node) const {
    if (node.is_scalar()) {
      const auto found = moved_.find(node.as_text());
      return found == moved_.end() ? node : Node::text(found->second);
    }
    Node result = node;
    for (const auto& [key, value] : node.entries()) result.set(key, reference(value));
    return result;
  }

 private:
  std::string folder_;
  std::map<std::string, std::string> moved_;
};

void move_files(Node& parameters, const std::vector<Field>& fields, const std::string& folder) {
  if (!parameters.is_map()) return;
  for (const Field& field : fields)
    if (const Node* path = field.is_file() ? parameters.find(field.name) : nullptr; path && path->is_scalar())
      parameters.set(field.name, Node::text(from_here(path->as_text(), folder)));
}

// `change(map)` of the entry `key` of a map, which is made where there is none, and
// removed where nothing is in it.
template <class F>
void change(Node& map, const std::string& key, F change) {
  const Node* found = map.find(key);
  Node value = found ? *found : Node();
  change(value);
  if (value.is_map() && value.entries().empty())
    map.erase(key);
  else if (!value.is_null())
    map.set(key, std::move(value));
}

// `change(list)` of the configuration's models, and `parameters(map)` of each level above them.
template <class Models, class Parameters>
void change_models(Node& document, Models models, Parameters parameters) {
  change(document, "parameters", parameters);
  if (document.find("models")) return change(document, "models", models);
  change(document, "modules", [&](Node& modules) {
    change(modules, "default", [&](Node& module) {
      change(module, "parameters", parameters);
      change(module, "models", models);
    });
  });
}

}  // namespace

Variation parse_variation(std::string_view text) {
  const std::size_t equals = text.find('=');
  Variation result{std::string(trim(text.substr(0, equals))), std::nullopt};
  const auto fail = [&] {
    return usage_error(cat("--vary is \"", text, "\", not NAME=LOW..HIGH"), "", "for example --vary weight=0.5..1.5");
  };
  if (result.parameter.empty()) throw fail();
  if (equals == std::string_view::npos) return result;
  const std::string_view range = text.substr(equals + 1);
  const std::size_t dots = range.find("..");
  if (dots == std::string_view::npos) throw fail();
  const auto low = parse_double(trim(range.substr(0, dots))), high = parse_double(trim(range.substr(dots + 2)));
  if (!low || !high) throw fail();
  if (!(*low < *high))
    throw usage_error(cat("--vary ", text, " goes from ", number_text(*low), " to ", number_text(*high)), "",
                      "give the lower end first");
  result.range = {*low, *high};
  return result;
}

std::string Coordinate::label() const { return model.empty() ? parameter : cat(parameter, " of ", model); }

VariedConfig::VariedConfig(const std::string& path, std::vector<Variation> variations)
    : config_(merge::read_merge_config(path)), document_(read_yaml(path)) {
  if (!config_.slices.empty())
    throw usage_error("a search varies whole models, and this configuration stacks slices", path,
                      "make the stack first, by `solera merge`");
  std::vector<std::string> paths;
  for (const ModelEntry& entry : config_.models) paths.push_back(entry.path);
  labels_ = short_names(paths);

  const auto& method = merge::method(config_.method);
  Mover mover(config_.folder);
  change(document_, "base_model", [&](Node& base) { base = mover.model(base); });
  const std::vector<Field> of_model = method.model_parameters();
  const auto move = [&](Node& parameters) { move_files(parameters, of_model, config_.folder); };
  const auto move_models = [&](Node& list) {
    Node moved = Node::list();
    for (const Node& item : list.items()) {
      Node entry = item.is_map() ? item : Node::map({{"model", item}});
      for (const char* key : {"model", "lora"}) change(entry, key, [&](Node& model) { model = mover.model(model); });
      change(entry, "parameters", move);
      moved.push(std::move(entry));
    }
    list = std::move(moved);
  };
  change_models(document_, move_models, move);
  for (const char* key : {"tokenizer_source", "tokenizer"})
    change(document_, key, [&](Node& value) { value = mover.reference(value); });

  if (variations.empty()) variations.push_back({"weight", std::nullopt});
  for (const Variation& variation : variations) add(variation);
}

void VariedConfig::add(const Variation& variation) {
  const auto& method = merge::method(config_.method);
  const std::vector<Field> of_merge = method.parameters(), of_model = method.model_parameters();
  const Field* own = find_field(of_model, variation.parameter);
  const Field* field = own ? own : find_field(of_merge, variation.parameter);
  const std::vector<std::string> numbers = numbers_of(method);
  if (!field) {
    const std::string near = did_you_mean(variation.parameter, numbers);
    throw usage_error(cat(method.name, " has no parameter \"", variation.parameter, "\""), config_.file,
                      !near.empty()     ? near
                      : numbers.empty() ? "it has none that could be searched"
                                        : cat("--vary NAME=LOW..HIGH takes ", join(numbers, ", ")));
  }
  if (!is_number(*field))
    throw usage_error(cat("\"", field->name, "\" is no number that a search could vary"), "",
                      cat("--vary takes ", join(numbers, ", ")));
  for (const Coordinate& other : coordinates_)
    if (other.parameter == field->name) throw usage_error(cat("--vary ", field->name, " is given twice"));
  if (!variation.range && field->name != "weight")
    throw usage_error(cat("--vary ", field->name, " has no range"), "",
                      cat("write --vary ", field->name, "=LOW..HIGH",
                          field->range.find(',') == std::string::npos ? "" : cat(" within ", field->range)));
  const auto [low, high] = variation.range.value_or(kWeights);
  for (const double end : {low, high})
    if (!merge::in_range(end, field->range))
      throw usage_error(cat("--vary ", field->name, " goes to ", number_text(end), ", outside ", field->range));

  if (!own) {
    places_.push_back(-1);
    return add_coordinate(*field, nullptr, "", low, high);
  }
  require_listed_base();
  for (std::size_t i = 0; i < config_.models.size(); ++i) {
    if (is_base(config_.models[i])) continue;
    places_.push_back(static_cast<int>(i));
    add_coordinate(*field, &config_.models[i].parameters, labels_[i], low, high);
  }
}

void VariedConfig::add_coordinate(const Field& field, const Node* own, const std::string& model, double low,
                                  double high) {
  const std::vector<std::string> names = names_of(field);
  Coordinate one{field.name, model, low, high, 0};
  const Node* given = own ? setting_of(*own, names) : nullptr;
  if (!given) given = setting_of(config_.module_parameters, names);
  if (!given) given = setting_of(config_.parameters, names);
  if (given) {
    const auto number = given->is_scalar() ? given->try_double() : std::nullopt;
    if (!number)
      throw usage_error(cat(one.label(), " is no plain number, and a search would put one in its place"),
                        given->where(), "give a number to start from, or leave it out");
    one.start = *number;
  } else {
    const bool by_mergekit = config_.rules == merge::Rules::kMergekit;
    const bool required = field.required || (field.required_by_mergekit && by_mergekit);
    const std::string text = by_mergekit ? field.mergekit_default.value_or(field.default_text()) : field.default_text();
    one.start = parse_double(text).value_or(0);
    if (required && field.name != "weight") one.start = 0.5 * (low + high);
  }
  if (one.start < low || one.start > high)
    throw usage_error(cat(one.label(), " starts at ", number_text(one.start), ", outside ", number_text(low), "..",
                          number_text(high)),
                      given ? given->where() : config_.file,
                      cat("give --vary ", field.name, "=LOW..HIGH a range that holds it"));
  names_.push_back(names);
  coordinates_.push_back(std::move(one));
}

bool VariedConfig::is_base(const ModelEntry& entry) const {
  const merge::BasePolicy policy = merge::method(config_.method).base;
  const bool subtracts = policy == merge::BasePolicy::kRequired || policy == merge::BasePolicy::kOptional;
  return subtracts && !config_.base_model.empty() && names_base(entry);
}

bool VariedConfig::names_base(const ModelEntry& entry) const {
  if (entry.path == config_.base_model) return true;
  const auto located = [&](const std::string& reference) {
    const auto named = merge::split_adapter(reference, config_.folder);
    const std::string path = merge::locate_model(named.model, config_.folder, entry.where).path;
    return cat(checkpoint::is_remote(path) ? checkpoint::canonical_remote(path) : canonical(path), "+", named.adapter);
  };
  return located(entry.path) == located(config_.base_model);
}

// A base that is one more model has no entry for its weight.
void VariedConfig::require_listed_base() const {
  if (merge::method(config_.method).base != merge::BasePolicy::kAsModel || config_.base_model.empty()) return;
  if (std::any_of(config_.models.begin(), config_.models.end(),
                  [&](const ModelEntry& entry) { return names_base(entry); }))
    return;
  throw usage_error(cat("base_model ", config_.base_model, " is one more model of ", config_.method,
                        " and has no entry whose parameters could be varied"),
                    config_.base_where, "list it under models");
}

std::vector<double> VariedConfig::start() const {
  std::vector<double> values;
  for (const Coordinate& one : coordinates_) values.push_back(one.start);
  return values;
}

Node VariedConfig::document(std::span<const double> values) const {
  Node document = document_;
  const auto clear = [&](Node& parameters) {
    for (const auto& names : names_) erase_all(parameters, names);
  };
  const auto set_models = [&](Node& list) {
    Node changed = Node::list();
    for (std::size_t i = 0; i < list.items().size(); ++i) {
      Node entry = list.items()[i];
      change(entry, "parameters", [&](Node& parameters) {
        for (std::size_t c = 0; c < values.size(); ++c) {
          if (places_[c] != static_cast<int>(i)) continue;
          erase_all(parameters, names_[c]);
          parameters.set(coordinates_[c].parameter, Node::number(values[c]));
        }
      });
      changed.push(std::move(entry));
    }
    list = std::move(changed);
  };
  change_models(document, set_models, clear);
  change(document, "parameters", [&](Node& parameters) {
    for (std::size_t c = 0; c < values.size(); ++c)
      if (places_[c] < 0) parameters.set(coordinates_[c].parameter, Node::number(values[c]));
  });
  return document;
}

MergeConfig VariedConfig::with(std::span<const double> values) const {
  const Node changed = document(values);
  MergeConfig config = merge::parse_merge_config(changed);
  config.text = to_yaml(changed);
  config.file = config_.file;
  config.folder = config_.folder;
  return config;
}

}  // namespace solera::soup
