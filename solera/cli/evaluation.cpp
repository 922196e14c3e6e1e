#include "solera/cli/evaluation.h"

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::cli {

bool EvaluationTarget::any() const {
  return !evaluator.empty() || !evaluator.metric.empty() || evaluator.timeout_seconds != 0 || !evaluator.data.empty() ||
         evaluator.echo || !cache.empty() || minimize || maximize;
}

void declare_evaluation(OptionList& options, EvaluationTarget& target, const std::string& group) {
  options
      .value("--eval", "-e", "COMMAND",
             "a shell line that scores {checkpoint}: the last line it prints is a number or a JSON object",
             target.evaluator.shell)
      .in(group);
  options.takes_rest("COMMAND", "the same as a program and its arguments, without a shell");
  options
      .value("--metric", "-m", "NAME", "the score's key in the JSON object, or a JSON pointer to it",
             target.evaluator.metric)
      .in(group);
  options.flag("--minimize", "", "lower scores are better", target.minimize).in(group);
  options
      .flag("--maximize", "", "higher scores are better, the default: for metrics that sound like a loss",
            target.maximize)
      .in(group);
  options
      .value("--timeout", "", "SECONDS", "stop an evaluation that takes longer (default: never)",
             target.evaluator.timeout_seconds)
      .in(group);
  options
      .value("--data", "", "PATH",
             "a file or folder that the score depends on: its content is in the cache key; repeatable",
             target.evaluator.data)
      .in(group);
  options.value("--cache", "", "FOLDER", "where scores are kept (default: .solera-cache beside OUT)", target.cache)
      .in(group);
  options.flag("--echo", "", "show what the evaluations print", target.evaluator.echo).in(group);
}

soup::EvaluatorOptions resolved_evaluation(const EvaluationTarget& target, const std::vector<std::string>& command) {
  soup::EvaluatorOptions evaluator = target.evaluator;
  if (!command.empty() && !evaluator.shell.empty()) throw usage_error("both --eval and a command behind -- are given");
  evaluator.argv = command;
  if (target.minimize && target.maximize) throw usage_error("--minimize and --maximize contradict each other");
  if (target.minimize || target.maximize) return evaluator;
  if (const auto word = soup::loss_word(evaluator.metric))
    throw usage_error(cat("the metric ", evaluator.metric, " sounds like one to minimize"), "",
                      "add --minimize, or --maximize if higher is better");
  return evaluator;
}

}  // namespace solera::cli
