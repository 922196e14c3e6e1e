#include "solera/merge/plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "solera/base/error.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"
#include "solera/merge/chat_template.h"
#include "solera/merge/inputs.h"
#include "solera/merge/methods.h"
#include "solera/merge/names.h"
#include "solera/merge/settings.h"

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

std::string nearest_name(const std::string& pattern, const std::vector<Match>& matches) {
  std::vector<std::string> names;
  for (const Match& match : matches) names.push_back(match.name);
  const std::string near = did_you_mean(pattern, names);
  if (!near.empty() || names.empty()) return near;
  return cat("names look like ", names[names.size() / 2]);
}

void require_patterns_match(const std::vector<Match>& matches, const PlanOptions& options) {
  for (const auto& [flag, patterns] :
       {std::pair("--include", &options.include), std::pair("--exclude", &options.exclude)})
    for (const Pattern& pattern : *patterns)
      if (std::none_of(matches.begin(), matches.end(), [&](const Match& m) { return pattern.matches(m.name); }))
        throw usage_error(cat(flag, " '", pattern.text(), "' matches no tensor"), "",
                          nearest_name(pattern.text(), matches));
}

class Planner {
 public:
  Planner(const MergeConfig& config, const Method& method, const Inputs& inputs, const PlanOptions& options,
          Program& program)
      : config_(config),
        inputs_(inputs),
        options_(options),
        program_(program),
        settings_(config, method),
        method_(method) {}

  std::vector<TensorPlan> plan(const std::vector<Match>& matches, std::vector<std::string>& warnings) {
    warnings_ = &warnings;
    count_layers(matches);
    std::vector<TensorPlan> tensors;
    std::vector<TensorPlace> places;
    for (const Match& match : matches) {
      std::optional<TensorPlan> tensor = plan_tensor(match);
      if (!tensor) continue;
      tensors.push_back(std::move(*tensor));
      places.push_back(place_of(match.name));
    }
    for (std::string& line : settings_.unmatched(inputs_.parameters, places)) warnings.push_back(std::move(line));
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
      count = std::max(count, layer_count(*inputs_.models[inputs_.reference]));
    }
  }

  TensorPlace place_of(std::string_view name) const {
    const NameFacts facts = name_facts(name);
    return {name, facts.layer ? gradient_position(*facts.layer, layers_.at(facts.stack)) : 0.0, facts.role};
  }

  std::vector<std::size_t> having(const Match& match) const {
    std::vector<std::size_t> list = inputs_.taking_part();
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
    const auto all = inputs_.taking_part();
    if (present.size() == all.size() || options_.allow_missing || is_optional(match.name)) return;
    std::vector<std::string> have, lack;
    for (const std::size_t i : all) (match.tensors[i] ? have : lack).push_back(inputs_.labels[i]);
    throw input_error(cat(match.name, " is in ", join(have, ", "), " but not in ", join(lack, ", ")), config_.file,
                      cat("--allow-missing merges it over the models that have it, --exclude '", match.name, "' ",
                          match.tensors[inputs_.reference] ? cat("keeps that of ", inputs_.labels[inputs_.reference])
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
    const std::size_t first = match.tensors[inputs_.reference] ? inputs_.reference : present.front();
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
              module_pattern(match.name), "' to keep that of ", inputs_.labels[inputs_.reference]));
    }
  }

  DType merged_type(const std::vector<weights::Operand>& operands) const {
    if (config_.out_dtype) return *config_.out_dtype;
    if (config_.dtype) return *config_.dtype;
    DType type = operands.front().tensor->dtype;
    for (const auto& one : operands) type = checkpoint::promote(type, one.tensor->dtype);
    return type;
  }

  std::optional<TensorPlan> plan_tensor(const Match& match) {
    const auto present = having(match);
    if (!selected(match.name, options_.include, options_.exclude)) {
      if (!match.tensors[inputs_.reference]) return std::nullopt;
      return copy(match, inputs_.reference, false, "not selected");
    }
    require_everywhere(match, present);
    require_one_sort(match, present);
    require_one_shape(match, present);
    const std::size_t source = match.tensors[inputs_.reference] ? inputs_.reference : present.front();
    if (!checkpoint::is_float(match.tensors[source]->dtype)) return copy(match, source, false, "integer tensor");
    if (present.size() == 1 && inputs_.taking_part().size() > 1 && method_.base == BasePolicy::kRequired)
      return copy(match, source, true, cat("only in ", inputs_.labels[source]));
    if (inputs_.base && !match.tensors[*inputs_.base])
      throw input_error(cat(match.name, " is missing in the base ", inputs_.labels[*inputs_.base],
                            ", so that nothing can be compared"),
                        config_.file, cat("--exclude '", match.name, "' leaves it out"));
    return merge(match, present);
  }

  TensorPlan merge(const Match& match, const std::vector<std::size_t>& present) {
    TensorPlan plan;
    for (const std::size_t i : present) plan.operands.push_back(operand(match, i, true));
    plan.has_base = inputs_.base.has_value();
    plan.out = {match.name, merged_type(plan.operands), plan.operands.front().tensor->shape};
    plan.bound = bound_++;
    Binding binding;
    binding.tensor = match.name;
    binding.shape = plan.out.shape;
    binding.rules = config_.rules;
    binding.warnings = warnings_;
    const TensorPlace place = place_of(match.name);
    binding.global = settings_.global(place);
    for (std::size_t k = 0; k < inputs_.merged.size(); ++k) {
      if (!match.tensors[inputs_.merged[k]]) continue;
      binding.models.push_back(settings_.of_model(inputs_.parameters[k], place));
      binding.model_names.push_back(inputs_.labels[inputs_.merged[k]]);
    }
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
    const bool added =
        method_.base == BasePolicy::kAsModel && !config_.base_model.empty() && inputs_.merged.back() == 0;
    if (added) return "base_model is one more model here: list it with its parameters, or set them for the whole file";
    return "give it to the model, or for the whole file under parameters";
  }

  const MergeConfig& config_;
  const Inputs& inputs_;
  const PlanOptions& options_;
  Program& program_;
  Settings settings_;
  const Method& method_;
  std::map<std::string, int> layers_;
  std::vector<std::string>* warnings_ = nullptr;
  std::size_t bound_ = 0;
};

void keep_each_once(std::vector<std::string>& lines) {
  std::set<std::string> seen;
  std::erase_if(lines, [&](const std::string& line) { return !seen.insert(line).second; });
}

// The type that most of the output's numbers have.
std::optional<DType> main_type(const Plan& plan) {
  std::map<DType, std::uint64_t> elements;
  for (const TensorPlan& tensor : plan.tensors)
    if (checkpoint::is_float(tensor.out.dtype))
      elements[tensor.out.dtype] += static_cast<std::uint64_t>(tensor.out.elements());
  const auto most = std::max_element(elements.begin(), elements.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == elements.end() ? std::nullopt : std::optional(most->first);
}

}  // namespace

Plan make_plan(MergeConfig config, const PlanOptions& options) {
  Plan plan;
  plan.method = &method(config.method, config.method_where);
  plan.program = plan.method->program();
  Inputs inputs = open_inputs(config, *plan.method);
  plan.warnings = config.notes;
  std::vector<Match> matches = match_tensors(inputs, plan.warnings);
  if (config.tokenizer) plan.tokenizer = merge_tokenizers(config, inputs, matches, plan.warnings);
  if (config.chat_template) plan.chat_template = chosen_chat_template(*config.chat_template, inputs);
  require_patterns_match(matches, options);
  plan.tensors = Planner(config, *plan.method, inputs, options, *plan.program).plan(matches, plan.warnings);
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
  plan.donor = config.base_model.empty() ? static_cast<int>(inputs.reference) : 0;
  plan.models = std::move(inputs.models);
  plan.labels = std::move(inputs.labels);
  plan.config = std::move(config);
  return plan;
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
  for (const auto& model : models)
    for (const checkpoint::FileIdentity& file : model->files())
      hasher.add(file.path).add(file.size).add(static_cast<std::uint64_t>(file.modified_ns)).add(file.header_hash);
  for (const TensorPlan& tensor : tensors) {
    hasher.add(tensor.out.name).add(static_cast<std::uint64_t>(tensor.out.dtype)).add(shape_text(tensor.out.shape));
    for (const weights::Operand& operand : tensor.operands)
      hasher.add(operand.tensor->source->path())
          .add(operand.tensor->name)
          .add(operand.cast ? checkpoint::name(*operand.cast) : "");
    hasher.add(tensor.action == TensorPlan::Action::kMerge ? program->describe(tensor.bound) : "copy");
  }
  for (const checkpoint::Layout::File& file : layout.files) hasher.add(file.name).add(file.header);
  if (tokenizer) hasher.add(static_cast<std::uint64_t>(tokenizer->donor)).add(tokenizer->rules);
  hasher.add(chat_template);
  return hasher.hex();
}

Node output_config(const Plan& plan) {
  Node config = plan.models[static_cast<std::size_t>(plan.donor)]->config();
  const auto type = main_type(plan);
  if (!config.is_map() || !type) return config;
  const Node word = Node::text(std::string(checkpoint::torch_name(*type)));
  const auto mend = [&](Node& map) {
    bool found = false;
    for (const std::string_view key : {"torch_dtype", "dtype"})
      if (map.find(key)) {
        map.set(std::string(key), word);
        found = true;
      }
    return found;
  };
  const auto resize = [&](Node& map) {
    if (plan.tokenizer && map.find("vocab_size")) map.set("vocab_size", Node::integer(plan.tokenizer->rows));
  };
  resize(config);
  const bool found = mend(config);
  if (const Node* text = config.find("text_config"); text && text->is_map()) {
    Node inner = *text;
    resize(inner);
    mend(inner);
    config.set("text_config", std::move(inner));
  }
  if (!found) config.set("torch_dtype", word);
  return config;
}

}  // namespace solera::merge
