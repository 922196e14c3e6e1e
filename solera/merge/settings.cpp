#include "solera/merge/settings.h"

#include <algorithm>

#include "solera/base/error.h"

namespace solera::merge {
namespace {

// "filter \"mlp\"": what an entry asks for.
std::string condition(const Node& entry) {
  for (const std::string_view key : {"tensor", "filter", "pattern", "role"})
    if (const Node* node = entry.find(key); node && node->is_scalar()) return cat(key, " \"", node->as_text(), "\"");
  return "";
}

}  // namespace

Settings::Settings(const MergeConfig& config, const Method& method, const Node* slice) {
  if (slice) levels_.push_back(slice);
  levels_.push_back(&config.module_parameters);
  levels_.push_back(&config.parameters);
  for (const auto& list : {method.parameters(), method.model_parameters()})
    for (const Field& field : list) {
      if (!field.discrete()) continue;
      discrete_.push_back(field.name);
      discrete_.insert(discrete_.end(), field.aliases.begin(), field.aliases.end());
    }
}

bool Settings::discrete(std::string_view name) const {
  return std::find(discrete_.begin(), discrete_.end(), name) != discrete_.end();
}

Lookup Settings::lookup(const Node* own, const TensorPlace& place) const {
  std::vector<const Node*> levels;
  if (own) levels.push_back(own);
  levels.insert(levels.end(), levels_.begin(), levels_.end());
  return [this, levels = std::move(levels), tensor = std::string(place.name), t = place.t,
          role = place.role](const std::string& name) -> std::optional<Node> {
    for (const Node* level : levels) {
      const Node* setting = level->find(name);
      if (!setting) continue;
      if (auto value = evaluate(*setting, {tensor, t, role}, discrete(name), name)) return value;
    }
    return std::nullopt;
  };
}

void add_unmatched(const Node& parameters, std::span<const TensorPlace> places, std::vector<std::string>& lines) {
  if (!parameters.is_map()) return;
  for (const auto& [name, setting] : parameters.entries()) {
    const std::span<const Node> entries = setting.is_map() ? std::span(&setting, 1) : setting.items();
    for (const Node& entry : entries) {
      if (!entry.is_map() || condition(entry).empty()) continue;
      if (std::any_of(places.begin(), places.end(),
                      [&](const TensorPlace& place) { return entry_matches(entry, place); }))
        continue;
      lines.push_back(cat("the ", condition(entry), " of \"", name, "\" fits no tensor",
                          entry.where().empty() ? "" : cat(" (", entry.where(), ")")));
    }
  }
}

}  // namespace solera::merge
