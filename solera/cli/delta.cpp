#include <limits>
#include <memory>
#include <ostream>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/cli/delta_report.h"
#include "solera/cli/evaluation.h"
#include "solera/cli/verbs.h"
#include "solera/merge/names.h"
#include "solera/soup/rescale_search.h"
#include "solera/weights/make_adapter.h"
#include "solera/weights/make_delta.h"

namespace solera::cli {
namespace {

using checkpoint::Checkpoint;

constexpr double kNotGiven = std::numeric_limits<double>::infinity();

constexpr const char* kSparse = "Sparse deltas";
constexpr const char* kSearch = "Search of the divisor";

struct DeltaArguments {
  std::string base, tuned, out, sparsify, granularity, values, stats, per_layer, search;
  std::vector<std::string> include, exclude, whole;
  double density = kNotGiven, q = kNotGiven, remove = kNotGiven, eta = kNotGiven;
  double from = kNotGiven, to = kNotGiven, step = kNotGiven;
  std::int64_t count = -1, rank = -1, seed = 0;
  int masks = 4;
  bool force = false, fan_in_fan_out = false, advise = false;
  EvaluationTarget evaluation;
  int threads = hardware_threads();
};

void declare(OptionList& options, DeltaArguments& target) {
  options.positional("BASE", "the model that the change starts from, or its URL", target.base);
  options.positional("TUNED", "the model that it leads to", target.tuned);
  options.value("--output", "-o", "OUT", "*.safetensors; with --lowrank a folder", target.out);
  options.flag("--advise", "", "only say how large the changes are, and which sparse delta that speaks for",
               target.advise);
  options.choice("--values", "",
                 "what is stored: the changed bits, or numbers that fit other bases too (default: exact)",
                 {"exact", "difference"}, target.values);
  options.value("--include", "", "PATTERN", "compare only tensors of these names", target.include);
  options.value("--exclude", "", "PATTERN", "leave tensors of these names out", target.exclude);
  options
      .choice("--sparsify", "", "keep a share of the changes (default: all of them)",
              {"magnitude", "random", "outliers", "q", "wanda", "columns"}, target.sparsify)
      .in(kSparse);
  options.value("--density", "", "D", "share that is kept, in (0, 1] (default 0.1)", target.density).in(kSparse);
  options.value("--count", "", "K", "keep exactly K changes of the whole model (default: --density)", target.count)
      .in(kSparse);
  options
      .choice("--granularity", "", "group in which magnitudes are ranked (default: tensor)", {"tensor", "model"},
              target.granularity)
      .in(kSparse);
  options.value("--remove", "", "R", "share of the largest changes that outliers drops (default 0.01)", target.remove)
      .in(kSparse);
  options
      .value("--divisor", "", "Q",
             "what q and columns divide by; Q = D is DARE, as random does (default: none; of columns D)", target.q)
      .in(kSparse);
  options
      .value("--whole", "", "PATTERN", "store all changes of tensors of these names: a task's head; repeatable",
             target.whole)
      .in(kSparse);
  options.value("--statistics", "", "FILE", "statistics of TUNED's inputs, for wanda and --per-layer", target.stats)
      .in(kSparse);
  options
      .choice(
          "--per-layer", "",
          "a divisor for each layer: analytic bounds the error's tail at --eta, mse has the least mean square error",
          {"analytic", "mse"}, target.per_layer)
      .in(kSparse);
  options.value("--eta", "", "E", "of analytic; larger ones shrink the changes (default: --search)", target.eta)
      .in(kSparse);
  options.value("--seed", "", "N", "seed of random, q and --lowrank", target.seed).in(kSparse);
  options.value("--lowrank", "", "R", "store a LoRA adapter of rank R, as PEFT does (default: a delta)", target.rank)
      .in("Low-rank deltas");
  options.flag("--fan-in-fan-out", "", "matrices are stored [in, out], as GPT-2's are", target.fan_in_fan_out)
      .in("Low-rank deltas");
  options
      .choice("--search", "",
              "search the divisor, or eta: by a metric on labelled data, or by how far a candidate's outputs are from "
              "TUNED's",
              {"labels", "change"}, target.search)
      .in(kSearch);
  declare_evaluation(options, target.evaluation, kSearch);
  options.value("--masks", "", "N", "random masks that change is averaged over", target.masks).in(kSearch);
  options.value("--from", "", "V", "first divisor or eta (default: D, or 0.1)", target.from).in(kSearch);
  options.value("--to", "", "V", "last one (default: 1, or 1.1)", target.to).in(kSearch);
  options.value("--step", "", "V", "coarse step; the fine one is a tenth (default: 0.05, or 0.1)", target.step)
      .in(kSearch);
  options.value("--threads", "", "N", "worker threads", target.threads);
  options.flag("--force", "", "replace an existing output", target.force);
}

// Options that would be ignored are most likely a slip.
void require_companions(const DeltaArguments& arguments) {
  if (arguments.sparsify.empty() &&
      (arguments.density != kNotGiven || arguments.count != -1 || !arguments.granularity.empty() ||
       arguments.remove != kNotGiven || arguments.q != kNotGiven))
    throw usage_error("--density, --count, --granularity, --remove and --divisor belong to --sparsify", "",
                      "add --sparsify magnitude");
  const bool divides = arguments.sparsify == "q" || arguments.sparsify == "columns";
  const bool searches = !arguments.search.empty(), layers = !arguments.per_layer.empty();
  const auto belongs = [](bool given, bool fits, const char* option, const char* to) {
    if (given && !fits) throw usage_error(cat(option, " belongs to ", to));
  };
  belongs(!arguments.whole.empty(), !arguments.sparsify.empty(), "--whole", "--sparsify");
  belongs(searches, divides, "--search", "--sparsify q or columns");
  belongs(layers, divides, "--per-layer", "--sparsify q or columns");
  belongs(!arguments.stats.empty(), layers || arguments.sparsify == "wanda", "--statistics",
          "--sparsify wanda or --per-layer");
  belongs(arguments.eta != kNotGiven, arguments.per_layer == "analytic", "--eta", "--per-layer analytic");
  belongs(arguments.from != kNotGiven || arguments.to != kNotGiven || arguments.step != kNotGiven, searches,
          "--from, --to and --step", "--search");
  belongs(arguments.evaluation.any(), searches, "a command, with what says how to run it,", "--search");
  belongs(arguments.masks != 4, arguments.search == "change", "--masks", "--search change");
  if (searches + (arguments.q != kNotGiven) + (arguments.eta != kNotGiven) + (arguments.per_layer == "mse") > 1)
    throw usage_error("--divisor, --search, --eta and --per-layer mse each say what to divide by", "",
                      "give one of them");
  if (layers && arguments.q != kNotGiven) throw usage_error("--divisor is one for all layers, and --per-layer is not");
  if (layers && arguments.stats.empty())
    throw usage_error("--per-layer needs the inputs of the layers", "",
                      "add --statistics FILE, measured on the tuned model");
  if (arguments.per_layer == "analytic" && !searches && arguments.eta == kNotGiven)
    throw usage_error("--per-layer analytic needs an eta", "", "add --search labels, or --eta 0.4");
}

weights::Sparsity sparsity_of(const DeltaArguments& arguments) {
  weights::Sparsity sparsity;
  if (arguments.sparsify.empty()) return sparsity;
  sparsity.how = arguments.sparsify == "magnitude" ? weights::Sparsify::kMagnitude
                 : arguments.sparsify == "random"  ? weights::Sparsify::kRandom
                 : arguments.sparsify == "q"       ? weights::Sparsify::kQ
                 : arguments.sparsify == "wanda"   ? weights::Sparsify::kWanda
                 : arguments.sparsify == "columns" ? weights::Sparsify::kColumns
                                                   : weights::Sparsify::kOutliers;
  sparsity.density = arguments.density != kNotGiven ? arguments.density : 0.1;
  if (arguments.count != -1) sparsity.count = arguments.count;
  if (arguments.remove != kNotGiven) sparsity.remove = arguments.remove;
  if (arguments.sparsify == "columns") sparsity.q = sparsity.density;
  if (arguments.q != kNotGiven) sparsity.q = arguments.q;
  sparsity.seed = static_cast<std::uint64_t>(arguments.seed);
  sparsity.whole_model = arguments.granularity == "model" || arguments.count != -1;
  return sparsity;
}

std::vector<Pattern> patterns(const std::vector<std::string>& texts) {
  std::vector<Pattern> result;
  for (const std::string& text : texts) result.emplace_back(text);
  return result;
}

Node integer(std::uint64_t value) { return Node::integer(static_cast<std::int64_t>(value)); }

int low_rank(const DeltaArguments& arguments, const Checkpoint& base, const Checkpoint& tuned, Context& context) {
  if (!arguments.sparsify.empty() || !arguments.values.empty())
    throw usage_error("--lowrank goes with neither --sparsify nor --values");
  weights::AdapterOptions options{.out = arguments.out, .force = arguments.force};
  options.include = patterns(arguments.include);
  options.exclude = patterns(arguments.exclude);
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

int advise(const DeltaArguments& arguments, const Checkpoint& base, const Checkpoint& tuned, Context& context) {
  Pool pool(arguments.threads);
  const auto pairs = weights::match_pairs(base, tuned, patterns(arguments.include), patterns(arguments.exclude), false);
  const weights::ChangeSize size = weights::change_size({&pool, {}, false, {}}, base, tuned, pairs);
  if (size.entries == 0)
    throw input_error("no floating-point tensor is selected", base.path(), "look at --include and --exclude");
  const weights::Advice advice = weights::advice_for(size.mean);
  if (context.json)
    context.out << to_json(Node::map({{"schema", Node::integer(1)},
                                      {"entries", Node::integer(size.entries)},
                                      {"mean_change", Node::number(size.mean)},
                                      {"root_mean_square", Node::number(size.root_mean_square)},
                                      {"advice", Node::text(advice_name(advice))}}))
                << "\n";
  else
    context.out << advice_text(size, advice) << "\n";
  return 0;
}

// The divisors of layers, where they are known without a search.
void set_divisors(const DeltaArguments& arguments, const Checkpoint& base, const Checkpoint& tuned,
                  const checkpoint::Statistics& inputs, weights::DeltaOptions& options, Pool& pool) {
  auto pairs = weights::match_pairs(base, tuned, options.include, options.exclude, false);
  if (!options.whole.empty())
    std::erase_if(pairs, [&](const weights::TensorPair& pair) { return selected(pair.base->name, options.whole, {}); });
  weights::Sparsity& sparsity = options.sparsity;
  const bool mse = arguments.per_layer == "mse";
  const auto layers = weights::measure_layers({&pool, {}, false, {}}, base, tuned, pairs, inputs,
                                              mse ? weights::InputUse::kGrams : weights::InputUse::kMeans);
  const weights::Divisors divisors = mse ? weights::divisors_by_error(layers, sparsity.density)
                                         : weights::divisors_by_tail(layers, sparsity.density, {.eta = arguments.eta});
  sparsity.q = divisors.of_others;
  sparsity.divisors = divisors.of_tensor;
}

soup::RescaleReport search(const DeltaArguments& arguments, const Checkpoint& base, const Checkpoint& tuned,
                           const weights::DeltaOptions& delta, const std::vector<std::string>& command,
                           Context& context) {
  soup::RescaleOptions options{.delta = delta};
  options.judge = arguments.search == "change" ? soup::Judge::kChange : soup::Judge::kLabels;
  EvaluationTarget evaluation = arguments.evaluation;
  if (options.judge == soup::Judge::kChange) {
    if (evaluation.maximize) throw usage_error("--search change looks for the least change, not the largest");
    evaluation.minimize = true;
  }
  options.evaluator = resolved_evaluation(evaluation, command);
  options.evaluator.threads = arguments.threads;
  options.minimize = evaluation.minimize;
  options.masks = arguments.masks;
  options.cache = evaluation.cache;
  if (!arguments.per_layer.empty()) options.statistics = arguments.stats;
  const auto given = [](double value) { return value == kNotGiven ? std::nullopt : std::optional(value); };
  options.from = given(arguments.from);
  options.to = given(arguments.to);
  options.step = given(arguments.step);
  return soup::search_rescale(base, tuned, options, context.progress);
}

void print(const DeltaArguments& arguments, const weights::DeltaReport& report, const weights::Sparsity& sparsity,
           const soup::RescaleReport* searched, Context& context) {
  for (const std::string& line : report.warnings) context.progress.warn(line);
  if (!context.json) {
    context.out << arguments.out << ": " << report.changed << " of " << report.tensors << " tensors, " << report.kept
                << " of " << report.entries << " entries, " << bytes_text(report.bytes) << "\n";
    if (searched || !sparsity.divisors.empty()) context.out << divisor_line(sparsity, searched) << "\n";
    return;
  }
  Node object = Node::map({{"schema", Node::integer(1)},
                           {"path", Node::text(arguments.out)},
                           {"tensors", integer(report.tensors)},
                           {"changed_tensors", integer(report.changed)},
                           {"entries", Node::integer(report.entries)},
                           {"kept", Node::integer(report.kept)},
                           {"bytes", integer(report.bytes)}});
  if (sparsity.divides()) add_divisors(object, sparsity, searched);
  context.out << to_json(object) << "\n";
}

int run(const DeltaArguments& arguments, const std::vector<std::string>& command, Context& context) {
  if (arguments.threads < 1) throw usage_error(cat("--threads is ", arguments.threads, ", less than 1"));
  if (arguments.out.empty() && !arguments.advise)
    throw usage_error("delta needs --output OUT", "", "or --advise, which writes nothing");
  if (!command.empty() && arguments.search.empty()) throw usage_error("a command belongs to --search");
  const auto base = checkpoint::open_checkpoint(arguments.base), tuned = checkpoint::open_checkpoint(arguments.tuned);
  if (arguments.advise) return advise(arguments, base, tuned, context);
  if (arguments.rank != -1) return low_rank(arguments, base, tuned, context);
  require_companions(arguments);
  weights::DeltaOptions options{.out = arguments.out, .force = arguments.force};
  options.include = patterns(arguments.include);
  options.exclude = patterns(arguments.exclude);
  options.whole = patterns(arguments.whole);
  options.sparsity = sparsity_of(arguments);
  if (!arguments.values.empty())
    options.values = arguments.values == "exact" ? weights::DeltaValues::kExact : weights::DeltaValues::kDifference;
  if (!arguments.search.empty()) {
    const soup::RescaleReport report = search(arguments, base, tuned, options, command, context);
    print(arguments, report.delta, report.sparsity, &report, context);
    return 0;
  }
  Pool pool(arguments.threads);
  std::optional<checkpoint::Statistics> inputs;
  if (!arguments.stats.empty()) inputs.emplace(checkpoint::open_statistics(arguments.stats, tuned));
  if (options.sparsity.how == weights::Sparsify::kWanda && inputs) options.sparsity.inputs = &*inputs;
  if (!arguments.per_layer.empty()) set_divisors(arguments, base, tuned, *inputs, options, pool);
  if (options.sparsity.divides() && options.sparsity.q > 0 && options.sparsity.q < options.sparsity.density)
    context.progress.warn(cat("q is ", number_text(options.sparsity.q), ", below the density ",
                              number_text(options.sparsity.density), ": it makes the change larger than it was"));
  print(arguments, weights::make_delta(base, tuned, options, pool, context.progress), options.sparsity, nullptr,
        context);
  return 0;
}

}  // namespace

Verb delta_verb() {
  return {.name = "delta",
          .summary = "Store what a model changes of its base: exact, sparse or low-rank",
          .examples = {"solera delta base fine -o task.safetensors",
                       "solera delta base fine -o task.safetensors --sparsify magnitude --density 0.05",
                       "solera delta base fine -o task.safetensors --sparsify q --density 0.05 --search labels --eval "
                       "'./eval.sh {checkpoint}'",
                       "solera delta base fine -o adapter --lowrank 16"},
          .prepare =
              [](OptionList& options) {
                auto arguments = std::make_shared<DeltaArguments>();
                declare(options, *arguments);
                return [arguments, &options](Context& context) { return run(*arguments, options.rest(), context); };
              },
          .has_json = true};
}

}  // namespace solera::cli
