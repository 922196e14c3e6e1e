#include <memory>
#include <ostream>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/table.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/cli/verbs.h"
#include "solera/merge/interference.h"
#include "solera/weights/compare.h"

namespace solera::cli {
namespace {

using weights::ModelDifference;
using weights::PairSums;
using weights::TensorDifference;
using Kind = TensorDifference::Kind;

// "12.5 %"
std::string percent(std::int64_t part, std::int64_t of) {
  if (of == 0) return "0 %";
  return cat(number_text(100.0 * static_cast<double>(part) / static_cast<double>(of), 3), " %");
}

struct DiffArguments {
  std::string a;
  std::vector<std::string> others;
  std::string plot;
  int threads = hardware_threads();
};

std::string type_and_shape(const checkpoint::Tensor& tensor) {
  return cat(checkpoint::name(tensor.dtype), " ", shape_text(tensor.shape));
}

std::string what(const TensorDifference& t) {
  switch (t.kind) {
    case Kind::kEqual:
      return "equal";
    case Kind::kValues:
      return "values";
    case Kind::kDType:
      return cat("type: ", checkpoint::name(t.a->dtype), " and ", checkpoint::name(t.b->dtype));
    case Kind::kShape:
      return cat("shape: ", shape_text(t.a->shape), " and ", shape_text(t.b->shape));
    case Kind::kOnlyA:
      return cat("only in A: ", type_and_shape(*t.a));
    case Kind::kOnlyB:
      return cat("only in B: ", type_and_shape(*t.b));
  }
  return "";
}

bool has_sums(const TensorDifference& t) { return t.kind == Kind::kValues || t.kind == Kind::kDType; }

Node sums_node(const PairSums& sums) {
  return Node::map({{"relative_l2", Node::number(sums.relative_l2())},
                    {"cosine", Node::number(sums.cosine())},
                    {"max_abs", Node::number(sums.max_abs)}});
}

void print_json(const ModelDifference& difference, std::ostream& out) {
  static constexpr const char* kKinds[] = {"equal", "values", "dtype", "shape", "only_a", "only_b"};
  std::vector<Node> tensors;
  for (const TensorDifference& t : difference.tensors) {
    Node one = Node::map({{"name", Node::text(t.name)}, {"difference", Node::text(kKinds[static_cast<int>(t.kind)])}});
    const Node sums = has_sums(t) ? sums_node(t.sums) : Node::map();
    for (const auto& [key, value] : sums.entries()) one.set(key, value);
    tensors.push_back(std::move(one));
  }
  Node object = Node::map({{"schema", Node::integer(1)}, {"equal", Node::boolean(difference.equal())}});
  object.set("total", sums_node(difference.total));
  object.set("tensors", Node::list(std::move(tensors)));
  out << to_json(object) << "\n";
}

void print_text(const ModelDifference& difference, std::ostream& out) {
  Table table{{"tensor", "difference", "relative L2", "cosine", "max abs"}, {}};
  std::size_t equal = 0;
  const auto add = [&](const std::string& name, const std::string& text, const PairSums& sums) {
    table.rows.push_back(
        {name, text, number_text(sums.relative_l2(), 4), number_text(sums.cosine(), 6), number_text(sums.max_abs, 4)});
  };
  for (const TensorDifference& t : difference.tensors) {
    if (t.kind == Kind::kEqual)
      ++equal;
    else if (has_sums(t))
      add(t.name, what(t), t.sums);
    else
      table.rows.push_back({t.name, what(t), "", "", ""});
  }
  if (!table.rows.empty()) {
    add("total", "", difference.total);
    out << table_text(table);
  }
  out << equal << " of " << difference.tensors.size() << " tensors equal\n";
}

Node matrix_node(const std::vector<std::vector<double>>& values) {
  Node rows = Node::list();
  for (const auto& row : values) {
    Node list = Node::list();
    for (const double value : row) list.push(Node::number(value));
    rows.push(std::move(list));
  }
  return rows;
}

Node interference_node(const merge::Interference& one) {
  Node norms = Node::list();
  for (const double norm : one.norms) norms.push(Node::number(norm));
  return Node::map({{"name", Node::text(one.name)},
                    {"elements", Node::integer(one.elements)},
                    {"touched", Node::integer(one.touched)},
                    {"conflicts", Node::number(one.conflicts())},
                    {"base_norm", Node::number(one.base)},
                    {"norms", std::move(norms)},
                    {"cosines", matrix_node(one.cosines)},
                    {"opposed", matrix_node(one.opposed)}});
}

void print_json(const merge::InterferenceReport& report, std::ostream& out) {
  Node models = Node::list(), layers = Node::list(), left_out = Node::list();
  for (const std::string& model : report.models) models.push(Node::text(model));
  for (const merge::Interference& layer : report.layers) layers.push(interference_node(layer));
  for (const std::string& name : report.left_out) left_out.push(Node::text(name));
  out << to_json(Node::map({{"schema", Node::integer(1)},
                            {"models", std::move(models)},
                            {"total", interference_node(report.total)},
                            {"layers", std::move(layers)},
                            {"left_out", std::move(left_out)}}))
      << "\n";
}

void print_text(const merge::InterferenceReport& report, std::ostream& out) {
  Table layers{{"layer", "touched", "conflicts"}, {}};
  for (const std::string& model : report.models) layers.header.push_back(cat("change ", model));
  const auto add = [&](const merge::Interference& one) {
    std::vector<std::string> row = {one.name, percent(one.touched, one.elements),
                                    percent(one.conflicting, one.touched)};
    for (const double norm : one.norms) row.push_back(number_text(one.base == 0 ? norm : norm / one.base, 4));
    layers.rows.push_back(std::move(row));
  };
  for (const merge::Interference& layer : report.layers) add(layer);
  add(report.total);
  out << table_text(layers);
  for (const auto& [title, values] :
       {std::pair("cosine", &report.total.cosines), std::pair("opposed", &report.total.opposed)}) {
    Table table{{title}, {}};
    table.header.insert(table.header.end(), report.models.begin(), report.models.end());
    for (std::size_t i = 0; i < report.models.size(); ++i) {
      std::vector<std::string> row = {report.models[i]};
      for (const double value : (*values)[i]) row.push_back(number_text(value, 4));
      table.rows.push_back(std::move(row));
    }
    out << "\n" << table_text(table);
  }
  if (!report.left_out.empty())
    out << "\n"
        << report.left_out.size()
        << " tensors left out (not in all with one shape, integers, running statistics): " << report.left_out.front()
        << (report.left_out.size() > 1 ? ", ..." : "") << "\n";
}

// Several models against their common base: what each changes, and where they pull apart.
int run_changes(const DiffArguments& arguments, Context& context) {
  const auto base = checkpoint::open_checkpoint(arguments.a);
  std::vector<checkpoint::Checkpoint> models;
  for (const std::string& path : arguments.others) models.push_back(checkpoint::open_checkpoint(path));
  Pool pool(arguments.threads);
  const auto report = merge::measure_interference({&pool, {}, true, {}}, base, models, context.progress);
  if (!arguments.plot.empty()) write_atomically(arguments.plot, merge::interference_plot(report).svg());
  if (arguments.others.size() > 1) context.json ? print_json(report, context.out) : print_text(report, context.out);
  return report.total.touched == 0 ? 0 : 1;
}

int run(const DiffArguments& arguments, Context& context) {
  if (arguments.others.size() > 1) return run_changes(arguments, context);
  if (!arguments.plot.empty()) run_changes(arguments, context);
  const auto a = checkpoint::open_checkpoint(arguments.a), b = checkpoint::open_checkpoint(arguments.others.front());
  Pool pool(arguments.threads);
  const ModelDifference difference = weights::compare_models({&pool, {}, true, {}}, a, b, context.progress);
  context.json ? print_json(difference, context.out) : print_text(difference, context.out);
  return difference.equal() ? 0 : 1;
}

}  // namespace

Verb diff_verb() {
  return {.name = "diff",
          .summary = "Compare models tensor by tensor, or what several change of one; 0 equal, 1 different, 2 trouble",
          .examples = {"solera diff fine-a fine-b", "solera diff base fine-a fine-b fine-c --plot conflicts.svg"},
          .prepare =
              [](OptionList& options) {
                auto arguments = std::make_shared<DiffArguments>();
                options.positional("A", "a model or its URL; with several others, their common base", arguments->a);
                options.positional("B", "another, or several fine-tunes of A", arguments->others);
                options.value("--plot", "", "FILE.svg", "draw the changes, layer by layer", arguments->plot);
                options.value("--threads", "", "N", "worker threads", arguments->threads);
                return [arguments](Context& context) { return run(*arguments, context); };
              },
          .has_json = true,
          .trouble_status = 2};
}

}  // namespace solera::cli
