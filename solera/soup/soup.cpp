#include "solera/soup/soup.h"

#include <algorithm>
#include <chrono>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/merge/average.h"
#include "solera/merge/plan.h"
#include "solera/soup/report.h"
#include "solera/soup/trial_log.h"

namespace solera::soup {
namespace {

void require_options(const SoupOptions& options) {
  const bool command = !options.evaluator.empty();
  if (!command && options.recipe == Recipe::kGreedy)
    throw usage_error("a greedy soup needs scores", "", "add --eval 'COMMAND {checkpoint}', or take --method uniform");
  if (!command && searches_coefficients(options.recipe))
    throw usage_error("a search needs scores", "", "add --eval 'COMMAND {checkpoint}'");
  if (options.recipe == Recipe::kLine && options.checkpoints.size() != 2)
    throw usage_error(cat("--search line goes from one model to another, but ", options.checkpoints.size(),
                          options.checkpoints.size() == 1 ? " is given" : " are given"));
  if (options.recipe == Recipe::kCmaes && options.coefficients.domain == Domain::kBox && options.base.empty())
    throw usage_error("--domain box counts from a base", "", "add --base MODEL, or take --domain simplex");
  if (!options.fishers.empty()) {
    if (!searches_coefficients(options.recipe) || options.coefficients.domain == Domain::kBox ||
        options.coefficients.from_greedy)
      throw usage_error("--fisher goes with --search line, random, and cmaes on the simplex from the uniform soup on",
                        "", "to merge with given weights, take `solera merge` with merge_method: fisher");
    if (options.fishers.size() != options.checkpoints.size())
      throw usage_error(cat(options.fishers.size(), options.fishers.size() == 1 ? " --fisher is" : " --fisher are",
                            " given for ", options.checkpoints.size(), " models"),
                        "", "give one for each, in their order");
  }
  if ((options.recipe == Recipe::kCmaes || options.recipe == Recipe::kRandom) && options.coefficients.budget < 1)
    throw usage_error(cat("--budget is ", options.coefficients.budget, ", less than 1"));
  if (options.recipe == Recipe::kLine && options.coefficients.alphas < 2)
    throw usage_error(cat("--alphas is ", options.coefficients.alphas, ", less than 2"));
  if (options.search.jobs < 1) throw usage_error(cat("--jobs is ", options.search.jobs, ", less than 1"));
  require_evaluator(options.evaluator);
  if (options.plot.empty()) return;
  if (!command) throw usage_error("there is nothing to plot without scores", "", "add --eval 'COMMAND {checkpoint}'");
  if (!is_folder(parent_folder(options.plot))) throw missing_file(parent_folder(options.plot));
}

class Job {
 public:
  Job(const SoupOptions& options, Progress& progress)
      : options_(options), progress_(progress), start_(std::chrono::steady_clock::now()) {}

  SoupReport run() {
    require_options(options_);
    std::vector<std::string> inputs = options_.checkpoints;
    if (!options_.base.empty()) inputs.push_back(options_.base);
    const std::size_t models = inputs.size();
    inputs.insert(inputs.end(), options_.fishers.begin(), options_.fishers.end());
    checkpoint::require_not_gguf(options_.out);
    checkpoint::require_writable(options_.out, options_.force, inputs);
    inputs.resize(models);
    ingredients_ = open_ingredients(options_.checkpoints);
    Pool pool(options_.evaluator.threads);
    if (const std::string line = ancestry_warning(ingredients_, options_.base, pool); !line.empty())
      progress_.warn(line);

    SoupReport report;
    if (boxed()) ingredients_ = open_ingredients(inputs);  // the base last
    ingredients_.fishers = options_.fishers;
    report.groups = groups_of(mergeable_tensors());
    report.out = options_.out;
    report.recipe = options_.recipe;
    report.minimize = options_.search.minimize;
    report.plan = options_.coefficients;
    report.paths = ingredients_.paths;
    report.labels = ingredients_.labels;
    report.fishers = options_.fishers;
    if (options_.evaluator.empty()) {
      report.search.mix = uniform_mix(ingredients_.count());
      for (int i = 0; i < ingredients_.count(); ++i) report.search.members.push_back(i);
    } else {
      search(report);
    }
    report.blend = searches_coefficients(options_.recipe) ? report.coefficients.best_trial().blend.simplest()
                                                          : Blend{{report.search.mix}};
    write_blend(ingredients_, report.groups, report.blend,
                {.out = options_.out,
                 .threads = options_.evaluator.threads,
                 .memory = options_.evaluator.memory,
                 .force = options_.force,
                 .restart = true,
                 .model_card = options_.model_card},
                progress_);
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    if (!options_.plot.empty()) write_atomically(options_.plot, score_plot(report));
    return report;
  }

 private:
  bool boxed() const { return options_.recipe == Recipe::kCmaes && options_.coefficients.domain == Domain::kBox; }

  // The largest candidate is planned before anything is scored: what it is refused for must not cost an evaluation.
  // Gives the names of the tensors that are averaged.
  std::vector<std::string> mergeable_tensors() const {
    const merge::Plan plan =
        merge::make_plan(blend_config(ingredients_, std::vector<Node>(ingredients_.paths.size(), Node::number(1))), {});
    const EvaluatorOptions& all = options_.evaluator;
    const int jobs = options_.search.jobs;
    require_share(all, jobs, merge::least_memory(plan, share_of(all, jobs).threads), "a candidate of all models");
    std::vector<std::string> names;
    for (const merge::TensorPlan& tensor : plan.tensors)
      if (tensor.action == merge::TensorPlan::Action::kMerge) names.push_back(tensor.out.name);
    return names;
  }

  Groups groups_of(std::span<const std::string> tensors) const {
    const CoefficientPlan& plan = options_.coefficients;
    if (options_.recipe != Recipe::kCmaes || plan.granularity == Granularity::kModel) return whole_model(tensors);
    if (plan.granularity == Granularity::kTensor) return each_tensor(tensors);
    return plan.patterns.empty() ? even_layers(tensors, plan.groups) : by_patterns(tensors, plan.patterns);
  }

  void search(SoupReport& report) {
    report.scored = true;
    report.cache = options_.cache.empty() ? default_cache(options_.out) : options_.cache;
    report.log = options_.log.empty() ? default_log(options_.out) : options_.log;
    Cache cache(report.cache);
    Evaluator evaluator(ingredients_, cache, share_of(options_.evaluator, options_.search.jobs), progress_,
                        report.groups);
    TrialLog log(report.log);
    progress_.begin("soup", trials_to_expect(), "trials");
    int number = 0;
    std::optional<double> best;
    const auto tell = [&](const Evaluation& evaluation, bool counts, const std::string& line, const Node& object) {
      log.add(object);
      const double score = evaluation.score;
      if (counts && (!best || (options_.search.minimize ? score < *best : score > *best))) best = score;
      progress_.note(line);
      progress_.status(cat("best ", number_text(*best)));
      progress_.advance(1);
    };
    const OnTrial on_trial = [&](const Trial& trial) {
      tell(trial.evaluation, trial.verdict != Verdict::kRejected, trial_line(trial, report),
           trial_json(trial, ++number, report));
    };
    const OnBlendTrial on_blend = [&](const BlendTrial& trial) {
      tell(trial.evaluation, true, blend_trial_line(trial, report), blend_trial_json(trial, ++number, report));
    };
    choose(report, evaluator, on_trial);
    search_blend(report, evaluator, on_blend);
    progress_.end();
    report.hashes = evaluator.hashes();
    report.evaluations = evaluator.ran();
    report.cached = evaluator.cached();
    advise(report);
  }

  std::uint64_t trials_to_expect() const {
    const auto k = static_cast<std::uint64_t>(options_.checkpoints.size());
    const bool by_score = options_.search.order == Order::kScore || options_.search.order == Order::kOfficial;
    const std::uint64_t greedy = by_score ? 2 * k - 1 : k;
    const CoefficientPlan& plan = options_.coefficients;
    switch (options_.recipe) {
      case Recipe::kGreedy:
        return greedy;
      case Recipe::kUniform:
        return k + 1;
      case Recipe::kCmaes:
        return static_cast<std::uint64_t>(plan.budget) + (plan.from_greedy ? greedy : 0);
      case Recipe::kLine:
        return static_cast<std::uint64_t>(plan.alphas);
      case Recipe::kRandom:
        return static_cast<std::uint64_t>(plan.budget);
    }
    throw internal_error("an unknown recipe");
  }

  // Greedy and uniform soups, also as the start of a search; the base of a box is then no ingredient.
  void choose(SoupReport& report, Evaluator& evaluator, const OnTrial& on_trial) {
    if (searches_coefficients(options_.recipe) && !options_.coefficients.from_greedy) return;
    const int count = static_cast<int>(options_.checkpoints.size());
    const auto evaluate = [&](Mix mix) {
      mix.resize(static_cast<std::size_t>(ingredients_.count()), 0.0);
      return evaluator(mix);
    };
    report.search = options_.recipe == Recipe::kUniform ? uniform_soup(count, options_.search, evaluate, on_trial)
                                                        : greedy_soup(count, options_.search, evaluate, on_trial);
  }

  void search_blend(SoupReport& report, Evaluator& evaluator, const OnBlendTrial& on_trial) {
    if (!searches_coefficients(options_.recipe)) return;
    const CoefficientPlan& plan = options_.coefficients;
    const CoefficientOptions options{.domain = plan.domain,
                                     .budget = plan.budget,
                                     .minimize = options_.search.minimize,
                                     .seed = options_.search.seed,
                                     .jobs = options_.search.jobs};
    const auto evaluate = [&](const Blend& blend) { return evaluator(blend); };
    if (options_.recipe == Recipe::kLine) {
      report.coefficients = search_line(plan.alphas, options, evaluate, on_trial);
      return;
    }
    if (options_.recipe == Recipe::kRandom) {
      report.coefficients = search_random(ingredients_.count(), options, evaluate, on_trial);
      return;
    }
    Mix start = plan.from_greedy ? report.search.mix : uniform_mix(static_cast<int>(options_.checkpoints.size()));
    start.resize(static_cast<std::size_t>(ingredients_.count()), 0.0);
    const Blend blend{std::vector<Mix>(static_cast<std::size_t>(report.groups.count()), start)};
    report.coefficients = search_coefficients(blend, options, evaluate, on_trial);
  }

  void advise(const SoupReport& report) {
    if (options_.recipe == Recipe::kCmaes && report.coefficients.best == 0)
      progress_.warn(cat("no candidate beat the ", report.plan.from_greedy ? "greedy" : "uniform",
                         " soup, where the search started: the result is that soup"));
    if (searches_coefficients(options_.recipe)) return;
    const SearchResult& result = report.search;
    const double single = result.best_single->evaluation.score;
    if (options_.recipe == Recipe::kUniform && (report.minimize ? result.score > single : result.score < single))
      progress_.warn(cat("the uniform soup scores ", number_text(result.score), ", worse than ",
                         report.labels[static_cast<std::size_t>(result.best_single->ingredient)], " alone (",
                         number_text(single), "); --method greedy leaves out what does harm"));
    if (options_.recipe == Recipe::kGreedy && result.members.size() == 1)
      progress_.warn(
          cat("no mean beat ", report.labels[static_cast<std::size_t>(result.members.front())],
              " alone: the result is a copy of it; the ingredients may be too few, too uneven or too far apart"));
  }

  const SoupOptions& options_;
  Progress& progress_;
  std::chrono::steady_clock::time_point start_;
  Ingredients ingredients_;
};

}  // namespace

std::string output_stem(const std::string& out) {
  std::string stem = out;
  while (stem.size() > 1 && stem.back() == '/') stem.pop_back();
  if (checkpoint::is_single_file(stem)) stem.resize(stem.rfind('.'));
  return stem;
}

std::string default_log(const std::string& out) { return output_stem(out) + ".trials.jsonl"; }

std::string default_cache(const std::string& out) {
  return join_path(parent_folder(output_stem(out)), ".solera-cache");
}

SoupReport make_soup(const SoupOptions& options, Progress& progress) { return Job(options, progress).run(); }

}  // namespace solera::soup
