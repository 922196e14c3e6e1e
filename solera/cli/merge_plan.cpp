#include "solera/cli/merge_plan.h"

#include <algorithm>
#include <ostream>
#include <vector>

#include "solera/base/table.h"
#include "solera/base/text.h"
#include "solera/merge/execute.h"
#include "solera/merge/names.h"
#include "solera/merge/output_files.h"
#include "solera/merge/ranks.h"

namespace solera::cli {
namespace {

using merge::Plan;
using merge::TensorPlan;

Node integer(std::uint64_t value) { return Node::integer(static_cast<std::int64_t>(value)); }

// "fine-a", or "fine-a layer 3" where that is not the output's layer.
std::string operands_text(const TensorPlan& tensor) {
  const auto layer = merge::name_facts(tensor.out.name).layer;
  std::vector<std::string> labels;
  for (const auto& operand : tensor.operands) {
    const auto from = merge::name_facts(operand.tensor->name).layer;
    labels.push_back(from && from != layer ? cat(operand.label, " layer ", *from) : operand.label);
  }
  return join(labels, ", ");
}

std::string action_text(const Plan& plan, const TensorPlan& tensor) {
  return tensor.action == TensorPlan::Action::kMerge ? plan.method->name : cat("copy: ", tensor.note);
}

std::string parameters_text(const Plan& plan, const TensorPlan& tensor) {
  return tensor.action == TensorPlan::Action::kMerge ? plan.program->describe(tensor.bound) : "";
}

Node layers_node(const Plan& plan) {
  Node layers = Node::list();
  for (const merge::LayerRun& run : plan.layers) {
    Node from = Node::list();
    for (const merge::LayerRun::From& one : run.from)
      from.push(Node::map({{"model", Node::text(plan.labels[one.model])},
                           {"first", Node::integer(one.first)},
                           {"end", Node::integer(one.first + run.end - run.first)}}));
    layers.push(
        Node::map({{"first", Node::integer(run.first)}, {"end", Node::integer(run.end)}, {"from", std::move(from)}}));
  }
  return layers;
}

Node tensors_node(const Plan& plan) {
  Node tensors = Node::list();
  for (const TensorPlan& tensor : plan.tensors) {
    Node shape = Node::list();
    for (const std::int64_t size : tensor.out.shape) shape.push(Node::integer(size));
    Node inputs = Node::list(), names = Node::list();
    for (const auto& operand : tensor.operands) {
      inputs.push(Node::text(operand.label));
      names.push(Node::text(operand.tensor->name));
    }
    tensors.push(Node::map({{"name", Node::text(tensor.out.name)},
                            {"dtype", Node::text(std::string(checkpoint::name(tensor.out.dtype)))},
                            {"shape", std::move(shape)},
                            {"action", Node::text(action_text(plan, tensor))},
                            {"inputs", std::move(inputs)},
                            {"input_tensors", std::move(names)},
                            {"parameters", Node::text(parameters_text(plan, tensor))}}));
  }
  return tensors;
}

Node dry_run_node(const Plan& plan, int threads) {
  Node object = merge_summary(plan);
  object.set("read_bytes", integer(plan.bytes_to_read()));
  object.set("write_bytes", integer(plan.bytes_to_write()));
  object.set("least_memory_bytes", integer(merge::least_memory(plan, threads)));
  if (!plan.layers.empty()) object.set("layers", layers_node(plan));
  object.set("tensors", tensors_node(plan));
  return object;
}

void print_plan(const Plan& plan, bool named, std::ostream& out) {
  if (!plan.layers.empty()) out << table_text(merge::layer_table(plan)) << "\n";
  Table table{{"tensor", "type", "shape", "action", "from", "parameters"}, {}};
  for (const TensorPlan& tensor : plan.tensors)
    table.rows.push_back({tensor.out.name, std::string(checkpoint::name(tensor.out.dtype)),
                          shape_text(tensor.out.shape), action_text(plan, tensor), operands_text(tensor),
                          parameters_text(plan, tensor)});
  out << table_text(table) << opening_line(plan, named) << "\n";
}

}  // namespace

std::string opening_line(const Plan& plan, bool named) {
  std::size_t models = 0;
  bool base = false;
  for (const TensorPlan& tensor : plan.tensors) {
    base = base || tensor.has_base;
    if (tensor.action == TensorPlan::Action::kMerge)
      models = std::max(models, tensor.operands.size() - tensor.has_base - tensor.statistics);
  }
  std::string layers;
  if (!plan.layers.empty())
    layers = cat(plan.layers.back().end, plan.layers.back().end == 1 ? " layer in " : " layers in ", plan.layers.size(),
                 plan.layers.size() == 1 ? " slice, " : " slices, ");
  return cat(named && !plan.config.name.empty() ? plan.config.name + ": " : "", "merge ", plan.method->name, ": ",
             base ? "base + " : "", models, models == 1 ? " model, " : " models, ",
             plan.method->random ? cat("seed ", plan.config.seed, ", ") : "", layers, plan.tensors.size(),
             " tensors; reads ", bytes_text(plan.bytes_to_read()), " a pass, writes ",
             bytes_text(plan.bytes_to_write()));
}

std::string rank_line(const Plan& plan, const Rank& rank) {
  const std::vector<bool> mine = merge::files_of_rank(plan.layout, rank.number, rank.of);
  std::size_t files = 0;
  std::uint64_t bytes = 0;
  for (std::size_t f = 0; f < mine.size(); ++f) {
    files += mine[f];
    bytes += mine[f] ? plan.layout.files[f].bytes : 0;
  }
  const std::string all = cat(mine.size(), mine.size() == 1 ? " file" : " files");
  return cat(
      "rank ", rank.number, " of ", rank.of, " (", rank.from, "): ",
      files > 0 ? cat(files, " of ", all, ", ", bytes_text(bytes)) : cat("nothing to write, the output has ", all));
}

Node merge_summary(const Plan& plan) {
  Node object = Node::map();
  object.set("schema", Node::integer(1));
  object.set("method", Node::text(plan.method->name));
  if (plan.method->random) object.set("seed", integer(plan.config.seed));
  Node warnings = Node::list();
  for (const std::string& line : plan.warnings) warnings.push(Node::text(line));
  object.set("warnings", std::move(warnings));
  return object;
}

void print_dry_run(std::span<const Plan> plans, int threads, std::uint64_t memory, Context& context) {
  if (context.json) {
    Node object = dry_run_node(plans.back(), threads);
    Node parts = Node::list();
    for (const Plan& plan : plans.first(plans.size() - 1)) {
      Node part = dry_run_node(plan, threads);
      part.set("name", Node::text(plan.config.name));
      parts.push(std::move(part));
    }
    if (plans.size() > 1) object.set("parts", std::move(parts));
    context.out << to_json(object) << "\n";
    return;
  }
  std::uint64_t least = 0;
  for (const Plan& plan : plans) {
    print_plan(plan, plans.size() > 1, context.out);
    if (&plan != &plans.back()) context.out << "\n";
    least = std::max(least, merge::least_memory(plan, threads));
  }
  context.out << "memory: at least " << binary_text(least) << " with " << threads
              << (threads == 1 ? " thread" : " threads") << ", up to " << binary_text(memory) << " allowed\n";
}

}  // namespace solera::cli
