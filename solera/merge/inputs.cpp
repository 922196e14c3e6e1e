#include "solera/merge/inputs.h"

#include <algorithm>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/checkpoint/remote.h"
#include "solera/merge/names.h"
#include "solera/merge/references.h"
#include "solera/weights/adapted.h"

namespace solera::merge {
namespace {

using checkpoint::Checkpoint;

std::string count_text(int count, std::string_view what) { return cat(count, " ", what, count == 1 ? "" : "s"); }

class Opener {
 public:
  Opener(const MergeConfig& config, const Method& method) : config_(config), method_(method) {}

  Inputs open(std::vector<std::string>& warnings) {
    if (!config_.base_model.empty()) base_ = add_model(config_.base_model, config_.base_where);
    if (config_.slices.empty()) {
      inputs_.slices.push_back(whole());
    } else {
      for (const SliceEntry& entry : config_.slices) inputs_.slices.push_back(slice_of(entry));
      stack(warnings);
    }
    inputs_.donor = base_.value_or(inputs_.slices.front().reference);
    require_one_kind();
    return std::move(inputs_);
  }

 private:
  std::size_t add_model(const std::string& reference, const std::string& where) {
    const AdapterReference named = split_adapter(reference, config_.folder);
    ModelPlace place;
    const auto made = config_.made.find(named.model);
    if (made == config_.made.end())
      place = locate_model(named.model, config_.folder, where);
    else
      place.path = made->second.path;
    const auto key_of = [](const std::string& path) {
      return checkpoint::is_remote(path) ? checkpoint::canonical_remote(path) : canonical(path);
    };
    std::string key = key_of(place.path), adapter;
    if (!named.adapter.empty()) {
      adapter = locate_model(named.adapter, config_.folder, where).path;
      key += "+" + key_of(adapter);
    }
    if (const auto known = std::find(keys_.begin(), keys_.end(), key); known != keys_.end())
      return static_cast<std::size_t>(known - keys_.begin());
    Checkpoint model = made != config_.made.end() && made->second.planned ? *made->second.planned
                                                                          : checkpoint::open_checkpoint(place.path);
    if (!adapter.empty()) {
      if (!checkpoint::is_adapter(adapter))
        throw input_error(cat(adapter, " is no adapter: it has no adapter_config.json"), where);
      model = weights::adapted(model, checkpoint::open_adapter(adapter));
    }
    inputs_.models.push_back(std::make_unique<Checkpoint>(std::move(model)));
    // A URL's query may be a signature.
    inputs_.labels.push_back(checkpoint::is_remote(reference) ? reference.substr(0, reference.find('?')) : reference);
    inputs_.hub_names.push_back(place.hub_name);
    keys_.push_back(key);
    checkpoint::require_unquantized(*inputs_.models.back(), "merge");
    return keys_.size() - 1;
  }

  // The models of `models`, or of a slice, and their places in the merge.
  Slice members(const std::vector<ModelEntry>& entries, std::optional<std::size_t> base) {
    Slice slice;
    const bool subtracts = method_.base == BasePolicy::kRequired || method_.base == BasePolicy::kOptional;
    if (subtracts) slice.base = base;
    std::vector<std::size_t> seen;
    for (const ModelEntry& entry : entries) {
      const std::size_t index = add_model(entry.path, entry.where);
      if (const auto twice = std::find(seen.begin(), seen.end(), index); twice != seen.end())
        throw usage_error(cat(entries[static_cast<std::size_t>(twice - seen.begin())].path, " and ", entry.path,
                              " are the same model"),
                          entry.where);
      seen.push_back(index);
      if (subtracts && base == index) continue;
      slice.merged.push_back(index);
      slice.parameters.push_back(entry.parameters);
    }
    return slice;
  }

  void choose_reference(Slice& slice, std::optional<std::size_t> base) const {
    const bool listed = base && std::find(slice.merged.begin(), slice.merged.end(), *base) != slice.merged.end();
    slice.reference = slice.base || listed ? *base : slice.merged.front();
  }

  Slice whole() {
    if (method_.base == BasePolicy::kRequired && !base_) throw no_base(config_.file);
    Slice slice = members(config_.models, base_);
    const bool listed = base_ && std::find(slice.merged.begin(), slice.merged.end(), *base_) != slice.merged.end();
    if (base_ && !listed && method_.base == BasePolicy::kAsModel) {
      slice.merged.push_back(*base_);
      slice.parameters.emplace_back();
    }
    require_counts(slice, "the file", config_.file);
    choose_reference(slice, base_);
    return slice;
  }

  Slice slice_of(const SliceEntry& entry) {
    const bool own = !entry.base_model.empty();
    const std::string& label = own ? entry.base_model : config_.base_model;
    const std::string& where = own ? entry.base_where : config_.base_where;
    const std::optional<std::size_t> base = own ? add_model(label, where) : base_;
    if (method_.base == BasePolicy::kRequired && !base) throw no_base(entry.where);
    Slice slice = members(entry.sources, base);
    if (slice.base && slice.merged.size() == entry.sources.size())
      throw usage_error(cat("base_model ", label, " is not a source of the slice",
                            config_.slices.size() > 1 && !own ? cat(" at ", entry.where) : ""),
                        where, "add it to the sources, or write `models` instead of `slices`");
    require_counts(slice, "the slice", entry.where);
    choose_reference(slice, base);
    slice.entry = inputs_.slices.size();
    slice.own_parameters = &entry.parameters;
    return slice;
  }

  Error no_base(const std::string& where) const {
    return usage_error(cat(method_.name, " needs base_model"), where, "name the model that the others were tuned from");
  }

  void require_counts(const Slice& slice, std::string_view what, const std::string& where) const {
    const auto count = static_cast<int>(slice.merged.size());
    const std::string_view besides = slice.base ? " besides the base" : "";
    std::vector<std::string> names;
    for (const std::size_t i : slice.merged) names.push_back(inputs_.labels[i]);
    const std::string listed =
        names.empty() ? cat(what, " lists none") : cat(what, " lists ", count, ": ", join(names, ", "));
    if (count < method_.min_models)
      throw usage_error(
          cat(method_.name, " needs at least ", count_text(method_.min_models, "model"), besides, ", ", listed), where);
    if (count > method_.max_models)
      throw usage_error(cat(method_.name, " takes ", method_.min_models == method_.max_models ? "exactly " : "at most ",
                            count_text(method_.max_models, "model"), besides, ", ", listed),
                        where);
  }

  // Which layers each slice makes, and of what. One slice over all layers of its sources is the whole model.
  void stack(std::vector<std::string>& warnings) {
    bool all = config_.slices.size() == 1;
    int layers = 0;
    for (Slice& slice : inputs_.slices) {
      const std::vector<ModelEntry>& sources = config_.slices[slice.entry].sources;
      slice.first = layers;
      slice.count = static_cast<int>(sources.front().layers->second - sources.front().layers->first);
      slice.from.resize(inputs_.models.size());
      for (const ModelEntry& source : sources) {
        const std::size_t model = add_model(source.path, source.where);  // open already: its number
        const int has = layer_count(*inputs_.models[model]);
        const auto [first, end] = *source.layers;
        if (end > has)
          throw usage_error(cat("layer_range [", first, ", ", end, "] of ", source.path, " reaches past its ",
                                count_text(has, "layer")),
                            source.where, "layers count from 0 and the end is not included");
        slice.from[model] = static_cast<int>(first);
        all = all && first == 0 && end == has;
      }
      layers += slice.count;
    }
    if (all) {
      inputs_.slices.front().from.clear();
      return;
    }
    inputs_.stacked = true;
    for (Slice& slice : inputs_.slices) slice.before = slice.after = false;
    inputs_.slices.front().before = inputs_.slices.back().after = true;
    drop_late_sources(warnings);
  }

  // mergekit pairs the last slice's sources with those of the first for the final norm and the heads: what the last
  // slice has more is left out of them. Followed under its rules, where the rest can be merged at all.
  void drop_late_sources(std::vector<std::string>& warnings) {
    const std::size_t kept = config_.slices.front().sources.size();
    const SliceEntry& last = config_.slices.back();
    if (config_.rules != Rules::kMergekit || last.sources.size() <= kept) return;
    Slice tail = inputs_.slices.back();
    std::vector<std::string> dropped;
    for (std::size_t i = kept; i < last.sources.size(); ++i) {
      const std::size_t model = add_model(last.sources[i].path, last.sources[i].where);
      if (tail.base == model) return;
      const auto at = std::find(tail.merged.begin(), tail.merged.end(), model) - tail.merged.begin();
      tail.merged.erase(tail.merged.begin() + at);
      tail.parameters.erase(tail.parameters.begin() + at);
      dropped.push_back(inputs_.labels[model]);
    }
    if (static_cast<int>(tail.merged.size()) < method_.min_models) return;
    if (!tail.base && std::find(tail.merged.begin(), tail.merged.end(), tail.reference) == tail.merged.end())
      tail.reference = tail.merged.front();
    tail.count = 0;
    inputs_.slices.back().after = false;
    inputs_.slices.push_back(std::move(tail));
    warnings.push_back(cat("the final norm and the head leave out ", join(dropped, ", "),
                           ", as mergekit does: the last slice has more sources than the first (", last.where,
                           "); `rules: paper` takes all"));
  }

  void require_one_kind() const {
    const auto kind = [&](std::size_t i) {
      const Node* type = inputs_.models[i]->config().find("model_type");
      return type && type->is_scalar() ? type->as_text() : std::string();
    };
    std::optional<std::size_t> first;
    for (std::size_t i = 0; i < inputs_.models.size(); ++i) {
      if (kind(i).empty()) continue;
      if (!first) first = i;
      if (kind(i) != kind(*first))
        throw input_error(cat(inputs_.labels[*first], " is a ", kind(*first), " model and ", inputs_.labels[i],
                              " is a ", kind(i), " model"),
                          config_.file, "only models of one architecture can be merged");
    }
  }

  const MergeConfig& config_;
  const Method& method_;
  Inputs inputs_;
  std::vector<std::string> keys_;    // canonical paths and URLs
  std::optional<std::size_t> base_;  // of the whole file
};

}  // namespace

std::vector<std::size_t> Slice::taking_part() const {
  std::vector<std::size_t> all;
  if (base) all.push_back(*base);
  all.insert(all.end(), merged.begin(), merged.end());
  return all;
}

std::vector<std::size_t> Inputs::taking_part() const {
  std::vector<std::size_t> all;
  for (const Slice& slice : slices)
    for (const std::size_t i : slice.taking_part())
      if (std::find(all.begin(), all.end(), i) == all.end()) all.push_back(i);
  return all;
}

Inputs open_inputs(const MergeConfig& config, const Method& method, std::vector<std::string>& warnings) {
  return Opener(config, method).open(warnings);
}

}  // namespace solera::merge
