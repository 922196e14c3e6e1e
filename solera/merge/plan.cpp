#include "solera/merge/plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "solera/base/error.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"
#include "solera/merge/chat_template.h"
#include "solera/merge/inputs.h"
#include "solera/merge/match.h"
#include "solera/merge/methods.h"
#include "solera/merge/names.h"
#include "solera/merge/settings.h"
#include "solera/merge/statistics_files.h"

namespace solera::merge {
namespace {

using checkpoint::DType;
using checkpoint::Tensor;
using checkpoint::TensorInfo;

// "h.3.mlp.weight" as the pattern of its module: "h.3.mlp.*".
std::string module_pattern(const std::string& name) {
  const auto dot = name.rfind('.');
  return dot == std::string::npos ? name : name.substr(0, dot) + ".*";
}

std::string nearest_name(const std::string& pattern, const std::vector<std::string>& names) {
  const std::string near = did_you_mean(pattern, names);
  if (!near.empty() || names.empty()) return near;
  return cat("names look like ", names[names.size() / 2]);
}

void require_patterns_match(const std::vector<std::vector<Match>>& slices, const PlanOptions& options) {
  std::vector<std::string> names;
  for (const auto& matches : slices)
    for (const Match& match : matches) names.push_back(match.name);
  for (const auto& [flag, patterns] :
       {std::pair("--include", &options.include), std::pair("--exclude", &options.exclude)})
    for (const Pattern& pattern : *patterns)
      if (std::none_of(names.begin(), names.end(), [&](const std::string& name) { return pattern.matches(name); }))
        throw usage_error(cat(flag, " '", pattern.text(), "' matches no tensor"), "",
                          nearest_name(pattern.text(), names));
}

// The tensors of one slice; numbers in the program go on from slice to slice.
class Planner {
 public:
  Planner(const MergeConfig& config, const Method& method, const Inputs& inputs, const Slice& slice,
          const PlanOptions& options, Program& program, StatisticsFiles& statistics, std::vector<std::string>& warnings)
      : config_(config),
        inputs_(inputs),
        slice_(slice),
        options_(options),
        program_(program),
        settings_(config, method, slice.own_parameters),
        statistics_(statistics),
        method_(method),
        warnings_(warnings) {}

  // `bound`: how many tensors the program has. `places`: where parameters looked, names of `matches`.
  std::vector<TensorPlan> plan(const std::vector<Match>& matches, std::size_t& bound,
                               std::vector<TensorPlace>& places) {
    bound_ = &bound;
    if (!inputs_.stacked) count_layers(matches);
    std::vector<TensorPlan> tensors;
    for (const Match& match : matches) {
      std::optional<TensorPlan> tensor = plan_tensor(match);
      if (!tensor) continue;
      tensors.push_back(std::move(*tensor));
      places.push_back(place_of(match));
      for (const std::string& name : match.names)
        if (!name.empty() && name != match.name) places.push_back(place_of(match, name));
    }
    return tensors;
  }

 private:
  // Layers of each stack ("model.layers"): what config.json says where there is one stack, else what the names say.
  void count_layers(const std::vector<Match>& matches) {
    for (const Match& match : matches)
      if (const NameFacts facts = name_facts(match.name); facts.layer) {
        int& count = layers_[facts.stack];
        count = std::max(count, *facts.layer + 1);
      }
    if (layers_.size() == 1) {
      int& count = layers_.begin()->second;
      count = std::max(count, layer_count(*inputs_.models[slice_.reference]));
    }
  }

  // Of the output tensor, or under the name that one of the models has for it.
  TensorPlace place_of(const Match& match, std::string_view name = {}) const {
    const NameFacts facts = name_facts(match.name);
    double t = 0;
    if (facts.layer)
      t = inputs_.stacked ? gradient_position(*facts.layer - slice_.first, slice_.count)
                          : gradient_position(*facts.layer, layers_.at(facts.stack));
    return {name.empty() ? std::string_view(match.name) : name, t, facts.role};
  }

  std::vector<std::size_t> having(const Match& match) const {
    std::vector<std::size_t> list = slice_.taking_part();
    std::erase_if(list, [&](std::size_t i) { return !match.tensors[i]; });
    return list;
  }

  weights::Operand operand(const Match& match, std::size_t model, bool cast) const {
    return {inputs_.models[model].get(), match.tensors[model], cast ? config_.dtype : std::nullopt,
            inputs_.labels[model]};
  }

  // `as_merged`: on its way through the merge's types; otherwise only the output type of floats is put on it.
  TensorPlan copy(const Match& match, std::size_t model, bool as_merged, std::string note) const {
    const Tensor& tensor = *match.tensors[model];
    const bool real = checkpoint::is_float(tensor.dtype);
    TensorPlan plan;
    plan.out = {match.name, real ? config_.out_dtype.value_or(config_.dtype.value_or(tensor.dtype)) : tensor.dtype,
                tensor.shape};
    plan.action = TensorPlan::Action::kCopy;
    plan.operands = {operand(match, model, as_merged && real)};
    plan.note = std::move(note);
    return plan;
  }

  void require_everywhere(const Match& match, const std::vector<std::size_t>& present) const {
    const auto all = slice_.taking_part();
    if (present.size() == all.size() || options_.allow_missing || is_optional(match.name)) return;
    std::vector<std::string> have, lack;
    for (const std::size_t i : all) (match.tensors[i] ? have : lack).push_back(inputs_.labels[i]);
    throw input_error(cat(match.name, " is in ", join(have, ", "), " but not in ", join(lack, ", ")), config_.file,
                      cat("--allow-missing merges it over the models that have it, --exclude '", match.name, "' ",
                          match.tensors[slice_.reference] ? cat("keeps that of ", inputs_.labels[slice_.reference])
                                                          : "leaves it out"));
  }

  void require_one_sort(const Match& match, const std::vector<std::size_t>& present) const {
    const auto sort = [&](std::size_t i) { return checkpoint::is_float(match.tensors[i]->dtype); };
    for (const std::size_t i : present)
      if (sort(i) != sort(present.front()))
        throw input_error(
            cat(inputs_.labels[i], ": ", match.name, " is ", checkpoint::name(match.tensors[i]->dtype), ", ",
                inputs_.labels[present.front()], " has ", checkpoint::name(match.tensors[present.front()]->dtype)),
            match.tensors[i]->source->path(), "numbers and codes cannot be merged");
  }

  void require_one_shape(const Match& match, const std::vector<std::size_t>& present) const {
    const std::size_t first = match.tensors[slice_.reference] ? slice_.reference : present.front();
    const auto& shape = match.tensors[first]->shape;
    for (const std::size_t i : present) {
      const Tensor& tensor = *match.tensors[i];
      if (tensor.shape == shape) continue;
      const bool vocabulary = name_facts(match.name).role != Role::kBody && tensor.shape.size() == shape.size() &&
                              !shape.empty() && std::equal(shape.begin() + 1, shape.end(), tensor.shape.begin() + 1);
      throw input_error(
          cat(inputs_.labels[i], ": ", match.name, " is ", shape_text(tensor.shape), ", ", inputs_.labels[first],
              " has ", shape_text(shape)),
          tensor.source->path(),
          cat(vocabulary ? "align the vocabularies with tokenizer_source: union, or " : "", "use --exclude '",
              module_pattern(match.name), "' to keep that of ", inputs_.labels[slice_.reference]));
    }
  }

  DType merged_type(const std::vector<weights::Operand>& operands) const {
    if (config_.out_dtype) return *config_.out_dtype;
    if (config_.dtype) return *config_.dtype;
    DType type = operands.front().tensor->dtype;
    for (const auto& one : operands) type = checkpoint::promote(type, one.tensor->dtype);
    return type;
  }

  void require_enough(const Match& match, const std::vector<std::size_t>& present) const {
    std::vector<std::string> have;
    for (const std::size_t i : present)
      if (i != slice_.base) have.push_back(inputs_.labels[i]);
    if (static_cast<int>(have.size()) >= method_.min_models) return;
    throw input_error(
        cat(match.name, " is in ", have.empty() ? "no model" : join(have, ", "), " only, and ", method_.name, " needs ",
            method_.min_models, " models", slice_.base ? " besides the base" : ""),
        config_.file, cat("use --exclude '", match.name, "' to leave it as it is"));
  }

  std::optional<TensorPlan> plan_tensor(const Match& match) {
    const auto present = having(match);
    if (!selected(match.name, options_.include, options_.exclude)) {
      if (!match.tensors[slice_.reference]) return std::nullopt;
      return copy(match, slice_.reference, false, "not selected");
    }
    require_everywhere(match, present);
    require_one_sort(match, present);
    require_one_shape(match, present);
    const std::size_t source = match.tensors[slice_.reference] ? slice_.reference : present.front();
    if (!checkpoint::is_float(match.tensors[source]->dtype)) return copy(match, source, false, "integer tensor");
    if (present.size() == 1 && slice_.taking_part().size() > 1 && method_.base == BasePolicy::kRequired)
      return copy(match, source, true, cat("only in ", inputs_.labels[source]));
    if (slice_.base && !match.tensors[*slice_.base])
      throw input_error(cat(match.name, " is missing in the base ", inputs_.labels[*slice_.base],
                            ", so that nothing can be compared"),
                        config_.file, cat("--exclude '", match.name, "' leaves it out"));
    require_enough(match, present);
    return merge(match, present);
  }

  TensorPlan merge(const Match& match, const std::vector<std::size_t>& present) {
    TensorPlan plan;
    for (const std::size_t i : present) plan.operands.push_back(operand(match, i, true));
    plan.has_base = slice_.base.has_value();
    plan.out = {match.name, merged_type(plan.operands), plan.operands.front().tensor->shape};
    plan.bound = (*bound_)++;
    Binding binding;
    binding.tensor = match.name;
    binding.shape = plan.out.shape;
    binding.rules = config_.rules;
    binding.seed = config_.seed;
    binding.warnings = &warnings_;
    binding.global = settings_.global(place_of(match));
    std::vector<std::size_t> models;
    for (std::size_t k = 0; k < slice_.merged.size(); ++k) {
      const std::size_t model = slice_.merged[k];
      if (!match.tensors[model]) continue;
      models.push_back(model);
      binding.ordinals.push_back(k);
      binding.models.push_back(settings_.of_model(slice_.parameters[k], place_of(match, match.names[model])));
      binding.model_names.push_back(inputs_.labels[model]);
    }
    for (weights::Operand& one : statistics_.of(match, models, binding.models)) plan.operands.push_back(std::move(one));
    plan.statistics = binding.statistics = plan.operands.size() - present.size();
    try {
      program_.bind(plan.bound, binding);
    } catch (const Error& error) {
      if (!error.where().empty()) throw;
      throw Error(error.kind(), cat(error.problem(), " at ", match.name), config_.file,
                  error.hint().empty() ? missing_hint() : error.hint());
    }
    return plan;
  }

  std::string missing_hint() const {
    const bool added = method_.base == BasePolicy::kAsModel && !config_.base_model.empty() && config_.slices.empty() &&
                       slice_.merged.back() == 0;
    if (added) return "base_model is one more model here: list it with its parameters, or set them for the whole file";
    return "give it to the model, or for the whole file under parameters";
  }

  const MergeConfig& config_;
  const Inputs& inputs_;
  const Slice& slice_;
  const PlanOptions& options_;
  Program& program_;
  Settings settings_;
  StatisticsFiles& statistics_;
  const Method& method_;
  std::vector<std::string>& warnings_;
  std::map<std::string, int> layers_;  // of each stack, without stacking
  std::size_t* bound_ = nullptr;
};

// All slices, and a warning for each condition of a parameter that fits nothing.
std::vector<TensorPlan> plan_tensors(const MergeConfig& config, const Method& method, const Inputs& inputs,
                                     const std::vector<std::vector<Match>>& matches, const PlanOptions& options,
                                     Program& program, StatisticsFiles& statistics,
                                     std::vector<std::string>& warnings) {
  std::vector<TensorPlan> tensors;
  std::vector<std::vector<TensorPlace>> places(inputs.slices.size());  // by the entry of the file
  std::size_t bound = 0;
  for (std::size_t k = 0; k < inputs.slices.size(); ++k) {
    const Slice& slice = inputs.slices[k];
    Planner planner(config, method, inputs, slice, options, program, statistics, warnings);
    for (TensorPlan& tensor : planner.plan(matches[k], bound, places[slice.entry]))
      tensors.push_back(std::move(tensor));
  }
  std::vector<TensorPlace> all;
  for (std::size_t k = 0; k < inputs.slices.size(); ++k) {
    const Slice& slice = inputs.slices[k];
    if (slice.entry != k) continue;  // the last slice's, once more
    for (const Node& own : slice.parameters) add_unmatched(own, places[k], warnings);
    if (slice.own_parameters) add_unmatched(*slice.own_parameters, places[k], warnings);
    all.insert(all.end(), places[k].begin(), places[k].end());
  }
  add_unmatched(config.module_parameters, all, warnings);
  add_unmatched(config.parameters, all, warnings);
  std::sort(tensors.begin(), tensors.end(),
            [](const TensorPlan& a, const TensorPlan& b) { return a.out.name < b.out.name; });
  return tensors;
}

// Layers of different models stand in one stack: each tensor has a shape that the donor's layers have, or it is new to
// them.
void require_one_size(const Inputs& inputs, const std::vector<TensorPlan>& tensors) {
  const auto inner_name = [](std::string_view name, const NameFacts& facts) {
    return std::string(name.substr(name.find('.', facts.stack.size() + 1)));
  };
  const checkpoint::Checkpoint& donor = *inputs.models[inputs.donor];
  std::map<std::string, std::set<checkpoint::Shape>> shapes;
  for (const Tensor& tensor : donor.tensors()) {
    const std::string name = canonical_name(tensor.name, donor);
    if (const NameFacts facts = name_facts(name); facts.layer) shapes[inner_name(name, facts)].insert(tensor.shape);
  }
  for (const TensorPlan& tensor : tensors) {
    const NameFacts facts = name_facts(tensor.out.name);
    if (!facts.layer) continue;
    const auto known = shapes.find(inner_name(tensor.out.name, facts));
    if (known == shapes.end() || known->second.contains(tensor.out.shape)) continue;
    const weights::Operand& from = tensor.operands.front();
    throw input_error(
        cat(from.label, ": ", from.tensor->name, " is ", shape_text(tensor.out.shape), ", in the layers of ",
            inputs.labels[inputs.donor], " it is ", shape_text(*known->second.begin())),
        from.tensor->source->path(), "only layers of one size can be stacked");
  }
}

std::vector<LayerRun> layer_runs(const Inputs& inputs) {
  std::vector<LayerRun> runs;
  if (!inputs.stacked) return runs;
  for (const Slice& slice : inputs.slices) {
    if (slice.count == 0) continue;
    LayerRun run{slice.first, slice.first + slice.count, {}};
    for (const std::size_t i : slice.taking_part()) run.from.push_back({i, slice.from[i]});
    runs.push_back(std::move(run));
  }
  return runs;
}

void keep_each_once(std::vector<std::string>& lines) {
  std::set<std::string> seen;
  std::erase_if(lines, [&](const std::string& line) { return !seen.insert(line).second; });
}

}  // namespace

Plan make_plan(MergeConfig config, const PlanOptions& options) {
  Plan plan;
  plan.method = &method(config.method, config.method_where);
  plan.program = plan.method->program();
  plan.warnings = config.notes;
  Inputs inputs = open_inputs(config, *plan.method, plan.warnings);
  for (const auto& model : inputs.models)
    for (const std::string& line : model->warnings()) plan.warnings.push_back(cat(model->path(), ": ", line));
  std::vector<std::vector<Match>> matches = match_tensors(inputs, config.file, plan.warnings);
  if (config.tokenizer)
    plan.tokenizer = merge_tokenizers(config, inputs, matches, plan.warnings);
  else if (options.truncate_embeddings)
    plan.truncated = truncate_rows(inputs, matches, plan.warnings);
  if (config.chat_template) plan.chat_template = chosen_chat_template(*config.chat_template, inputs);
  require_patterns_match(matches, options);
  StatisticsFiles statistics(config, *plan.method, inputs);
  plan.tensors = plan_tensors(config, *plan.method, inputs, matches, options, *plan.program, statistics, plan.warnings);
  statistics.finish(plan.warnings);
  plan.statistics = statistics.release();
  if (inputs.stacked) require_one_size(inputs, plan.tensors);
  keep_each_once(plan.warnings);
  if (std::none_of(plan.tensors.begin(), plan.tensors.end(),
                   [](const TensorPlan& t) { return t.action == TensorPlan::Action::kMerge; }))
    throw usage_error("no tensor is left to merge", config.file);
  std::vector<TensorInfo> infos;
  for (const TensorPlan& tensor : plan.tensors) infos.push_back(tensor.out);
  checkpoint::LayoutOptions layout;
  layout.shard_bytes = options.shard_bytes;
  layout.single_file = options.single_file;
  plan.layout = checkpoint::plan_layout(std::move(infos), layout);
  plan.donor = static_cast<int>(inputs.donor);
  plan.layers = layer_runs(inputs);
  plan.models = std::move(inputs.models);
  plan.labels = std::move(inputs.labels);
  plan.hub_names = std::move(inputs.hub_names);
  plan.config = std::move(config);
  return plan;
}

std::vector<const checkpoint::Checkpoint*> Plan::inputs() const {
  std::vector<const checkpoint::Checkpoint*> all;
  for (const auto& model : models) all.push_back(model.get());
  for (const auto& file : statistics) all.push_back(&file->file());
  return all;
}

std::uint64_t Plan::bytes_to_read() const {
  std::uint64_t bytes = 0;
  for (const TensorPlan& tensor : tensors)
    for (const weights::Operand& operand : tensor.operands) bytes += operand.tensor->bytes();
  return bytes;
}

std::uint64_t Plan::bytes_to_write() const { return layout.total_bytes(); }

std::string Plan::hash() const {
  Hasher hasher;
  hasher.add("solera merge plan 1").add(method->name).add(config.rules == Rules::kPaper ? "paper" : "mergekit");
  for (const checkpoint::Checkpoint* input : inputs())
    for (const checkpoint::FileIdentity& file : input->files())
      hasher.add(file.path)
          .add(file.size)
          .add(static_cast<std::uint64_t>(file.modified_ns))
          .add(file.header_hash)
          .add(file.version);
  for (const TensorPlan& tensor : tensors) {
    hasher.add(tensor.out.name).add(static_cast<std::uint64_t>(tensor.out.dtype)).add(shape_text(tensor.out.shape));
    for (const weights::Operand& operand : tensor.operands)
      hasher.add(operand.tensor->source->path())
          .add(operand.tensor->name)
          .add(operand.cast ? checkpoint::name(*operand.cast) : "");
    hasher.add(tensor.action == TensorPlan::Action::kMerge ? program->describe(tensor.bound) : "copy");
  }
  if (method->random) hasher.add("seed").add(config.seed);
  for (const checkpoint::Layout::File& file : layout.files) hasher.add(file.name).add(file.header);
  if (tokenizer) hasher.add(static_cast<std::uint64_t>(tokenizer->donor)).add(tokenizer->rules);
  hasher.add(chat_template);
  return hasher.hex();
}

}  // namespace solera::merge
