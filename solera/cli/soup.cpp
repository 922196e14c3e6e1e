// `solera soup`: one model from a sweep's checkpoints, chosen by any evaluator.
#include "solera/soup/soup.h"

#include <limits>
#include <memory>
#include <ostream>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/cli/evaluation.h"
#include "solera/cli/verbs.h"
#include "solera/soup/config_search.h"

namespace solera::cli {
namespace {

using soup::SoupOptions;
using soup::SoupReport;

constexpr const char* kSearch = "Search of weights";
constexpr int kUnset = std::numeric_limits<int>::min();

struct Target {
  SoupOptions soup;
  EvaluationTarget evaluation;
  std::string method, accept = "ge", order = "score";
  std::string search, start, coefficients, domain;
  int budget = kUnset, groups = kUnset, alphas = kUnset;
  std::vector<std::string> patterns, vary;
  std::string config;
  std::int64_t seed = 0;
  int threads = hardware_threads();
  bool no_card = false;
};

void declare_search(OptionList& options, Target& target) {
  options
      .choice(
          "--search", "",
          "instead of a method, search the weights: by CMA-ES, on the line between two models (WiSE-FT), or by draws",
          {"cmaes", "line", "random"}, target.search)
      .in(kSearch);
  options
      .value("--fisher", "", "FILE",
             "statistics of a model, one for each in their order: mixes are Fisher merges, the first model the target",
             target.soup.fishers)
      .in(kSearch);
  options
      .value("--budget", "", "N", "trials of cmaes, its start included (default: 100), or draws of random (51)",
             target.budget)
      .in(kSearch);
  options
      .choice("--coefficients", "",
              "weights for the whole of each model (the default), for groups of its layers, or for each tensor",
              {"model", "group", "tensor"}, target.coefficients)
      .in(kSearch);
  options.value("--groups", "", "N", "cut the layers into N groups of equal length (default: 4)", target.groups)
      .in(kSearch);
  options
      .value("--group", "", "PATTERN", "a group of the tensors that match and are in none before; repeatable",
             target.patterns)
      .in(kSearch);
  options
      .choice("--domain", "",
              "weights >= 0 that sum to 1 (simplex, the default), or changes from --base times 0 to 1 each (box)",
              {"simplex", "box"}, target.domain)
      .in(kSearch);
  options
      .choice("--start", "", "the soup where cmaes starts: uniform (the default), or greedy, made first",
              {"uniform", "greedy"}, target.start)
      .in(kSearch);
  options
      .value("--config", "", "FILE.yaml",
             "in place of CHECKPOINTs: a merge configuration whose models' weights cmaes searches, by any merge method",
             target.config)
      .in(kSearch);
  options
      .value("--vary", "", "NAME=LOW..HIGH",
             "with --config: a parameter to search, of each model or of the merge; repeatable (default: weight=0..2)",
             target.vary)
      .in(kSearch);
  options
      .value("--alphas", "", "N", "points on the line, both ends included (default: 11, with --fisher 51)",
             target.alphas)
      .in(kSearch);
}

void declare(OptionList& options, Target& target) {
  SoupOptions& soup = target.soup;
  options.positional("CHECKPOINT", "the ingredients: fine-tunes of one model, folders, files or URLs", soup.checkpoints)
      .optional();
  declare_evaluation(options, target.evaluation);
  options.value("--output", "-o", "OUT", "where the soup goes: a folder or *.safetensors", soup.out).must();
  options.choice("--method", "", "greedy adds what does not lower the score (the default); uniform takes all",
                 {"greedy", "uniform"}, target.method);
  options.choice("--accept", "", "add an ingredient if the score is at least as good, or only if it is better",
                 {"ge", "gt"}, target.accept);
  options.choice("--order", "", "visit best first (ties as given; official: ties reversed), shuffled, or as given",
                 {"score", "official", "random", "given"}, target.order);
  options.value("--seed", "", "N", "of the random order and of cmaes", target.seed);
  options.value("--jobs", "-j", "N", "evaluations at once; the result does not depend on it", soup.search.jobs);
  options.value("--log", "", "FILE", "a JSON object a trial (default: OUT.trials.jsonl)", soup.log);
  options.value("--plot", "", "FILE.svg", "a picture of the scores", soup.plot);
  options.value("--base", "", "MODEL",
                "what the ingredients were tuned from, for the check of a common ancestor and for --domain box",
                soup.base);
  options.value("--threads", "", "N", "worker threads to write models", target.threads);
  options.bytes("--memory", "", "memory to stay below, mapped files and evaluations not counted",
                target.evaluation.evaluator.memory);
  options.flag("--no-model-card", "", "write no README.md and mergekit_config.yml into an output folder",
               target.no_card);
  options.flag("--force", "", "replace an existing output", soup.force);
  declare_search(options, target);
}

// Options that would be ignored are most likely a slip.
void require_companions(const Target& target) {
  if (!target.search.empty() && !target.method.empty())
    throw usage_error("--method and --search both say how to choose the weights", "",
                      "to search from the greedy soup on, take --search cmaes --start greedy");
  const std::pair<const char*, bool> of_cmaes[] = {{"--coefficients", !target.coefficients.empty()},
                                                   {"--groups", target.groups != kUnset},
                                                   {"--group", !target.patterns.empty()},
                                                   {"--domain", !target.domain.empty()},
                                                   {"--start", !target.start.empty()}};
  for (const auto& [name, given] : of_cmaes)
    if (given && target.search != "cmaes") throw usage_error(cat(name, " belongs to --search cmaes"));
  if (target.budget != kUnset && target.search != "cmaes" && target.search != "random")
    throw usage_error("--budget belongs to --search cmaes or random");
  if (target.alphas != kUnset && target.search != "line") throw usage_error("--alphas belongs to --search line");
  if (target.groups != kUnset && !target.patterns.empty())
    throw usage_error("--groups and --group contradict each other");
  if ((target.groups != kUnset || !target.patterns.empty()) && !target.coefficients.empty() &&
      target.coefficients != "group")
    throw usage_error(
        cat(target.patterns.empty() ? "--groups" : "--group", " contradicts --coefficients ", target.coefficients));
}

soup::CoefficientPlan coefficients_of(const Target& target) {
  soup::CoefficientPlan plan;
  const bool grouped = target.groups != kUnset || !target.patterns.empty() || target.coefficients == "group";
  plan.granularity = target.coefficients == "tensor" ? soup::Granularity::kTensor
                     : grouped                       ? soup::Granularity::kGroup
                                                     : soup::Granularity::kModel;
  if (target.groups != kUnset) plan.groups = target.groups;
  for (const std::string& pattern : target.patterns) plan.patterns.emplace_back(pattern);
  plan.domain = target.domain == "box" ? soup::Domain::kBox : soup::Domain::kSimplex;
  plan.from_greedy = target.start == "greedy";
  // 51 is the size of the grid and of the draws in the code of Fisher merging's authors.
  plan.budget = target.budget != kUnset ? target.budget : target.search == "random" ? 51 : plan.budget;
  plan.alphas = target.alphas != kUnset ? target.alphas : !target.soup.fishers.empty() ? 51 : plan.alphas;
  return plan;
}

SoupOptions resolved(const Target& target, const std::vector<std::string>& command) {
  SoupOptions soup = target.soup;
  require_companions(target);
  soup.evaluator = resolved_evaluation(target.evaluation, command);
  soup.evaluator.threads = target.threads;
  soup.cache = target.evaluation.cache;
  soup.model_card = !target.no_card;
  soup.recipe = target.search == "cmaes"     ? soup::Recipe::kCmaes
                : target.search == "line"    ? soup::Recipe::kLine
                : target.search == "random"  ? soup::Recipe::kRandom
                : target.method == "uniform" ? soup::Recipe::kUniform
                                             : soup::Recipe::kGreedy;
  soup.coefficients = coefficients_of(target);
  soup.search.accept = target.accept == "gt" ? soup::Accept::kGt : soup::Accept::kGe;
  soup.search.order = target.order == "official" ? soup::Order::kOfficial
                      : target.order == "random" ? soup::Order::kRandom
                      : target.order == "given"  ? soup::Order::kGiven
                                                 : soup::Order::kScore;
  soup.search.seed = static_cast<std::uint64_t>(target.seed);
  soup.search.minimize = target.evaluation.minimize;
  return soup;
}

soup::ConfigSearchOptions resolved_config(const Target& target, const std::vector<std::string>& command) {
  const SoupOptions& soup = target.soup;
  if (!soup.checkpoints.empty())
    throw usage_error("--config and CHECKPOINTs are both given", "", "the configuration names the models");
  if (target.search != "cmaes") throw usage_error("--config belongs to --search cmaes");
  const std::pair<const char*, bool> of_soups[] = {{"--method", !target.method.empty()},
                                                   {"--coefficients", !target.coefficients.empty()},
                                                   {"--groups", target.groups != kUnset},
                                                   {"--group", !target.patterns.empty()},
                                                   {"--domain simplex", target.domain == "simplex"},
                                                   {"--start", !target.start.empty()},
                                                   {"--alphas", target.alphas != kUnset},
                                                   {"--base", !soup.base.empty()},
                                                   {"--fisher", !soup.fishers.empty()}};
  for (const auto& [name, given] : of_soups)
    if (given) throw usage_error(cat(name, " is for soups of CHECKPOINTs, not for --config"));
  soup::ConfigSearchOptions options{.config = target.config,
                                    .out = soup.out,
                                    .evaluator = resolved_evaluation(target.evaluation, command),
                                    .seed = static_cast<std::uint64_t>(target.seed),
                                    .jobs = soup.search.jobs,
                                    .minimize = target.evaluation.minimize,
                                    .cache = target.evaluation.cache,
                                    .log = soup.log,
                                    .plot = soup.plot,
                                    .force = soup.force,
                                    .model_card = !target.no_card};
  for (const std::string& text : target.vary) options.variations.push_back(soup::parse_variation(text));
  if (target.budget != kUnset) options.budget = target.budget;
  options.evaluator.threads = target.threads;
  return options;
}

int run_config(const Target& target, const std::vector<std::string>& command, Context& context) {
  const soup::ConfigSearchReport report = soup::search_config(resolved_config(target, command), context.progress);
  if (context.json) {
    context.out << to_json(soup::report_json(report)) << "\n";
    return 0;
  }
  context.out << table_text(soup::trial_table(report)) << table_text(soup::value_table(report))
              << soup::summary_line(report) << "\n";
  return 0;
}

int run(const Target& target, const std::vector<std::string>& command, Context& context) {
  if (!target.config.empty()) return run_config(target, command, context);
  if (!target.vary.empty()) throw usage_error("--vary belongs to --config");
  if (target.soup.checkpoints.empty())
    throw usage_error("missing argument CHECKPOINT", "", "or --config FILE.yaml with --search cmaes");
  const SoupReport report = soup::make_soup(resolved(target, command), context.progress);
  if (context.json) {
    context.out << to_json(soup::report_json(report)) << "\n";
    return 0;
  }
  if (report.scored) context.out << table_text(soup::trial_table(report));
  if (report.recipe == soup::Recipe::kCmaes || report.recipe == soup::Recipe::kRandom)
    context.out << table_text(soup::weight_table(report));
  context.out << soup::summary_line(report) << "\n";
  return 0;
}

}  // namespace

Verb soup_verb() {
  Verb verb;
  verb.name = "soup";
  verb.summary = "average the checkpoints of a sweep that improve the score of any evaluation command";
  verb.examples = {"solera soup runs/*.safetensors --eval './eval.sh {checkpoint}' -o soup.safetensors",
                   "solera soup run-a run-b run-c -o soup --metric acc -- python eval.py {checkpoint}",
                   "solera soup run-a run-b run-c -o soup --search cmaes --budget 60 --groups 4 --eval './eval.sh "
                   "{checkpoint}'",
                   "solera soup --config ties.yaml -o soup --search cmaes --vary weight=0..1.5 --eval './eval.sh "
                   "{checkpoint}'"};
  verb.has_json = true;
  verb.prepare = [](OptionList& options) -> std::function<int(Context&)> {
    auto target = std::make_shared<Target>();
    declare(options, *target);
    return [target, &options](Context& context) { return run(*target, options.rest(), context); };
  };
  return verb;
}

}  // namespace solera::cli
