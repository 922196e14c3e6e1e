#include "solera/merge/inputs.h"

#include <algorithm>
#include <map>
#include <set>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/merge/names.h"

namespace solera::merge {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Tensor;

bool looks_like_hub_name(const std::string& path) {
  return std::count(path.begin(), path.end(), '/') == 1 && path.front() != '/' && path.front() != '.' &&
         path.front() != '~' && path.back() != '/' && !path.ends_with(".safetensors");
}

std::string resolve(const std::string& path, const std::string& folder, const std::string& where) {
  if (exists(path)) return path;
  if (!path.starts_with('/'))
    if (const std::string beside = join_path(folder, path); exists(beside)) return beside;
  const Error missing = missing_file(path);
  if (looks_like_hub_name(path) && (missing.hint().empty() || !is_folder(parent_folder(path))))
    throw io_error(missing.problem(), where, "models are read from disk; names on the Hugging Face hub come later");
  const std::string looked = cat("looked for it in the working folder", folder == "." ? "" : cat(" and in ", folder));
  throw io_error(missing.problem(), where, missing.hint().empty() ? looked : missing.hint());
}

std::size_t add_model(Inputs& inputs, const std::string& path, const std::string& label) {
  inputs.models.push_back(std::make_unique<Checkpoint>(checkpoint::open_checkpoint(path)));
  inputs.labels.push_back(label);
  checkpoint::require_unquantized(*inputs.models.back(), "merge");
  return inputs.models.size() - 1;
}

std::string count_text(int count, std::string_view what) { return cat(count, " ", what, count == 1 ? "" : "s"); }

void require_counts(const Inputs& inputs, const MergeConfig& config, const Method& method) {
  const auto count = static_cast<int>(inputs.merged.size());
  const std::string_view besides = inputs.base ? " besides the base" : "";
  std::vector<std::string> names;
  for (const std::size_t i : inputs.merged) names.push_back(inputs.labels[i]);
  const std::string listed =
      names.empty() ? "the file lists none" : cat("the file lists ", count, ": ", join(names, ", "));
  if (count < method.min_models)
    throw usage_error(
        cat(method.name, " needs at least ", count_text(method.min_models, "model"), besides, ", ", listed),
        config.file);
  if (count > method.max_models)
    throw usage_error(cat(method.name, " takes ", method.min_models == method.max_models ? "exactly " : "at most ",
                          count_text(method.max_models, "model"), besides, ", ", listed),
                      config.file);
}

void require_all_layers(const ModelEntry& entry, const Checkpoint& model) {
  if (!entry.layers) return;
  const int layers = layer_count(model);
  if (entry.layers->first == 0 && entry.layers->second == layers) return;
  throw usage_error(cat("layer_range [", entry.layers->first, ", ", entry.layers->second, "] of ", entry.path,
                        " is not all of its ", layers, " layers"),
                    entry.where, "stacking layers is not supported yet");
}

void require_one_kind(const Inputs& inputs, const std::string& file) {
  const auto kind = [&](std::size_t i) {
    const Node* type = inputs.models[i]->config().find("model_type");
    return type && type->is_scalar() ? type->as_text() : std::string();
  };
  std::size_t first = inputs.models.size();
  for (const std::size_t i : inputs.taking_part()) {
    if (kind(i).empty()) continue;
    if (first == inputs.models.size()) first = i;
    if (kind(i) != kind(first))
      throw input_error(cat(inputs.labels[first], " is a ", kind(first), " model and ", inputs.labels[i], " is a ",
                            kind(i), " model"),
                        file, "only models of one architecture can be merged");
  }
}

// The tensors of one model by their canonical names.
std::map<std::string, const Tensor*> names_of(const Checkpoint& model, const std::string& label,
                                              std::vector<std::string>& warnings) {
  std::map<std::string, const Tensor*> table;
  std::vector<std::string> dropped;
  for (const Tensor& tensor : model.tensors()) {
    if (is_derived_buffer(tensor.name, model)) {
      dropped.push_back(tensor.name);
      continue;
    }
    const auto [place, added] = table.emplace(canonical_name(tensor.name, model), &tensor);
    if (!added)
      throw input_error(cat(label, ": ", place->second->name, " and ", tensor.name, " are two spellings of one tensor"),
                        tensor.source->path());
  }
  if (!dropped.empty())
    warnings.push_back(cat(label, ": ", dropped.front(),
                           dropped.size() > 1 ? cat(" and ", dropped.size() - 1, " more") : "",
                           " left out: derived buffers that loading makes anew"));
  return table;
}

// Which models have something of each task head, to tell heads that another class or an earlier training left behind.
class Heads {
 public:
  Heads(const std::vector<Match>& matches, const Inputs& inputs) : inputs_(inputs) {
    for (const Match& match : matches)
      if (const std::string_view head = head_module(match.name); !head.empty())
        for (const std::size_t i : inputs.taking_part())
          if (match.tensors[i]) owners_[std::string(head)].insert(i);
    for (const auto& [head, owners] : owners_) common_ = common_ || owners.size() == inputs.taking_part().size();
  }

  // A model that lacks the head altogether, so that the head is left behind: the reference, or, where all models have
  // another head in common, any.
  std::optional<std::size_t> lacking(const Match& match) const {
    const auto found = owners_.find(head_module(match.name));
    if (found == owners_.end()) return std::nullopt;
    if (!found->second.contains(inputs_.reference)) return inputs_.reference;
    if (common_)
      for (const std::size_t i : inputs_.taking_part())
        if (!found->second.contains(i)) return i;
    return std::nullopt;
  }

 private:
  const Inputs& inputs_;
  std::map<std::string, std::set<std::size_t>, std::less<>> owners_;
  bool common_ = false;
};

}  // namespace

std::vector<std::size_t> Inputs::taking_part() const {
  std::vector<std::size_t> all;
  if (base) all.push_back(*base);
  all.insert(all.end(), merged.begin(), merged.end());
  return all;
}

Inputs open_inputs(const MergeConfig& config, const Method& method) {
  Inputs inputs;
  std::string base_path;
  const bool with_base = !config.base_model.empty();
  if (with_base) {
    base_path = resolve(config.base_model, config.folder, config.base_where);
    add_model(inputs, base_path, config.base_model);
  } else if (method.base == BasePolicy::kRequired) {
    throw usage_error(cat(method.name, " needs base_model"), config.file,
                      "name the model that the others were tuned from");
  }
  if (with_base && method.base == BasePolicy::kRequired) inputs.base = 0;

  std::vector<std::string> paths;
  bool listed = false;
  for (const ModelEntry& entry : config.models) {
    const std::string path = resolve(entry.path, config.folder, entry.where);
    for (std::size_t i = 0; i < paths.size(); ++i)
      if (same_file(paths[i], path))
        throw usage_error(cat(config.models[i].path, " and ", entry.path, " are the same model"), entry.where);
    paths.push_back(path);
    const bool is_base = with_base && same_file(path, base_path);
    listed = listed || is_base;
    const std::size_t index = is_base ? 0 : add_model(inputs, path, entry.path);
    require_all_layers(entry, *inputs.models[index]);
    if (is_base && inputs.base) continue;
    inputs.merged.push_back(index);
    inputs.parameters.push_back(entry.parameters);
  }
  if (with_base && !listed && config.sliced && method.base == BasePolicy::kRequired)
    throw usage_error(cat("base_model ", config.base_model, " is not a source of the slice"), config.base_where,
                      "add it to the sources, or write `models` instead of `slices`");
  if (with_base && !listed && !config.sliced && method.base == BasePolicy::kAsModel) {
    inputs.merged.push_back(0);
    inputs.parameters.emplace_back();
  }
  require_counts(inputs, config, method);
  inputs.reference = inputs.base || std::find(inputs.merged.begin(), inputs.merged.end(), 0u) != inputs.merged.end()
                         ? 0
                         : inputs.merged.front();
  require_one_kind(inputs, config.file);
  return inputs;
}

std::vector<Match> match_tensors(const Inputs& inputs, std::vector<std::string>& warnings) {
  std::map<std::string, std::vector<const Tensor*>> table;
  for (const std::size_t i : inputs.taking_part())
    for (const auto& [name, tensor] : names_of(*inputs.models[i], inputs.labels[i], warnings)) {
      auto& row = table[name];
      row.resize(inputs.models.size());
      row[i] = tensor;
    }
  std::vector<Match> matches;
  for (auto& [name, row] : table) {
    std::vector<std::string> filled;
    for (const std::size_t i : inputs.taking_part()) {
      if (row[i]) continue;
      row[i] = tied_partner(name, *inputs.models[i]);
      if (row[i]) filled.push_back(inputs.labels[i]);
    }
    if (!filled.empty())
      warnings.push_back(cat(name, ": ", join(filled, ", "), filled.size() == 1 ? " has" : " have",
                             " none and the embedding stands in; config.json may still say that the two are tied"));
    matches.push_back({name, std::move(row)});
  }
  const Heads heads(matches, inputs);
  std::erase_if(matches, [&](const Match& match) {
    const auto lacking = heads.lacking(match);
    if (!lacking) return false;
    const auto owner =
        std::find_if(match.tensors.begin(), match.tensors.end(), [](const Tensor* t) { return t != nullptr; });
    warnings.push_back(cat(match.name, " of ", inputs.labels[static_cast<std::size_t>(owner - match.tensors.begin())],
                           " left out: ", inputs.labels[*lacking], " has no ", head_module(match.name)));
    return true;
  });
  return matches;
}

}  // namespace solera::merge
