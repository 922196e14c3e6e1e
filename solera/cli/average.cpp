// `solera average`: one model from the snapshots of a training run, or of several.
#include "solera/merge/average.h"

#include <memory>
#include <numeric>
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

using merge::Average;
using merge::AverageOptions;
using merge::Weighting;

struct Target {
  AverageOptions average;
  std::string out, weights = "uniform", runs = "all", last, ema;
  std::vector<std::string> heads;
  bool dry_run = false, force = false, restart = false;
  int threads = hardware_threads();
  std::uint64_t memory = 1ull << 30, shard_bytes = 5'000'000'000;
};

void declare(OptionList& options, Target& target) {
  options.positional("FOLDER", "a run's snapshots, files or model folders with step numbers in their names",
                     target.average.runs);
  options.value("--output", "-o", "OUT", "where the average goes: a folder or *.safetensors", target.out);
  options.value("--last", "", "K", "the last K snapshots of each run (default: all)", target.last);
  options.value("--start", "", "F", "leave out the first fraction F of each run's snapshots", target.average.start);
  options.value("--weights", "", "W", "uniform, linear (1, 2, ..., k), or numbers w1,w2,...", target.weights)
      .offers({"uniform", "linear"});
  options.value("--ema", "", "D", "exponential moving average: m = D m + (1 - D) snapshot", target.ema);
  options.choice("--runs", "", "of several runs take all snapshots, pooled, or the last of each", {"all", "last"},
                 target.runs);
  options.flag("--allow-different-heads", "", "average runs whose heads started differently",
               target.average.different_heads);
  options.value("--head", "", "PATTERN", "tensors of the head, if their names do not tell; repeatable", target.heads);
  options.flag("--dry-run", "", "print the snapshots and their weights; write nothing", target.dry_run);
  options.value("--threads", "", "N", "worker threads", target.threads);
  options.bytes("--memory", "", "memory to stay below, mapped files not counted", target.memory);
  options.bytes("--shard-size", "", "largest file of a folder", target.shard_bytes);
  options.flag("--force", "", "replace an existing output", target.force);
  options.flag("--restart", "", "discard an unfinished OUT.partial instead of going on with it", target.restart);
}

AverageOptions resolved(const Target& target) {
  AverageOptions options = target.average;
  options.last_of_each = target.runs == "last";
  if (!target.last.empty()) {
    const auto last = parse_int(target.last);
    if (!last || *last < 1 || *last > 1'000'000)
      throw usage_error(cat("--last is \"", target.last, "\", not a whole number from 1"));
    options.last = static_cast<int>(*last);
  }
  for (const std::string& text : target.heads) options.heads.emplace_back(text);
  if (target.weights == "linear")
    options.weighting = Weighting::kLinear;
  else if (target.weights != "uniform") {
    options.weighting = Weighting::kExplicit;
    for (const std::string& piece : split(target.weights, ',')) {
      const auto weight = parse_double(trim(piece));
      if (!weight)
        throw usage_error(cat("--weights is \"", target.weights, "\", not uniform, linear or numbers with commas"));
      options.weights.push_back(*weight);
    }
  }
  if (!target.ema.empty()) {
    if (target.weights != "uniform") throw usage_error("--ema and --weights contradict each other");
    const auto decay = parse_double(target.ema);
    if (!decay) throw usage_error(cat("--ema is \"", target.ema, "\", not a number"));
    options.weighting = Weighting::kEma;
    options.decay = *decay;
  }
  return options;
}

std::vector<double> shares(const Average& average) {
  const double sum = std::accumulate(average.weights.begin(), average.weights.end(), 0.0);
  std::vector<double> result = average.weights;
  for (double& weight : result) weight /= sum;
  return result;
}

Node summary(const Average& average, const merge::Plan& plan) {
  Node object = Node::map();
  object.set("schema", Node::integer(1));
  Node snapshots = Node::list();
  const auto weights = shares(average);
  for (std::size_t i = 0; i < average.snapshots.size(); ++i) {
    const merge::Snapshot& snapshot = average.snapshots[i];
    snapshots.push(Node::map({{"path", Node::text(snapshot.path)},
                              {"run", Node::integer(snapshot.run)},
                              {"step", Node::integer(snapshot.step)},
                              {"weight", Node::number(weights[i])}}));
  }
  object.set("snapshots", std::move(snapshots));
  Node warnings = Node::list();
  for (const auto& lines : {average.warnings, plan.warnings})
    for (const std::string& line : lines) warnings.push(Node::text(line));
  object.set("warnings", std::move(warnings));
  return object;
}

int dry_run(const Average& average, const merge::Plan& plan, Context& context) {
  if (context.json) {
    context.out << to_json(summary(average, plan)) << "\n";
    return 0;
  }
  Table table{{"snapshot", "step", "weight"}, {}};
  const auto weights = shares(average);
  for (std::size_t i = 0; i < average.snapshots.size(); ++i)
    table.rows.push_back(
        {average.snapshots[i].label, std::to_string(average.snapshots[i].step), number_text(weights[i])});
  context.out << table_text(table);
  return 0;
}

int run(const Target& target, Context& context) {
  if (target.out.empty() && !target.dry_run)
    throw usage_error("no --output is given", "", "add -o FOLDER or -o FILE.safetensors");
  if (target.threads < 1) throw usage_error(cat("--threads is ", target.threads, ", less than 1"));
  Average average;
  {
    Pool pool(target.threads);
    average = merge::plan_average(resolved(target), pool);
  }
  merge::Plan plan =
      merge::make_plan(average.config, {.shard_bytes = target.shard_bytes,
                                        .single_file = !target.out.empty() && checkpoint::is_single_file(target.out)});
  for (const auto& lines : {average.warnings, plan.warnings})
    for (const std::string& line : lines) context.progress.warn(line);
  if (target.dry_run) return dry_run(average, plan, context);
  const merge::ExecuteReport report = merge::execute(plan,
                                                     {.out = target.out,
                                                      .threads = target.threads,
                                                      .memory = target.memory,
                                                      .force = target.force,
                                                      .restart = target.restart},
                                                     context.progress);
  const std::size_t count = average.snapshots.size(), runs = target.average.runs.size();
  if (context.json) {
    Node object = summary(average, plan);
    object.set("output", Node::text(target.out));
    object.set("written_bytes", Node::integer(static_cast<std::int64_t>(report.bytes_written)));
    object.set("seconds", Node::number(report.seconds));
    context.out << to_json(object) << "\n";
    return 0;
  }
  context.out << target.out << ": mean of " << count << (count == 1 ? " snapshot" : " snapshots") << " of " << runs
              << (runs == 1 ? " run" : " runs") << ", steps " << average.snapshots.front().step << " to "
              << average.snapshots.back().step << "; " << report.tensors
              << (report.tensors == 1 ? " tensor, " : " tensors, ") << bytes_text(report.bytes_written) << " in "
              << duration_text(report.seconds) << "\n";
  return 0;
}

}  // namespace

Verb average_verb() {
  Verb verb;
  verb.name = "average";
  verb.summary = "average the snapshots of one training run, or of several";
  verb.examples = {"solera average run/checkpoints -o average",
                   "solera average seed-1 seed-2 seed-3 --last 5 -o average.safetensors"};
  verb.has_json = true;
  verb.prepare = [](OptionList& options) -> std::function<int(Context&)> {
    auto target = std::make_shared<Target>();
    declare(options, *target);
    return [target](Context& context) { return run(*target, context); };
  };
  return verb;
}

}  // namespace solera::cli
