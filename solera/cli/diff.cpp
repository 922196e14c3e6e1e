#include <memory>
#include <ostream>

#include "solera/base/error.h"
#include "solera/base/table.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/cli/verbs.h"
#include "solera/weights/compare.h"

namespace solera::cli {
namespace {

using weights::ModelDifference;
using weights::PairSums;
using weights::TensorDifference;
using Kind = TensorDifference::Kind;

struct DiffArguments {
  std::string a, b;
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

int run(const DiffArguments& arguments, Context& context) {
  const auto a = checkpoint::open_checkpoint(arguments.a), b = checkpoint::open_checkpoint(arguments.b);
  Pool pool(arguments.threads);
  const ModelDifference difference = weights::compare_models({&pool, {}, true, {}}, a, b, context.progress);
  context.json ? print_json(difference, context.out) : print_text(difference, context.out);
  return difference.equal() ? 0 : 1;
}

}  // namespace

Verb diff_verb() {
  return {.name = "diff",
          .summary = "Compare two models tensor by tensor; status 0 equal, 1 different, 2 trouble",
          .examples = {"solera diff fine-a fine-b", "solera diff a.safetensors b.safetensors --json"},
          .prepare =
              [](OptionList& options) {
                auto arguments = std::make_shared<DiffArguments>();
                options.positional("A", "a model", arguments->a);
                options.positional("B", "another", arguments->b);
                options.value("--threads", "", "N", "worker threads", arguments->threads);
                return [arguments](Context& context) { return run(*arguments, context); };
              },
          .has_json = true,
          .trouble_status = 2};
}

}  // namespace solera::cli
