#include <limits>
#include <memory>
#include <ostream>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/cli/verbs.h"
#include "solera/merge/names.h"
#include "solera/weights/make_adapter.h"
#include "solera/weights/make_delta.h"

namespace solera::cli {
namespace {

constexpr double kNotGiven = std::numeric_limits<double>::infinity();

struct DeltaArguments {
  std::string base, tuned, out, sparsify, granularity, values;
  std::vector<std::string> include, exclude;
  double density = kNotGiven, q = kNotGiven, remove = kNotGiven;
  std::int64_t count = -1, rank = -1, seed = 0;
  bool force = false, fan_in_fan_out = false;
  int threads = hardware_threads();
};

void declare(OptionList& options, DeltaArguments& target) {
  options.positional("BASE", "the model that the change starts from, or its URL", target.base);
  options.positional("TUNED", "the model that it leads to", target.tuned);
  options.value("--output", "-o", "OUT", "*.safetensors; with --lowrank a folder", target.out).must();
  options.choice("--values", "",
                 "what is stored: the changed bits, or numbers that fit other bases too (default: exact)",
                 {"exact", "difference"}, target.values);
  options.value("--include", "", "PATTERN", "compare only tensors of these names", target.include);
  options.value("--exclude", "", "PATTERN", "leave tensors of these names out", target.exclude);
  options
      .choice("--sparsify", "", "keep a share of the changes (default: all of them)",
              {"magnitude", "random", "outliers", "q"}, target.sparsify)
      .in("Sparse deltas");
  options.value("--density", "", "D", "share that is kept, in (0, 1] (default 0.1)", target.density)
      .in("Sparse deltas");
  options.value("--count", "", "K", "keep exactly K changes of the whole model (default: --density)", target.count)
      .in("Sparse deltas");
  options
      .choice("--granularity", "", "group in which magnitudes are ranked (default: tensor)", {"tensor", "model"},
              target.granularity)
      .in("Sparse deltas");
  options.value("--remove", "", "R", "share of the largest changes that outliers drops (default 0.01)", target.remove)
      .in("Sparse deltas");
  options.value("--divisor", "", "Q", "what q divides by; Q = D is DARE, as random does (default: none)", target.q)
      .in("Sparse deltas");
  options.value("--seed", "", "N", "seed of random, q and --lowrank", target.seed).in("Sparse deltas");
  options.value("--lowrank", "", "R", "store a LoRA adapter of rank R, as PEFT does (default: a delta)", target.rank)
      .in("Low-rank deltas");
  options.flag("--fan-in-fan-out", "", "matrices are stored [in, out], as GPT-2's are", target.fan_in_fan_out)
      .in("Low-rank deltas");
  options.value("--threads", "", "N", "worker threads", target.threads);
  options.flag("--force", "", "replace an existing output", target.force);
}

weights::Sparsity sparsity_of(const DeltaArguments& arguments) {
  weights::Sparsity sparsity;
  if (arguments.sparsify.empty()) {
    if (arguments.density != kNotGiven || arguments.count != -1 || !arguments.granularity.empty() ||
        arguments.remove != kNotGiven || arguments.q != kNotGiven)
      throw usage_error("--density, --count, --granularity, --remove and --divisor belong to --sparsify", "",
                        "add --sparsify magnitude");
    return sparsity;
  }
  sparsity.how = arguments.sparsify == "magnitude" ? weights::Sparsify::kMagnitude
                 : arguments.sparsify == "random"  ? weights::Sparsify::kRandom
                 : arguments.sparsify == "q"       ? weights::Sparsify::kQ
                                                   : weights::Sparsify::kOutliers;
  sparsity.density = arguments.density != kNotGiven ? arguments.density : 0.1;
  if (arguments.count != -1) sparsity.count = arguments.count;
  if (arguments.remove != kNotGiven) sparsity.remove = arguments.remove;
  if (arguments.q != kNotGiven) sparsity.q = arguments.q;
  sparsity.seed = static_cast<std::uint64_t>(arguments.seed);
  sparsity.whole_model = arguments.granularity == "model" || arguments.count != -1;
  return sparsity;
}

Node integer(std::uint64_t value) { return Node::integer(static_cast<std::int64_t>(value)); }

int low_rank(const DeltaArguments& arguments, const checkpoint::Checkpoint& base, const checkpoint::Checkpoint& tuned,
             Context& context) {
  if (!arguments.sparsify.empty() || !arguments.values.empty())
    throw usage_error("--lowrank goes with neither --sparsify nor --values");
  weights::AdapterOptions options{.out = arguments.out, .force = arguments.force};
  for (const std::string& text : arguments.include) options.include.emplace_back(text);
  for (const std::string& text : arguments.exclude) options.exclude.emplace_back(text);
  options.rank.rank = arguments.rank;
  options.rank.seed = static_cast<std::uint64_t>(arguments.seed);
  const Node* type = base.config().is_map() ? base.config().find("model_type") : nullptr;
  options.fan_in_fan_out = arguments.fan_in_fan_out || (type && type->is_scalar() && type->as_text() == "gpt2");
  options.is_embedding = [](const std::string& name) {
    return merge::name_facts(name).role == merge::Role::kEmbedding;
  };
  Pool pool(arguments.threads);
  const auto report = weights::make_adapter(base, tuned, options, pool, context.progress);
  for (const std::string& line : report.warnings) context.progress.warn(line);
  if (context.json)
    context.out << to_json(Node::map({{"schema", Node::integer(1)},
                                      {"path", Node::text(arguments.out)},
                                      {"rank", Node::integer(arguments.rank)},
                                      {"matrices", integer(report.matrices)},
                                      {"left_out", integer(report.left_out)},
                                      {"kept_share", Node::number(report.kept)},
                                      {"bytes", integer(report.bytes)}}))
                << "\n";
  else
    context.out << arguments.out << ": rank " << arguments.rank << " for " << report.matrices
                << (report.matrices == 1 ? " matrix, " : " matrices, ") << number_text(100 * report.kept, 4)
                << " % of the squared change, " << bytes_text(report.bytes) << "\n";
  return 0;
}

int run(const DeltaArguments& arguments, Context& context) {
  if (arguments.threads < 1) throw usage_error(cat("--threads is ", arguments.threads, ", less than 1"));
  const auto base = checkpoint::open_checkpoint(arguments.base), tuned = checkpoint::open_checkpoint(arguments.tuned);
  if (arguments.rank != -1) return low_rank(arguments, base, tuned, context);
  weights::DeltaOptions options{.out = arguments.out, .force = arguments.force};
  for (const std::string& text : arguments.include) options.include.emplace_back(text);
  for (const std::string& text : arguments.exclude) options.exclude.emplace_back(text);
  options.sparsity = sparsity_of(arguments);
  if (!arguments.values.empty())
    options.values = arguments.values == "exact" ? weights::DeltaValues::kExact : weights::DeltaValues::kDifference;
  Pool pool(arguments.threads);
  const auto report = weights::make_delta(base, tuned, options, pool, context.progress);
  for (const std::string& line : report.warnings) context.progress.warn(line);
  if (context.json)
    context.out << to_json(Node::map({{"schema", Node::integer(1)},
                                      {"path", Node::text(arguments.out)},
                                      {"tensors", integer(report.tensors)},
                                      {"changed_tensors", integer(report.changed)},
                                      {"entries", Node::integer(report.entries)},
                                      {"kept", Node::integer(report.kept)},
                                      {"bytes", integer(report.bytes)}}))
                << "\n";
  else
    context.out << arguments.out << ": " << report.changed << " of " << report.tensors << " tensors, " << report.kept
                << " of " << report.entries << " entries, " << bytes_text(report.bytes) << "\n";
  return 0;
}

}  // namespace

Verb delta_verb() {
  return {.name = "delta",
          .summary = "Store what a model changes of its base: exact, sparse or low-rank",
          .examples = {"solera delta base fine -o task.safetensors",
                       "solera delta base fine -o task.safetensors --sparsify magnitude --density 0.05",
                       "solera delta base fine -o adapter --lowrank 16"},
          .prepare =
              [](OptionList& options) {
                auto arguments = std::make_shared<DeltaArguments>();
                declare(options, *arguments);
                return [arguments](Context& context) { return run(*arguments, context); };
              },
          .has_json = true};
}

}  // namespace solera::cli
