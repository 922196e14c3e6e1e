#include <cstdlib>
#include <memory>
#include <optional>
#include <ostream>

#include "solera/base/error.h"
#include "solera/base/launcher.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/cli/merge_plan.h"
#include "solera/cli/verbs.h"
#include "solera/merge/documents.h"

namespace solera::cli {
namespace {

using merge::Plan;

struct MergeOptions {
  std::string config, out, rules, seed, random_seed;
  std::vector<std::string> include, exclude;
  std::string parts;
  bool allow_missing = false, allow_nonfinite = false, dry_run = false, force = false, restart = false;
  bool no_card = false, truncate_embeddings = false;
  int rank = -1, of = -1;
  int threads = hardware_threads();
  std::uint64_t memory = 1ull << 30, shard_bytes = 5'000'000'000;
};

void declare(OptionList& options, MergeOptions& target) {
  options.positional("CONFIG", "a merge configuration: mergekit's YAML, see docs/merging.md; its models may be URLs",
                     target.config);
  options.value("--output", "-o", "OUT", "where the result goes: a folder or *.safetensors", target.out);
  options.flag("--dry-run", "", "print what each tensor would get, bytes and memory; write nothing", target.dry_run);
  options.choice("--rules", "", "whose defaults and rules hold (default: as CONFIG says)", {"mergekit", "paper"},
                 target.rules);
  options.value("--seed", "", "N", "of random masks, from 0 on (default: as CONFIG says, else 0)", target.seed);
  options.value("--random-seed", "", "N", "mergekit's name of --seed", target.random_seed);
  options.value("--include", "", "PATTERN", "merge only tensors of these names", target.include);
  options.value("--exclude", "", "PATTERN", "keep the base's tensors of these names", target.exclude);
  options.flag("--allow-missing", "", "merge a tensor that some models lack over the others", target.allow_missing);
  options.flag("--unsafe-truncate-embeddings", "",
               "cut different vocabularies to their first common rows, whatever tokens those are",
               target.truncate_embeddings);
  options.flag("--allow-nonfinite", "", "do not stop at a NaN or infinity in an input", target.allow_nonfinite);
  options.value("--threads", "", "N", "worker threads", target.threads);
  options.bytes("--memory", "", "memory to stay below, mapped files not counted", target.memory);
  options.bytes("--shard-size", "", "largest file of a folder", target.shard_bytes);
  options.value("--parts", "", "FOLDER",
                "keep the models of a file's named documents here (default: OUT.parts, removed)", target.parts);
  options.flag("--no-model-card", "", "write no README.md and mergekit_config.yml into an output folder",
               target.no_card);
  options
      .value("--rank", "", "I", "write the files of process I of --of, from 0 (default: what the launcher says)",
             target.rank)
      .in("Several machines");
  options
      .value("--of", "", "N", "processes that make the output together; 1 ignores the launcher (default: as it says)",
             target.of)
      .in("Several machines");
  options.flag("--force", "", "replace an existing output", target.force);
  options.flag("--restart", "", "discard an unfinished OUT.partial instead of going on with it", target.restart);
}

// Null where neither option is given.
std::optional<std::uint64_t> seed_of(const MergeOptions& options) {
  if (!options.seed.empty() && !options.random_seed.empty())
    throw usage_error("--seed and --random-seed are both given", "", "they mean the same: keep one");
  const bool mergekits = options.seed.empty();
  const std::string& text = mergekits ? options.random_seed : options.seed;
  if (text.empty()) return std::nullopt;
  const auto seed = parse_int(text);
  if (!seed || *seed < 0)
    throw usage_error(cat(mergekits ? "--random-seed" : "--seed", " is \"", text, "\", not a whole number from 0 on"));
  return static_cast<std::uint64_t>(*seed);
}

std::vector<merge::MergeConfig> configs_of(const MergeOptions& options) {
  std::vector<merge::MergeConfig> configs = merge::read_merge_configs(options.config);
  if (!options.rules.empty())
    for (merge::MergeConfig& config : configs)
      config.rules = options.rules == "paper" ? merge::Rules::kPaper : merge::Rules::kMergekit;
  if (const auto seed = seed_of(options))
    for (merge::MergeConfig& config : configs) config.seed = *seed;
  return configs;
}

merge::PlanOptions plan_options(const MergeOptions& options) {
  merge::PlanOptions plan{.allow_missing = options.allow_missing,
                          .truncate_embeddings = options.truncate_embeddings,
                          .shard_bytes = options.shard_bytes};
  for (const std::string& text : options.include) plan.include.emplace_back(text);
  for (const std::string& text : options.exclude) plan.exclude.emplace_back(text);
  plan.single_file = !options.out.empty() && checkpoint::is_single_file(options.out);
  return plan;
}

// Which of several processes this one is: as the command line says, else the launcher.
Rank rank_of(const MergeOptions& options) {
  if (options.rank == -1 && options.of == -1) return rank_of_launcher(std::getenv).value_or(Rank());
  if (options.of == -1) throw usage_error(cat("--rank ", options.rank, " is given without --of"));
  if (options.of < 1) throw usage_error(cat("--of is ", options.of, ", less than 1"));
  if (options.rank == -1 && options.of > 1)
    throw usage_error(cat("--of ", options.of, " is given without --rank"), "", "0 is the first rank");
  const int rank = options.of == 1 && options.rank == -1 ? 0 : options.rank;
  if (rank < 0 || rank >= options.of)
    throw usage_error(cat("--rank is ", rank, "; with --of ", options.of, " ranks go from 0 to ", options.of - 1));
  return {rank, options.of, "--rank"};
}

Node result(Node object, const MergeOptions& options, const Rank& rank, const merge::ExecuteReport& report) {
  object.set("output", Node::text(options.out));
  object.set("tensors", Node::integer(static_cast<std::int64_t>(report.tensors)));
  object.set("resumed_tensors", Node::integer(static_cast<std::int64_t>(report.resumed)));
  object.set("read_bytes", Node::integer(static_cast<std::int64_t>(report.bytes_read)));
  object.set("written_bytes", Node::integer(static_cast<std::int64_t>(report.bytes_written)));
  object.set("seconds", Node::number(report.seconds));
  if (rank.of == 1) return object;
  Node missing = Node::list();
  for (const int one : report.waits_for) missing.push(Node::integer(one));
  object.set("rank", Node::integer(rank.number));
  object.set("of", Node::integer(rank.of));
  object.set("published", Node::boolean(report.published));
  object.set("waits_for", std::move(missing));
  return object;
}

// How the output stands when this rank ends.
std::string standing(const merge::ExecuteReport& report) {
  if (report.published) return "the output is whole";
  std::string ranks;
  for (const int rank : report.waits_for) ranks += cat(ranks.empty() ? "" : ", ", rank);
  return cat("the output waits for ", report.waits_for.size() == 1 ? "rank " : "ranks ", ranks);
}

int run(const MergeOptions& options, Context& context) {
  if (options.out.empty() && !options.dry_run)
    throw usage_error("no --output is given", "", "add -o FOLDER or -o FILE.safetensors");
  if (options.threads < 1) throw usage_error(cat("--threads is ", options.threads, ", less than 1"));
  const Rank rank = rank_of(options);
  const std::string parts =
      options.parts.empty() ? merge::parts_of(options.out.empty() ? "OUT" : options.out) : options.parts;
  std::vector<Plan> plans = merge::plan_documents(configs_of(options), plan_options(options), parts);
  for (const Plan& plan : plans)
    for (const std::string& line : plan.warnings) context.progress.warn(line);
  if (options.dry_run) {
    print_dry_run(plans, options.threads, options.memory, context);
    if (rank.of > 1 && !context.json) context.out << rank_line(plans.back(), rank) << "\n";
    return 0;
  }
  std::vector<std::string> opening;
  for (const Plan& plan : plans) opening.push_back(opening_line(plan, plans.size() > 1));
  if (rank.of > 1) opening.push_back(rank_line(plans.back(), rank));
  const Node before = context.json ? merge_summary(plans.back()) : Node();
  const auto say = [&] {
    for (const std::string& line : opening) context.progress.note(line);
  };
  const merge::ExecuteReport report = merge::execute_documents(std::move(plans), plan_options(options),
                                                               {.out = options.out,
                                                                .threads = options.threads,
                                                                .memory = options.memory,
                                                                .force = options.force,
                                                                .restart = options.restart,
                                                                .allow_nonfinite = options.allow_nonfinite,
                                                                .model_card = !options.no_card,
                                                                .rank = rank.number,
                                                                .of = rank.of,
                                                                .on_start = say},
                                                               parts, !options.parts.empty(), context.progress);
  if (context.json) {
    context.out << to_json(result(before, options, rank, report)) << "\n";
    return 0;
  }
  context.out << options.out << ": ";
  if (rank.of > 1) context.out << "rank " << rank.number << " of " << rank.of << ", ";
  context.out << report.tensors << (report.tensors == 1 ? " tensor, " : " tensors, ")
              << bytes_text(report.bytes_written) << " in " << duration_text(report.seconds);
  if (report.resumed > 0) context.out << "; " << report.resumed << " were there already";
  if (rank.of > 1) context.out << "; " << standing(report);
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
