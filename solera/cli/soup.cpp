// `solera soup`: one model from a sweep's checkpoints, chosen by any evaluator.
#include "solera/soup/soup.h"

#include <memory>
#include <ostream>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/cli/verbs.h"

namespace solera::cli {
namespace {

using soup::SoupOptions;
using soup::SoupReport;

struct Target {
  SoupOptions soup;
  std::string method = "greedy", accept = "ge", order = "score";
  std::int64_t seed = 0;
  bool minimize = false, maximize = false;
  int threads = hardware_threads();
};

void declare(OptionList& options, Target& target) {
  SoupOptions& soup = target.soup;
  options.positional("CHECKPOINT", "the ingredients: fine-tunes of one model, folders or files", soup.checkpoints);
  options.value("--eval", "-e", "COMMAND",
                "a shell line that scores {checkpoint}: the last line it prints is a number or a JSON object",
                soup.evaluator.shell);
  options.takes_rest("COMMAND", "the same as a program and its arguments, without a shell");
  options.value("--output", "-o", "OUT", "where the soup goes: a folder or *.safetensors", soup.out).must();
  options.choice("--method", "", "greedy adds what does not lower the score; uniform takes all", {"greedy", "uniform"},
                 target.method);
  options.value("--metric", "-m", "NAME", "the score's key in the JSON object, or a JSON pointer to it",
                soup.evaluator.metric);
  options.flag("--minimize", "", "lower scores are better", target.minimize);
  options.flag("--maximize", "", "higher scores are better, the default: for metrics that sound like a loss",
               target.maximize);
  options.choice("--accept", "", "add an ingredient if the score is at least as good, or only if it is better",
                 {"ge", "gt"}, target.accept);
  options.choice("--order", "", "visit best first (ties as given; official: ties reversed), shuffled, or as given",
                 {"score", "official", "random", "given"}, target.order);
  options.value("--seed", "", "N", "of the random order", target.seed);
  options.value("--jobs", "-j", "N", "evaluations at once; the result does not depend on it", soup.search.jobs);
  options.value("--timeout", "", "SECONDS", "stop an evaluation that takes longer (default: never)",
                soup.evaluator.timeout_seconds);
  options.value("--data", "", "PATH",
                "a file or folder that the score depends on: its content is in the cache key; repeatable",
                soup.evaluator.data);
  options.value("--cache", "", "FOLDER", "where scores are kept (default: .solera-cache beside OUT)", soup.cache);
  options.value("--log", "", "FILE", "a JSON object a trial (default: OUT.trials.jsonl)", soup.log);
  options.value("--plot", "", "FILE.svg", "a picture of the scores", soup.plot);
  options.value("--base", "", "MODEL", "what the ingredients were tuned from, for the check of a common ancestor",
                soup.base);
  options.flag("--echo", "", "show what the evaluations print", soup.evaluator.echo);
  options.value("--threads", "", "N", "worker threads to write models", target.threads);
  options.bytes("--memory", "", "memory to stay below, mapped files and evaluations not counted",
                soup.evaluator.memory);
  options.flag("--force", "", "replace an existing output", soup.force);
}

void require_direction(const Target& target) {
  if (target.minimize && target.maximize) throw usage_error("--minimize and --maximize contradict each other");
  if (target.minimize || target.maximize) return;
  if (const auto word = soup::loss_word(target.soup.evaluator.metric))
    throw usage_error(cat("the metric ", target.soup.evaluator.metric, " sounds like one to minimize"), "",
                      "add --minimize, or --maximize if higher is better");
}

SoupOptions resolved(const Target& target, const std::vector<std::string>& command) {
  SoupOptions soup = target.soup;
  if (!command.empty() && !soup.evaluator.shell.empty())
    throw usage_error("both --eval and a command behind -- are given");
  soup.evaluator.argv = command;
  soup.evaluator.threads = target.threads;
  soup.recipe = target.method == "uniform" ? soup::Recipe::kUniform : soup::Recipe::kGreedy;
  soup.search.accept = target.accept == "gt" ? soup::Accept::kGt : soup::Accept::kGe;
  soup.search.order = target.order == "official" ? soup::Order::kOfficial
                      : target.order == "random" ? soup::Order::kRandom
                      : target.order == "given"  ? soup::Order::kGiven
                                                 : soup::Order::kScore;
  soup.search.seed = static_cast<std::uint64_t>(target.seed);
  soup.search.minimize = target.minimize;
  require_direction(target);
  return soup;
}

int run(const Target& target, const std::vector<std::string>& command, Context& context) {
  const SoupReport report = soup::make_soup(resolved(target, command), context.progress);
  if (context.json) {
    context.out << to_json(soup::report_json(report)) << "\n";
    return 0;
  }
  if (report.scored) context.out << table_text(soup::trial_table(report));
  context.out << soup::summary_line(report) << "\n";
  return 0;
}

}  // namespace

Verb soup_verb() {
  Verb verb;
  verb.name = "soup";
  verb.summary = "average the checkpoints of a sweep that improve the score of any evaluation command";
  verb.examples = {"solera soup runs/*.safetensors --eval './eval.sh {checkpoint}' -o soup.safetensors",
                   "solera soup run-a run-b run-c -o soup --metric acc -- python eval.py {checkpoint}"};
  verb.has_json = true;
  verb.prepare = [](OptionList& options) -> std::function<int(Context&)> {
    auto target = std::make_shared<Target>();
    declare(options, *target);
    return [target, &options](Context& context) { return run(*target, options.rest(), context); };
  };
  return verb;
}

}  // namespace solera::cli
