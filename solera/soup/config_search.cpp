#include "solera/soup/config_search.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"
#include "solera/merge/execute.h"
#include "solera/merge/plan.h"
#include "solera/soup/report.h"
#include "solera/soup/trial_log.h"

namespace solera::soup {
namespace {

void require_options(const ConfigSearchOptions& options) {
  if (options.evaluator.empty()) throw usage_error("a search needs scores", "", "add --eval 'COMMAND {checkpoint}'");
  if (options.budget < 1) throw usage_error(cat("--budget is ", options.budget, ", less than 1"));
  if (options.jobs < 1) throw usage_error(cat("--jobs is ", options.jobs, ", less than 1"));
  require_evaluator(options.evaluator);
  if (!options.plot.empty() && !is_folder(parent_folder(options.plot))) throw missing_file(parent_folder(options.plot));
}

class Job {
 public:
  Job(const ConfigSearchOptions& options, Progress& progress)
      : options_(options),
        progress_(progress),
        start_(std::chrono::steady_clock::now()),
        varied_(options.config, options.variations) {}

  ConfigSearchReport run() {
    ConfigSearchReport report;
    report.config = options_.config;
    report.method = varied_.config().method;
    report.out = options_.out;
    report.best_config = default_best_config(options_.out);
    report.minimize = options_.minimize;
    report.coordinates.assign(varied_.coordinates().begin(), varied_.coordinates().end());
    report.cache = options_.cache.empty() ? default_cache(options_.out) : options_.cache;
    report.log = options_.log.empty() ? default_log(options_.out) : options_.log;

    // What a candidate is refused for must not cost an evaluation.
    const merge::Plan plan = plan_of(varied_.start());
    for (const std::string& line : plan.warnings) progress_.warn(line);
    for (const checkpoint::Checkpoint* input : plan.inputs()) report.paths.push_back(input->path());
    require_outputs(report);
    require_share(options_.evaluator, options_.jobs, merge::least_memory(plan, share().threads), "a candidate");

    Cache cache(report.cache);
    report.hashes = hashes_of(plan, cache);
    search(report, cache);
    write(report);
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    if (!options_.plot.empty()) write_atomically(options_.plot, score_plot(report));
    return report;
  }

 private:
  merge::Plan plan_of(std::span<const double> values) const {
    return merge::make_plan(varied_.with(values), {.single_file = checkpoint::is_single_file(options_.out)});
  }
  EvaluatorOptions share() const { return share_of(options_.evaluator, options_.jobs); }

  void require_outputs(const ConfigSearchReport& report) const {
    std::vector<std::string> inputs = report.paths;
    inputs.push_back(options_.config);
    checkpoint::require_not_gguf(options_.out);
    checkpoint::require_writable(options_.out, options_.force, inputs);
    if (exists(report.best_config) && same_file(report.best_config, options_.config))
      throw usage_error(cat(report.best_config, " is an input, and would be replaced"), "", "choose another --output");
  }

  static std::vector<std::string> hashes_of(const merge::Plan& plan, Cache& cache) {
    std::vector<std::string> hashes;
    for (const auto& model : plan.models) hashes.push_back(hash_of_model(*model, cache));
    for (const auto& statistics : plan.statistics) hashes.push_back(hash_of_model(statistics->file(), cache));
    return hashes;
  }

  std::string key_of(const ConfigSearchReport& report, const Scorer& scorer, std::span<const double> values) const {
    Hasher hasher;
    hasher.add("configuration").add(scorer.context_hash()).add(to_json(varied_.document(values)));
    for (const std::string& hash : report.hashes) hasher.add(hash);
    return hasher.hex();
  }

  std::string name_of(std::span<const double> values) const {
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < values.size(); ++i)
      texts.push_back(cat(varied_.coordinates()[i].label(), " ", number_text(values[i])));
    return cat(varied_.config().method, " with ", join(texts, ", "));
  }

  void search(ConfigSearchReport& report, Cache& cache) {
    const EvaluatorOptions evaluator = share();
    Scorer scorer(cache, evaluator, !checkpoint::is_single_file(options_.out), progress_);
    TrialLog log(report.log);
    progress_.begin("search", static_cast<std::uint64_t>(options_.budget), "trials");
    std::optional<double> best;
    int number = 0;
    const auto evaluate = [&](const Blend& blend) {
      const Mix& values = blend.rows.front();
      return scorer.made(key_of(report, scorer, values), name_of(values), [&](const std::string& path) {
        merge::Plan plan = plan_of(values);
        merge::execute(plan,
                       {.out = path, .threads = evaluator.threads, .memory = evaluator.memory, .model_card = false},
                       no_progress());
      });
    };
    const auto tell = [&](const BlendTrial& trial) {
      log.add(config_trial_json(trial, ++number, report));
      if (trial.better) best = trial.evaluation.score;
      progress_.note(cat(trial.generation == 0 ? "the configuration as it is"
                                               : cat("generation ", trial.generation, ", candidate ", trial.candidate),
                         ": ", number_text(trial.evaluation.score),
                         trial.better && trial.generation > 0 ? ", better" : "",
                         trial.evaluation.cached ? " (cached)" : ""));
      progress_.status(cat("best ", number_text(*best)));
      progress_.advance(1);
    };
    Box box;
    for (const Coordinate& one : report.coordinates) {
      box.start.push_back(one.start);
      box.low.push_back(one.low);
      box.high.push_back(one.high);
    }
    report.result = search_box(
        box, {.budget = options_.budget, .minimize = options_.minimize, .seed = options_.seed, .jobs = options_.jobs},
        evaluate, tell);
    progress_.end();
    report.evaluations = scorer.ran();
    report.cached = scorer.cached();
    if (report.result.best == 0)
      progress_.warn("no candidate beat the configuration as it is: the result is its merge");
  }

  void write(const ConfigSearchReport& report) const {
    merge::Plan plan = plan_of(report.values());
    merge::execute(plan,
                   {.out = options_.out,
                    .threads = options_.evaluator.threads,
                    .memory = options_.evaluator.memory,
                    .force = options_.force,
                    .restart = true,
                    .model_card = options_.model_card},
                   progress_);
    write_atomically(report.best_config, plan.config.text);
  }

  const ConfigSearchOptions& options_;
  Progress& progress_;
  std::chrono::steady_clock::time_point start_;
  VariedConfig varied_;
};

}  // namespace

std::string default_best_config(const std::string& out) { return output_stem(out) + ".best.yaml"; }

ConfigSearchReport search_config(const ConfigSearchOptions& options, Progress& progress) {
  require_options(options);
  return Job(options, progress).run();
}

}  // namespace solera::soup
