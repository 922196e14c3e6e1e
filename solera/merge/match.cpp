#include "solera/merge/match.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/merge/names.h"

namespace solera::merge {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Tensor;
using Names = std::map<std::string, const Tensor*>;

// The tensors of one model by their canonical names.
Names names_of(const Checkpoint& model, const std::string& label, std::vector<std::string>& warnings) {
  Names table;
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
  Heads(const std::vector<Match>& matches, const Slice& slice) : slice_(slice) {
    for (const Match& match : matches)
      if (const std::string_view head = head_module(match.name); !head.empty())
        for (const std::size_t i : slice.taking_part())
          if (match.tensors[i]) owners_[std::string(head)].insert(i);
    for (const auto& [head, owners] : owners_) common_ = common_ || owners.size() == slice.taking_part().size();
  }

  // A model that lacks the head altogether, so that the head is left behind: the reference, or, where all models have
  // another head in common, any.
  std::optional<std::size_t> lacking(const Match& match) const {
    const auto found = owners_.find(head_module(match.name));
    if (found == owners_.end()) return std::nullopt;
    if (!found->second.contains(slice_.reference)) return slice_.reference;
    if (common_)
      for (const std::size_t i : slice_.taking_part())
        if (!found->second.contains(i)) return i;
    return std::nullopt;
  }

 private:
  const Slice& slice_;
  std::map<std::string, std::set<std::size_t>, std::less<>> owners_;
  bool common_ = false;
};

class Matcher {
 public:
  Matcher(const Inputs& inputs, const std::string& file, std::vector<std::string>& warnings)
      : inputs_(inputs), file_(file), warnings_(warnings), names_(inputs.models.size()) {
    for (const std::size_t i : inputs.taking_part())
      names_[i] = names_of(*inputs.models[i], inputs.labels[i], warnings);
    if (inputs.stacked) require_one_stack();
  }

  std::vector<Match> match(const Slice& slice) const {
    std::map<std::string, Match> table;
    for (const std::size_t i : slice.taking_part()) add(slice, i, table);
    if (inputs_.stacked && slice.after) add_heads(table);
    fill_heads(slice, table);
    std::vector<Match> matches;
    for (auto& [name, match] : table) {
      match.name = name;
      matches.push_back(std::move(match));
    }
    leave_out_heads(slice, matches);
    return matches;
  }

 private:
  Match& row(std::map<std::string, Match>& table, const std::string& name) const {
    Match& match = table[name];
    match.tensors.resize(inputs_.models.size());
    match.names.resize(inputs_.models.size());
    return match;
  }

  void add(const Slice& slice, std::size_t model, std::map<std::string, Match>& table) const {
    std::set<int> seen;
    for (const auto& [name, tensor] : names_[model]) {
      const std::optional<std::string> target = target_of(slice, model, name, seen);
      if (!target) continue;
      Match& match = row(table, *target);
      match.tensors[model] = tensor;
      match.names[model] = name;
    }
    if (!inputs_.stacked) return;
    for (int k = 0; k < slice.count; ++k)
      if (!seen.contains(slice.from[model] + k))
        throw input_error(cat(inputs_.labels[model], " has no tensor of layer ", slice.from[model] + k), file_,
                          "its config.json counts more layers than there are");
  }

  // What a model's tensor is called in the output; none if this slice does not make it.
  std::optional<std::string> target_of(const Slice& slice, std::size_t model, const std::string& name,
                                       std::set<int>& seen) const {
    if (!inputs_.stacked) return name;
    const NameFacts facts = name_facts(name);
    if (!facts.layer) {
      if (is_before_layers(name) ? slice.before : slice.after) return name;
      return std::nullopt;
    }
    const int offset = *facts.layer - slice.from[model];
    if (offset < 0 || offset >= slice.count) return std::nullopt;
    seen.insert(*facts.layer);
    return in_layer(name, slice.first + offset);
  }

  // A head that the last slice's models tie and the output's config.json does not: their embedding stands in.
  void add_heads(std::map<std::string, Match>& table) const {
    for (const Tensor& tensor : inputs_.models[inputs_.donor]->tensors())
      if (is_tied_head(tensor.name)) row(table, tensor.name);
  }

  void fill_heads(const Slice& slice, std::map<std::string, Match>& table) const {
    for (auto& [name, match] : table) {
      std::vector<std::string> filled;
      for (const std::size_t i : slice.taking_part()) {
        if (match.tensors[i]) continue;
        match.tensors[i] = tied_partner(name, *inputs_.models[i]);
        if (!match.tensors[i]) continue;
        match.names[i] = name;
        filled.push_back(inputs_.labels[i]);
      }
      if (!filled.empty())
        warnings_.push_back(cat(name, ": ", join(filled, ", "), filled.size() == 1 ? " has" : " have",
                                " none and the embedding stands in"));
    }
    std::erase_if(table, [](const auto& one) {
      return std::none_of(one.second.tensors.begin(), one.second.tensors.end(), [](const Tensor* t) { return t; });
    });
  }

  void leave_out_heads(const Slice& slice, std::vector<Match>& matches) const {
    const Heads heads(matches, slice);
    std::erase_if(matches, [&](const Match& match) {
      const auto lacking = heads.lacking(match);
      if (!lacking) return false;
      const auto owner =
          std::find_if(match.tensors.begin(), match.tensors.end(), [](const Tensor* t) { return t != nullptr; });
      warnings_.push_back(cat(match.name, " of ",
                              inputs_.labels[static_cast<std::size_t>(owner - match.tensors.begin())],
                              " left out: ", inputs_.labels[*lacking], " has no ", head_module(match.name)));
      return true;
    });
  }

  void require_one_stack() const {
    std::optional<std::size_t> first;
    std::string stack;
    for (std::size_t i = 0; i < names_.size(); ++i)
      for (const auto& [name, tensor] : names_[i]) {
        const NameFacts facts = name_facts(name);
        if (!facts.layer || (first && facts.stack == stack)) continue;
        if (first)
          throw input_error(cat("layers are called ", stack, ".N in ", inputs_.labels[*first], " and ", facts.stack,
                                ".N in ", inputs_.labels[i]),
                            file_, "only models with one stack of layers of one name can be sliced");
        first = i;
        stack = facts.stack;
      }
  }

  const Inputs& inputs_;
  const std::string& file_;
  std::vector<std::string>& warnings_;
  std::vector<Names> names_;  // of each model that takes part
};

}  // namespace

std::vector<std::vector<Match>> match_tensors(const Inputs& inputs, const std::string& file,
                                              std::vector<std::string>& warnings) {
  const Matcher matcher(inputs, file, warnings);
  std::vector<std::vector<Match>> slices;
  for (const Slice& slice : inputs.slices) slices.push_back(matcher.match(slice));
  return slices;
}

}  // namespace solera::merge
