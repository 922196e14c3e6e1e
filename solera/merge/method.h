// What a merge method is to the planner and the executor. The table of all methods is methods.h.
//
// A method file offers the formula over spans (for tests, small tensors, Python) and a function over a TensorPass that
// does the same in streamed passes; `make_method` joins it with its parameter lists. The planner resolves every
// parameter for every output tensor before a byte is read, so a method sees plain values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "solera/base/error.h"
#include "solera/checkpoint/statistics.h"
#include "solera/merge/parameter.h"
#include "solera/merge/survey_state.h"
#include "solera/weights/pass.h"

namespace solera::merge {

enum class BasePolicy {
  kNone,      // base_model only donates config and tokenizer
  kAsModel,   // an unlisted base_model is one more model (linear)
  kOptional,  // changes are taken from it where it is given; it is never among the models
  kRequired,  // changes are taken from it; it is never among the models
};

// One output tensor while it is made.
struct TensorPass {
  std::string_view name;  // of the output tensor
  std::span<const std::int64_t> shape;
  std::span<const weights::Operand> operands;  // base first where the method has one, then the models, then statistics
  bool has_base = false;
  const weights::Engine& engine;
  weights::Sink* sink = nullptr;  // null during a survey
  std::size_t statistics = 0;     // so many operands, one a model or none, come from statistics files

  std::size_t models() const { return operands.size() - (has_base ? 1 : 0) - statistics; }
  std::span<const weights::Operand> model_operands() const { return operands.first(operands.size() - statistics); }
  std::span<const weights::Operand> statistic_operands() const { return operands.last(statistics); }
  std::int64_t elements() const { return operands.front().tensor->elements(); }
  bool wide() const { return weights::needs_double(operands); }
};

// What planning knows of one output tensor.
struct Binding {
  std::string tensor;
  std::span<const std::int64_t> shape;
  Rules rules = Rules::kMergekit;
  Lookup global;
  std::vector<Lookup> models;  // one a model that takes part, base left out
  std::vector<std::string> model_names;
  std::vector<std::string>* warnings = nullptr;
  std::size_t statistics = 0;         // as in the tensor's pass
  std::uint64_t seed = 0;             // of random methods
  std::vector<std::size_t> ordinals;  // of `models`: their places among all that the configuration lists, base left out
};

// A method with its parameters, for all output tensors of a plan.
class Program {
 public:
  virtual ~Program() = default;
  // Tensor number `index` (0, 1, 2, ... in order) gets its parameters. Throws Error (usage).
  virtual void bind(std::size_t index, const Binding& binding) = 0;
  virtual std::string describe(std::size_t index) const = 0;  // resolved values for --dry-run and the plan's hash
  // A look at the whole model before any tensor is written: whole-model thresholds and norms. Called once if needed.
  virtual bool wants_survey() const { return false; }
  virtual void survey(std::span<const TensorPass>) {}
  // What survey() found, for both directions (survey_state.h): another process takes it in the place of a survey of its
  // own. A method without it is refused where several processes make one output.
  virtual bool survey_state(SurveyState&) { return false; }
  virtual void merge(std::size_t index, const TensorPass& pass) = 0;
  // What people should know of a merge that is done, seen while it ran.
  virtual std::vector<std::string> remarks() const { return {}; }
  // Bytes of memory beyond the passes' scratch that merge() needs for a tensor: whole-tensor methods. Where it is not
  // 0, no other tensor is merged at the same time.
  virtual std::uint64_t extra_memory(std::size_t) const { return 0; }
  // The same for each worker, so that tensors are still merged side by side: whole rows.
  virtual std::uint64_t worker_memory(std::size_t) const { return 0; }
};

// What a merge reads besides the weights: one tensor of each model's statistics file (checkpoint/statistics.h), which
// the model parameter `parameter` names. A tensor that no file has it for is merged without.
struct StatisticsUse {
  std::string parameter;
  checkpoint::Statistic kind = checkpoint::Statistic::kFisher;
};

struct Method {
  std::string name;      // "ties"
  std::string summary;   // one line: what a user gets
  std::string citation;  // "Yadav et al. 2023, arXiv 2306.01708"
  BasePolicy base = BasePolicy::kNone;
  int min_models = 1, max_models = 1 << 20;
  std::unique_ptr<Program> (*program)() = nullptr;
  std::vector<Field> (*parameters)() = nullptr;  // described, not bound: for help and docs
  std::vector<Field> (*model_parameters)() = nullptr;
  std::optional<StatisticsUse> statistics = std::nullopt;
  bool random = false;  // the configuration's seed counts
};

// The formula of a method as streamed passes.
template <class Params, class ModelParams>
using MergeFunction = void (*)(const TensorPass&, const Params&, std::span<const ModelParams>);
// Checks what fields cannot say of single values. Throws Error (usage).
template <class Params, class ModelParams>
using CheckFunction = void (*)(const Params&, std::span<const ModelParams>);

// "lambda 0.9, normalize true": names and exact values, in the list's order.
std::string describe_fields(std::span<const Field> fields);

// A Program made of plain functions. Methods with a survey derive from it.
template <class Params, class ModelParams>
class TypedProgram : public Program {
 public:
  explicit TypedProgram(MergeFunction<Params, ModelParams> formula,
                        CheckFunction<Params, ModelParams> checker = nullptr)
      : merge_(formula), check_(checker) {}

  void bind(std::size_t index, const Binding& binding) override {
    if (index != bound_.size()) throw internal_error("tensors are bound out of order", binding.tensor);
    BoundTensor& bound = *bound_.emplace_back(std::make_unique<BoundTensor>());
    std::vector<std::string> unused;
    std::vector<std::string>& warnings = binding.warnings ? *binding.warnings : unused;
    std::vector<Field> global = fields_of(bound.params);
    resolve_fields(global, binding.global, binding.rules, "", warnings);
    bound.models.resize(binding.models.size());
    for (std::size_t i = 0; i < binding.models.size(); ++i) {
      std::vector<Field> model = fields_of(bound.models[i]);
      resolve_fields(model, binding.models[i], binding.rules, binding.model_names[i], warnings);
    }
    if (check_) check_(bound.params, bound.models);
    if (index == 0) first_tensor_ = binding.tensor;
  }
  std::string describe(std::size_t index) const override {
    BoundTensor& bound = *bound_[index];
    std::string text = describe_fields(fields_of(bound.params));
    for (ModelParams& model : bound.models) {
      const std::string one = describe_fields(fields_of(model));
      if (!one.empty()) text += (text.empty() ? "[" : " [") + one + "]";
    }
    return text;
  }
  void merge(std::size_t index, const TensorPass& pass) override { merge_(pass, params(index), models(index)); }

 protected:
  // For tensor `index`, just bound, of a model that is one group. A tensor that lacks a model is the survey's to
  // refuse.
  void require_values_of_group(std::size_t index, const Binding& binding) const {
    BoundTensor &first = *bound_.front(), &here = *bound_[index];
    merge::require_values_of_group(fields_of(first.params), fields_of(here.params), "", first_tensor_);
    if (first.models.size() != here.models.size()) return;
    for (std::size_t i = 0; i < here.models.size(); ++i)
      merge::require_values_of_group(fields_of(first.models[i]), fields_of(here.models[i]), binding.model_names[i],
                                     first_tensor_);
  }

  const Params& params(std::size_t index) const { return bound_[index]->params; }
  std::span<const ModelParams> models(std::size_t index) const { return bound_[index]->models; }
  std::size_t count() const { return bound_.size(); }

 private:
  struct BoundTensor {
    Params params;
    std::vector<ModelParams> models;
  };
  std::string first_tensor_;
  std::vector<std::unique_ptr<BoundTensor>> bound_;  // stable addresses: fields point into it
  MergeFunction<Params, ModelParams> merge_;
  CheckFunction<Params, ModelParams> check_;
};

template <class Params, class ModelParams>
std::unique_ptr<Program> typed_program(MergeFunction<Params, ModelParams> formula,
                                       CheckFunction<Params, ModelParams> checker = nullptr) {
  return std::make_unique<TypedProgram<Params, ModelParams>>(formula, checker);
}

template <class Params>
std::vector<Field> described_fields() {
  static Params params;  // defaults, only read
  return fields_of(params);
}

}  // namespace solera::merge
