#include <cmath>
#include <map>
#include <memory>
#include <ostream>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/table.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/cli/verbs.h"
#include "solera/weights/statistics.h"

namespace solera::cli {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Tensor;
using weights::Statistics;

struct InspectArguments {
  std::string path;
  bool stats = false;
  int threads = hardware_threads();
};

std::string format_name(const Checkpoint& model) {
  switch (model.format()) {
    case checkpoint::Format::kSafetensors:
      return "safetensors";
    case checkpoint::Format::kTorch:
      return "PyTorch";
    case checkpoint::Format::kNpz:
      return "npz";
    case checkpoint::Format::kGguf:
      return "GGUF";
  }
  return "";
}

// Parameters and bytes by type.
struct TypeTotals {
  std::int64_t tensors = 0, elements = 0;
  std::uint64_t bytes = 0;
};

// The type in the file: GGUF's blocks under their own name.
std::string type_name(const Tensor& tensor) {
  return tensor.encoding.empty() ? std::string(checkpoint::name(tensor.dtype)) : tensor.encoding;
}

std::map<std::pair<checkpoint::DType, std::string>, TypeTotals> totals_of(const Checkpoint& model) {
  std::map<std::pair<checkpoint::DType, std::string>, TypeTotals> totals;
  for (const Tensor& tensor : model.tensors()) {
    TypeTotals& t = totals[{tensor.dtype, type_name(tensor)}];
    ++t.tensors;
    t.elements += tensor.elements();
    t.bytes += tensor.stored_bytes();
  }
  return totals;
}

bool has_values(const Tensor& tensor) {
  return tensor.dtype != checkpoint::DType::kF8E8M0 && tensor.dtype != checkpoint::DType::kF4;
}

std::vector<Statistics> measure(const Checkpoint& model, const InspectArguments& arguments, Progress& progress) {
  Pool pool(arguments.threads);
  const weights::Engine engine{&pool, {}, true, [&](std::uint64_t bytes) { progress.advance(bytes); }};
  std::vector<Statistics> all;
  progress.begin("inspect", model.tensor_bytes(), "bytes");
  for (const Tensor& tensor : model.tensors())
    all.push_back(has_values(tensor) ? weights::statistics(engine, {&model, &tensor, {}, model.path()}) : Statistics{});
  progress.end();
  return all;
}

std::int64_t parameters_of(const Checkpoint& model) {
  std::int64_t count = 0;
  for (const Tensor& tensor : model.tensors()) count += tensor.elements();
  return count;
}

Node shape_node(const Tensor& tensor) {
  Node shape = Node::list();
  for (const std::int64_t size : tensor.shape) shape.push(Node::integer(size));
  return shape;
}

Node statistics_node(const Statistics& s) {
  return Node::map({{"mean", Node::number(s.mean)},
                    {"std", Node::number(std::sqrt(s.variance))},
                    {"min", Node::number(s.min)},
                    {"max", Node::number(s.max)},
                    {"l1", Node::number(s.l1)},
                    {"l2", Node::number(s.l2)},
                    {"zeros", Node::integer(s.zeros)},
                    {"nan", Node::integer(s.nan)},
                    {"infinite", Node::integer(s.infinite)}});
}

void print_json(const Checkpoint& model, const std::vector<Statistics>& stats, std::ostream& out) {
  Node object = Node::map({{"schema", Node::integer(1)},
                           {"path", Node::text(model.path())},
                           {"format", Node::text(format_name(model))},
                           {"parameters", Node::integer(parameters_of(model))},
                           {"bytes", Node::integer(static_cast<std::int64_t>(model.stored_bytes()))}});
  Node files = Node::list();
  for (const auto& file : model.files()) files.push(Node::text(file.path));
  object.set("files", std::move(files));
  Node metadata = Node::map();
  for (const auto& [key, value] : model.metadata()) metadata.set(key, Node::text(value));
  object.set("metadata", std::move(metadata));
  std::vector<Node> tensors;
  for (std::size_t i = 0; i < model.tensors().size(); ++i) {
    const Tensor& tensor = model.tensors()[i];
    Node one = Node::map({{"name", Node::text(tensor.name)},
                          {"dtype", Node::text(type_name(tensor))},
                          {"shape", shape_node(tensor)},
                          {"bytes", Node::integer(static_cast<std::int64_t>(tensor.stored_bytes()))}});
    if (!stats.empty() && has_values(tensor)) one.set("stats", statistics_node(stats[i]));
    tensors.push_back(std::move(one));
  }
  object.set("tensors", Node::list(std::move(tensors)));
  out << to_json(object) << "\n";
}

void print_text(const Checkpoint& model, const std::vector<Statistics>& stats, std::ostream& out) {
  const std::size_t files = model.files().size();
  out << model.path() << ": " << format_name(model) << ", " << files << (files == 1 ? " file, " : " files, ")
      << model.tensors().size() << " tensors, " << parameters_of(model) << " parameters, "
      << bytes_text(model.stored_bytes()) << "\n";
  for (const auto& [type, t] : totals_of(model))
    out << "  " << type.second << ": " << t.tensors << (t.tensors == 1 ? " tensor, " : " tensors, ") << t.elements
        << " elements, " << bytes_text(t.bytes) << "\n";
  for (const auto& [key, value] : model.metadata()) out << "  metadata " << key << ": " << value << "\n";
  if (!model.side_files().empty()) {
    const auto side = model.side_files();
    out << "  beside it: " << join(std::vector<std::string>(side.begin(), side.end()), ", ") << "\n";
  }
  Table table{{"tensor", "type", "shape", "bytes"}, {}};
  if (!stats.empty())
    for (const char* column : {"mean", "std", "min", "max", "l2", "zeros", "NaN", "inf"})
      table.header.emplace_back(column);
  for (std::size_t i = 0; i < model.tensors().size(); ++i) {
    const Tensor& tensor = model.tensors()[i];
    std::vector<std::string> row = {tensor.name, type_name(tensor), shape_text(tensor.shape),
                                    std::to_string(tensor.stored_bytes())};
    if (!stats.empty()) {
      const Statistics& s = stats[i];
      for (const double v : {s.mean, std::sqrt(s.variance), s.min, s.max, s.l2}) row.push_back(number_text(v, 4));
      for (const std::int64_t n : {s.zeros, s.nan, s.infinite}) row.push_back(std::to_string(n));
    }
    table.rows.push_back(std::move(row));
  }
  out << table_text(table);
}

int run(const InspectArguments& arguments, Context& context) {
  const Checkpoint model = checkpoint::open_checkpoint(arguments.path, {.as_stored = true});
  const auto stats = arguments.stats ? measure(model, arguments, context.progress) : std::vector<Statistics>{};
  context.json ? print_json(model, stats, context.out) : print_text(model, stats, context.out);
  return 0;
}

}  // namespace

Verb inspect_verb() {
  return {.name = "inspect",
          .summary = "Say what is in a model file or folder",
          .examples = {"solera inspect fine-a", "solera inspect model.safetensors --stats"},
          .prepare =
              [](OptionList& options) {
                auto arguments = std::make_shared<InspectArguments>();
                options.positional(
                    "PATH",
                    "a model folder, .safetensors, .gguf, .pt, .bin or .npz, or its URL (https://..., hf://ORG/NAME)",
                    arguments->path);
                options.flag("--stats", "", "moments, extremes, norms and bad values of every tensor",
                             arguments->stats);
                options.value("--threads", "", "N", "worker threads", arguments->threads);
                return [arguments](Context& context) { return run(*arguments, context); };
              },
          .has_json = true};
}

}  // namespace solera::cli
