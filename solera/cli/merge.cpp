#include <memory>
#include <ostream>

#include "solera/base/error.h"
#include "solera/base/table.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/cli/verbs.h"
#include "solera/merge/execute.h"
#include "solera/merge/plan.h"

namespace solera::cli {
namespace {

using merge::Plan;
using merge::TensorPlan;

struct MergeOptions {
  std::string config, out, rules;
  std::vector<std::string> include, exclude;
  bool allow_missing = false, allow_nonfinite = false, dry_run = false, force = false, restart = false;
  int threads = hardware_threads();
  std::uint64_t memory = 1ull << 30, shard_bytes = 5'000'000'000;
};

void declare(OptionList& options, MergeOptions& target) {
  options.positional("CONFIG", "a merge configuration: mergekit's YAML, see docs/merging.md", target.config);
  options.value("--output", "-o", "OUT", "where the result goes: a folder or *.safetensors", target.out);
  options.flag("--dry-run", "", "print what each tensor would get, bytes and memory; write nothing", target.dry_run);
  options.choice("--rules", "", "whose defaults and rules hold (default: as CONFIG says)", {"mergekit", "paper"},
                 target.rules);
  options.value("--include", "", "PATTERN", "merge only tensors of these names", target.include);
  options.value("--exclude", "", "PATTERN", "keep the base's tensors of these names", target.exclude);
  options.flag("--allow-missing", "", "merge a tensor that some models lack over the others", target.allow_missing);
  options.flag("--allow-nonfinite", "", "do not stop at a NaN or infinity in an input", target.allow_nonfinite);
  options.value("--threads", "", "N", "worker threads", target.threads);
  options.bytes("--memory", "", "memory to stay below, mapped files not counted", target.memory);
  options.bytes("--shard-size", "", "largest file of a folder", target.shard_bytes);
  options.flag("--force", "", "replace an existing output", target.force);
  options.flag("--restart", "", "discard an unfinished OUT.partial instead of going on with it", target.restart);
}

Plan plan_of(const MergeOptions& options) {
  merge::MergeConfig config = merge::read_merge_config(options.config);
  if (!options.rules.empty()) config.rules = options.rules == "paper" ? merge::Rules::kPaper : merge::Rules::kMergekit;
  merge::PlanOptions plan{.allow_missing = options.allow_missing, .shard_bytes = options.shard_bytes};
  for (const std::string& text : options.include) plan.include.emplace_back(text);
  for (const std::string& text : options.exclude) plan.exclude.emplace_back(text);
  plan.single_file = !options.out.empty() && checkpoint::is_single_file(options.out);
  return merge::make_plan(std::move(config), plan);
}

// "merge ties: base + 2 models, 291 tensors; reads 20.2 GB a pass, writes 6.7 GB"
std::string opening_line(const Plan& plan) {
  std::size_t models = 0;
  bool base = false;
  for (const TensorPlan& tensor : plan.tensors) {
    base = base || tensor.has_base;
    if (tensor.action == TensorPlan::Action::kMerge)
      models = std::max(models, tensor.operands.size() - tensor.has_base);
  }
  return cat("merge ", plan.method->name, ": ", base ? "base + " : "", models, models == 1 ? " model, " : " models, ",
             plan.tensors.size(), " tensors; reads ", bytes_text(plan.bytes_to_read()), " a pass, writes ",
             bytes_text(plan.bytes_to_write()));
}

std::string operands_text(const TensorPlan& tensor) {
  std::vector<std::string> labels;
  for (const auto& operand : tensor.operands) labels.push_back(operand.label);
  return join(labels, ", ");
}

std::string action_text(const Plan& plan, const TensorPlan& tensor) {
  return tensor.action == TensorPlan::Action::kMerge ? plan.method->name : cat("copy: ", tensor.note);
}

std::string parameters_text(const Plan& plan, const TensorPlan& tensor) {
  return tensor.action == TensorPlan::Action::kMerge ? plan.program->describe(tensor.bound) : "";
}

Node summary(const Plan& plan) {
  Node object = Node::map();
  object.set("schema", Node::integer(1));
  object.set("method", Node::text(plan.method->name));
  Node warnings = Node::list();
  for (const std::string& line : plan.warnings) warnings.push(Node::text(line));
  object.set("warnings", std::move(warnings));
  return object;
}

Node integer(std::uint64_t value) { return Node::integer(static_cast<std::int64_t>(value)); }

int dry_run(const Plan& plan, const MergeOptions& options, Context& context) {
  const std::uint64_t least = merge::least_memory(plan, options.threads);
  if (context.json) {
    Node object = summary(plan);
    object.set("read_bytes", integer(plan.bytes_to_read()));
    object.set("write_bytes", integer(plan.bytes_to_write()));
    object.set("least_memory_bytes", integer(least));
    Node tensors = Node::list();
    for (const TensorPlan& tensor : plan.tensors) {
      Node shape = Node::list();
      for (const std::int64_t size : tensor.out.shape) shape.push(Node::integer(size));
      Node inputs = Node::list();
      for (const auto& operand : tensor.operands) inputs.push(Node::text(operand.label));
      tensors.push(Node::map({{"name", Node::text(tensor.out.name)},
                              {"dtype", Node::text(std::string(checkpoint::name(tensor.out.dtype)))},
                              {"shape", std::move(shape)},
                              {"action", Node::text(action_text(plan, tensor))},
                              {"inputs", std::move(inputs)},
                              {"parameters", Node::text(parameters_text(plan, tensor))}}));
    }
    object.set("tensors", std::move(tensors));
    context.out << to_json(object) << "\n";
    return 0;
  }
  Table table{{"tensor", "type", "shape", "action", "from", "parameters"}, {}};
  for (const TensorPlan& tensor : plan.tensors)
    table.rows.push_back({tensor.out.name, std::string(checkpoint::name(tensor.out.dtype)),
                          shape_text(tensor.out.shape), action_text(plan, tensor), operands_text(tensor),
                          parameters_text(plan, tensor)});
  context.out << table_text(table);
  context.out << opening_line(plan) << "\n";
  context.out << "memory: at least " << binary_text(least) << " with " << options.threads
              << (options.threads == 1 ? " thread" : " threads") << ", up to " << binary_text(options.memory)
              << " allowed\n";
  return 0;
}

int run(const MergeOptions& options, Context& context) {
  if (options.out.empty() && !options.dry_run)
    throw usage_error("no --output is given", "", "add -o FOLDER or -o FILE.safetensors");
  if (options.threads < 1) throw usage_error(cat("--threads is ", options.threads, ", less than 1"));
  Plan plan = plan_of(options);
  for (const std::string& line : plan.warnings) context.progress.warn(line);
  if (options.dry_run) return dry_run(plan, options, context);
  context.progress.note(opening_line(plan));
  const merge::ExecuteReport report = merge::execute(plan,
                                                     {.out = options.out,
                                                      .threads = options.threads,
                                                      .memory = options.memory,
                                                      .force = options.force,
                                                      .restart = options.restart,
                                                      .allow_nonfinite = options.allow_nonfinite},
                                                     context.progress);
  if (context.json) {
    Node object = summary(plan);
    object.set("output", Node::text(options.out));
    object.set("tensors", integer(report.tensors));
    object.set("resumed_tensors", integer(report.resumed));
    object.set("read_bytes", integer(report.bytes_read));
    object.set("written_bytes", integer(report.bytes_written));
    object.set("seconds", Node::number(report.seconds));
    context.out << to_json(object) << "\n";
    return 0;
  }
  context.out << options.out << ": " << report.tensors << " tensors, " << bytes_text(report.bytes_written) << " in "
              << duration_text(report.seconds);
  if (report.resumed > 0) context.out << "; " << report.resumed << " were there already";
  context.out << "\n";
  return 0;
}

}  // namespace

Verb merge_verb() {
  Verb verb;
  verb.name = "merge";
  verb.summary = "blend models into one by a configuration file, in bounded memory";
  verb.examples = {"solera merge blend.yaml -o blend --memory 2GiB", "solera merge blend.yaml --dry-run"};
  verb.has_json = true;
  verb.prepare = [](OptionList& options) -> std::function<int(Context&)> {
    auto target = std::make_shared<MergeOptions>();
    declare(options, *target);
    return [target](Context& context) { return run(*target, context); };
  };
  return verb;
}

}  // namespace solera::cli
