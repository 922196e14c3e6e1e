#include "solera/merge/values.h"

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/pattern.h"
#include "solera/base/text.h"

namespace solera::merge {
namespace {

const std::vector<std::string> kEntryKeys = {"tensor", "filter", "pattern", "role", "value"};
const std::vector<std::string> kRoles = {"embedding", "head"};

Error bad_setting(std::string_view parameter, std::string_view problem, const Node& node, std::string hint = "") {
  return usage_error(cat("\"", parameter, "\" ", problem), node.where(), std::move(hint));
}

double number_of(const Node& item, std::string_view parameter) {
  if (const auto number = item.try_double()) return *number;
  if (const auto truth = item.try_bool()) return *truth ? 1.0 : 0.0;
  throw usage_error(cat("\"", parameter, "\" is \"", item.as_text(), "\", not a number"), item.where());
}

Node in_gradient(std::span<const Node> items, double t, bool discrete, std::string_view parameter) {
  const double scaled = t * static_cast<double>(items.size() - 1);
  const auto left = static_cast<std::size_t>(scaled);
  if (discrete) return items[left];
  const std::size_t right = std::min(items.size() - 1, left + 1);
  const double part = scaled - static_cast<double>(left);
  const double a = number_of(items[left], parameter), b = number_of(items[right], parameter);
  if (part == 0 || (left == right)) return items[left];
  return Node::number((1 - part) * a + part * b);
}

bool is_gradient(const Node& list) {
  return std::all_of(list.items().begin(), list.items().end(), [](const Node& item) { return item.is_scalar(); });
}

}  // namespace

bool entry_matches(const Node& entry, const TensorPlace& place) {
  if (const Node* tensor = entry.find("tensor"); tensor && tensor->as_text() != place.name) return false;
  if (const Node* filter = entry.find("filter"); filter && !filter->is_null()) {
    const std::string& text = filter->as_text();
    if (text != "*" && place.name.find(text) == std::string_view::npos) return false;
  }
  if (const Node* pattern = entry.find("pattern"); pattern && !Pattern(pattern->as_text()).matches(place.name))
    return false;
  if (const Node* role = entry.find("role"))
    return place.role == (role->as_text() == "head" ? Role::kHead : Role::kEmbedding);
  return true;
}

double gradient_position(int layer, int layers) {
  return layers > 1 ? static_cast<double>(layer) / static_cast<double>(layers - 1) : 1.0;
}

std::optional<Node> evaluate(const Node& setting, const TensorPlace& place, bool discrete, std::string_view parameter) {
  if (setting.is_null()) return std::nullopt;
  if (setting.is_scalar()) return setting;
  if (setting.is_map()) {
    if (!entry_matches(setting, place)) return std::nullopt;
    return evaluate(setting.at("value"), place, discrete, parameter);
  }
  if (setting.items().empty()) return std::nullopt;
  if (is_gradient(setting)) return in_gradient(setting.items(), place.t, discrete, parameter);
  for (const Node& entry : setting.items())
    if (entry_matches(entry, place)) return evaluate(entry.at("value"), place, discrete, parameter);
  return std::nullopt;
}

void require_setting(const Node& setting, std::string_view parameter) {
  const auto require_gradient = [&](const Node& list) {
    if (list.items().empty()) throw bad_setting(parameter, "is an empty list", list);
    if (list.items().size() == 1)
      throw bad_setting(parameter, "is a gradient of one value", list,
                        "write the value without brackets, or one for the first and one for the last layer");
  };
  const auto require_value = [&](const Node& value) {
    if (value.is_scalar()) return;
    if (value.is_list() && is_gradient(value)) return require_gradient(value);
    throw bad_setting(parameter, "has an entry whose value is neither a value nor a list of values", value);
  };
  const auto require_entry = [&](const Node& entry) {
    if (!entry.is_map())
      throw bad_setting(parameter, "mixes plain values with {filter, value} entries", entry,
                        "write {value: ...} for the rest");
    require_known_keys(entry, kEntryKeys, cat("in an entry of \"", parameter, "\""));
    if (!entry.find("value"))
      throw bad_setting(parameter, "has an entry without a value", entry, "write {filter: ..., value: ...}");
    if (const Node* tensor = entry.find("tensor"); tensor && !tensor->is_scalar())
      throw bad_setting(parameter, "has a tensor that is not a name", *tensor);
    if (const Node* filter = entry.find("filter"); filter && !filter->is_scalar() && !filter->is_null())
      throw bad_setting(parameter, "has a filter that is not a text", *filter);
    if (const Node* pattern = entry.find("pattern")) {
      if (!pattern->is_scalar()) throw bad_setting(parameter, "has a pattern that is not a text", *pattern);
      try {
        (void)Pattern(pattern->as_text());
      } catch (const Error& error) {
        throw usage_error(error.problem(), pattern->where(), error.hint());
      }
    }
    if (const Node* role = entry.find("role")) {
      if (!role->is_scalar() || std::find(kRoles.begin(), kRoles.end(), role->as_text()) == kRoles.end())
        throw bad_setting(parameter, "has a role that is neither embedding nor head", *role,
                          role->is_scalar() ? did_you_mean(role->as_text(), kRoles) : "");
    }
    require_value(entry.at("value"));
  };
  if (setting.is_null() || setting.is_scalar()) return;
  if (setting.is_map()) return require_entry(setting);
  if (is_gradient(setting)) return require_gradient(setting);
  for (const Node& entry : setting.items()) require_entry(entry);
}

}  // namespace solera::merge
