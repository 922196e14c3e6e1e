#include <memory>
#include <ostream>

#include "solera/base/error.h"
#include "solera/base/table.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/cli/combine_report.h"
#include "solera/cli/verbs.h"
#include "solera/weights/graft.h"

namespace solera::cli {
namespace {

struct GraftArguments {
  std::string base, shared = "mean", granularity = "model";
  std::vector<std::string> inputs, include, exclude;
  weights::GraftOptions options;
  std::int64_t count = -1;
  int threads = hardware_threads();
};

void declare(OptionList& options, GraftArguments& target) {
  options.positional("BASE", "the model that is grafted on, or its URL", target.base);
  options.positional("INPUT", "fine-tuned models and sparse delta files", target.inputs);
  options.value("--output", "-o", "OUT", "a folder or *.safetensors (default: compare the regions, write nothing)",
                target.options.out);
  options.value("--density", "", "D", "size of a model's region, as a share", target.options.region.density);
  options.value("--count", "", "K", "size of a model's region, exactly (default: --density)", target.count);
  options.choice("--granularity", "", "group in which movements are ranked", {"tensor", "model"}, target.granularity);
  options.choice("--shared", "", "what an entry of several regions gets", {"mean", "sum"}, target.shared);
  options.value("--from", "", "MODEL", "take the values from this model (default: from each region's own)",
                target.options.from);
  options.value("--include", "", "PATTERN", "look for regions only in tensors of these names", target.include);
  options.value("--exclude", "", "PATTERN", "leave tensors of these names out", target.exclude);
  options.bytes("--shard-size", "", "largest file of a folder", target.options.shard_bytes);
  options.value("--threads", "", "N", "worker threads", target.threads);
  options.flag("--force", "", "replace an existing output", target.options.force);
}

Node json_of(const GraftArguments& arguments, const weights::GraftReport& report) {
  const weights::Overlap& overlap = report.overlap;
  Node object = arguments.options.out.empty() ? Node::map({{"schema", Node::integer(1)}})
                                              : report_node(arguments.options.out, report.combined);
  Node regions = Node::list(), matrix = Node::list();
  for (std::size_t i = 0; i < arguments.inputs.size(); ++i) {
    regions.push(Node::map({{"input", Node::text(arguments.inputs[i])}, {"size", Node::integer(overlap.sizes[i])}}));
    Node row = Node::list();
    for (std::size_t j = 0; j < arguments.inputs.size(); ++j) row.push(Node::number(overlap.share(i, j)));
    matrix.push(std::move(row));
  }
  object.set("regions", std::move(regions));
  object.set("union", Node::integer(overlap.together));
  object.set("overlap", std::move(matrix));
  return object;
}

void print_overlap(const GraftArguments& arguments, const weights::Overlap& overlap, std::ostream& out) {
  Table table{{"region", "size"}, {}};
  for (std::size_t i = 0; i < arguments.inputs.size(); ++i) table.header.push_back(cat("of ", i + 1));
  for (std::size_t i = 0; i < arguments.inputs.size(); ++i) {
    std::vector<std::string> row = {cat(i + 1, " ", arguments.inputs[i]), std::to_string(overlap.sizes[i])};
    for (std::size_t j = 0; j < arguments.inputs.size(); ++j) row.push_back(number_text(overlap.share(i, j), 4));
    table.rows.push_back(std::move(row));
  }
  out << table_text(table) << "union: " << overlap.together << " entries\n";
}

int run(GraftArguments& arguments, Context& context) {
  if (arguments.threads < 1) throw usage_error(cat("--threads is ", arguments.threads, ", less than 1"));
  weights::GraftOptions& options = arguments.options;
  if (!options.from.empty() && options.out.empty())
    throw usage_error("--from says where values come from, but no --output is given");
  for (const std::string& text : arguments.include) options.include.emplace_back(text);
  for (const std::string& text : arguments.exclude) options.exclude.emplace_back(text);
  options.shared = arguments.shared == "sum" ? weights::Shared::kSum : weights::Shared::kMean;
  options.region.whole_model = arguments.granularity == "model";
  if (arguments.count != -1) options.region.count = arguments.count;
  const auto base = checkpoint::open_checkpoint(arguments.base);
  Pool pool(arguments.threads);
  const auto report = weights::graft(base, arguments.inputs, options, pool, context.progress);
  for (const std::string& line : report.warnings) context.progress.warn(line);
  if (context.json) {
    context.out << to_json(json_of(arguments, report)) << "\n";
    return 0;
  }
  print_overlap(arguments, report.overlap, context.out);
  if (!options.out.empty()) context.out << report_line(options.out, report.combined) << "\n";
  return 0;
}

}  // namespace

Verb graft_verb() {
  return {.name = "graft",
          .summary = "Copy onto a base only the regions in which models moved; print how they overlap",
          .examples = {"solera graft base fine -o grafted --density 0.001",
                       "solera graft base fine-a fine-b task.safetensors --json"},
          .prepare =
              [](OptionList& options) {
                auto arguments = std::make_shared<GraftArguments>();
                declare(options, *arguments);
                return [arguments](Context& context) { return run(*arguments, context); };
              },
          .has_json = true};
}

}  // namespace solera::cli
