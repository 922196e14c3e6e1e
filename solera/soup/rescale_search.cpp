#include "solera/soup/rescale_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"
#include "solera/soup/scoring.h"
#include "solera/soup/soup.h"
#include "solera/weights/combine.h"

namespace solera::soup {
namespace {

using checkpoint::Checkpoint;
using weights::Sparsity;

constexpr int kExpectedTrials = 30;

void require_options(const RescaleOptions& options) {
  if (options.evaluator.empty())
    throw usage_error("a search needs scores", "",
                      options.judge == Judge::kLabels
                          ? "add --eval 'COMMAND {checkpoint}', which prints a metric on labelled data; without labels "
                            "take --search change"
                          : "add --eval 'COMMAND {checkpoint}', which prints how far the outputs are from the tuned "
                            "model's");
  if (options.masks < 1) throw usage_error(cat("--masks is ", options.masks, ", less than 1"));
  if (!options.delta.sparsity.divides()) throw usage_error("only q and columns have a divisor to search");
  require_evaluator(options.evaluator);
}

class Job {
 public:
  Job(const Checkpoint& base, const Checkpoint& tuned, const RescaleOptions& options, Progress& progress)
      : base_(base),
        tuned_(tuned),
        options_(options),
        progress_(progress),
        pool_(options.evaluator.threads),
        cache_(options.cache.empty() ? default_cache(options.delta.out) : options.cache),
        scorer_(cache_, options.evaluator, base.is_folder(), progress) {}

  RescaleReport run() {
    measure_layers();
    const search::ScanOptions scan = grid();
    report_.lower_is_better = options_.judge == Judge::kChange || options_.minimize;
    report_.cache = cache_.folder();
    base_hash_ = hash_of_model(base_, cache_);
    tuned_hash_ = hash_of_model(tuned_, cache_);
    progress_.begin("search of q", kExpectedTrials, "trials");
    report_.base_score = of_model("the base", base_, base_hash_);
    report_.tuned_score = of_model("the tuned model", tuned_, tuned_hash_);
    report_.scan = search::scan(
        scan, [&](double value) { return sign() * score_of(value); },
        [&](const search::ScanTrial& trial) {
          progress_.note(cat(name(), " ", number_text(trial.value), ": ", number_text(sign() * trial.score),
                             trial.better ? ", better" : ""));
          if (trial.better) progress_.status(cat("best ", number_text(sign() * trial.score)));
          progress_.advance(1);
        });
    progress_.end();
    report_.value = report_.scan.best_trial().value;
    report_.score = sign() * report_.scan.best_trial().score;
    report_.sparsity = sparsity(report_.value, 0);
    weights::DeltaOptions delta = options_.delta;
    delta.sparsity = report_.sparsity;
    report_.delta = weights::make_delta(base_, tuned_, delta, pool_, progress_);
    report_.evaluations = scorer_.ran();
    report_.cached = scorer_.cached();
    advise();
    return std::move(report_);
  }

 private:
  bool per_layer() const { return !options_.statistics.empty(); }
  const char* name() const { return per_layer() ? "eta" : "q"; }
  double sign() const { return report_.lower_is_better ? -1 : 1; }
  double density() const { return options_.delta.sparsity.density; }

  // What a delta of this search is refused for must not cost an evaluation.
  void measure_layers() {
    std::vector<weights::TensorPair> pairs =
        weights::match_pairs(base_, tuned_, options_.delta.include, options_.delta.exclude, false);
    std::erase_if(pairs, [&](const weights::TensorPair& pair) {
      return !options_.delta.whole.empty() && selected(pair.base->name, options_.delta.whole, {});
    });
    Sparsity probe = options_.delta.sparsity;
    probe.q = 1;
    probe.check();
    report_.per_layer = per_layer();
    if (!per_layer()) return;
    const auto statistics = checkpoint::open_statistics(options_.statistics, tuned_);
    const weights::Engine engine{&pool_, {}, false, {}};
    layers_ = weights::measure_layers(engine, base_, tuned_, pairs, statistics, weights::InputUse::kMeans);
  }

  search::ScanOptions grid() const {
    search::ScanOptions scan{.from = density(), .to = 1, .step = 0.05};
    if (per_layer()) scan = {.from = 0.1, .to = 1.1, .step = 0.1};
    scan.from = options_.from.value_or(scan.from);
    scan.to = options_.to.value_or(scan.to);
    scan.step = options_.step.value_or(scan.step);
    if (!(scan.from > 0)) throw usage_error(cat("--from is ", exact_text(scan.from), ", not above 0"));
    return scan;
  }

  Sparsity sparsity(double value, int mask) const {
    Sparsity result = options_.delta.sparsity;
    result.seed += static_cast<std::uint64_t>(mask);
    result.q = value;
    if (!per_layer()) return result;
    const weights::Divisors divisors = weights::divisors_by_tail(layers_, density(), {.eta = value});
    result.q = divisors.of_others;
    result.divisors = divisors.of_tensor;
    return result;
  }

  double finite(const Evaluation& evaluation, const std::string& who) const {
    require_finite(evaluation, who);
    return evaluation.score;
  }

  double of_model(const std::string& who, const Checkpoint& model, const std::string& hash) {
    Hasher key;
    key.add(scorer_.context_hash()).add(hash).add("1");  // as a soup of this model alone
    const double score = finite(scorer_.existing(key.hex(), who, model.path()), who);
    progress_.note(cat(who, ": ", number_text(score)));
    return score;
  }

  double score_of(double value) {
    const int masks = options_.judge == Judge::kChange ? options_.masks : 1;
    std::vector<double> scores;
    for (int mask = 0; mask < masks; ++mask) scores.push_back(of_candidate(value, mask));
    return mean_without_farthest(scores);
  }

  double of_candidate(double value, int mask) {
    const Sparsity rule = sparsity(value, mask);
    const std::string who = cat("the delta with ", name(), " ", number_text(value), ", seed ", rule.seed);
    return finite(scorer_.made(key_of(rule), who, [&](const std::string& path) { write(rule, path); }), who);
  }

  std::string key_of(const Sparsity& rule) const {
    Hasher key;
    key.add(scorer_.context_hash()).add("solera delta candidate 1").add(base_hash_).add(tuned_hash_);
    key.add(rule.describe());
    for (const auto& [tensor, q] : rule.divisors) key.add(tensor).add(exact_text(q));
    for (const auto* patterns : {&options_.delta.include, &options_.delta.exclude, &options_.delta.whole}) {
      key.add(patterns->size());
      for (const Pattern& pattern : *patterns) key.add(pattern.text());
    }
    return key.hex();
  }

  // The very delta that would be written, applied to the base.
  void write(const Sparsity& rule, const std::string& path) {
    weights::DeltaOptions delta = options_.delta;
    delta.out = path + ".delta.safetensors";
    delta.sparsity = rule;
    weights::make_delta(base_, tuned_, delta, pool_, no_progress());
    std::vector<weights::Term> terms;
    terms.push_back(weights::open_term(delta.out, 1));
    weights::combine(base_, std::move(terms), {.out = path}, pool_, no_progress());
  }

  void advise() {
    const auto beats = [&](double score, double other) {
      return report_.lower_is_better ? score < other : score > other;
    };
    if (!beats(report_.score, report_.base_score))
      progress_.warn(cat("no delta of density ", number_text(density()), " beats the base (",
                         number_text(report_.base_score), "): keep more, or take --sparsify wanda or magnitude"));
    if (!per_layer() && report_.value < density())
      progress_.warn(cat("q is ", number_text(report_.value), ", below the density: it makes the changes larger than ",
                         "they were on average"));
  }

  const Checkpoint &base_, &tuned_;
  const RescaleOptions& options_;
  Progress& progress_;
  Pool pool_;
  Cache cache_;
  Scorer scorer_;
  std::vector<weights::LayerChange> layers_;
  std::string base_hash_, tuned_hash_;
  RescaleReport report_;
};

}  // namespace

double mean_without_farthest(std::span<const double> values) {
  const auto mean = [](std::span<const double> some) {
    return std::accumulate(some.begin(), some.end(), 0.0) / static_cast<double>(some.size());
  };
  const double all = mean(values);
  if (values.size() <= 2) return all;
  const auto farthest = std::max_element(values.begin(), values.end(),
                                         [&](double a, double b) { return std::abs(a - all) < std::abs(b - all); });
  std::vector<double> kept(values.begin(), farthest);
  kept.insert(kept.end(), farthest + 1, values.end());
  return mean(kept);
}

RescaleReport search_rescale(const Checkpoint& base, const Checkpoint& tuned, const RescaleOptions& options,
                             Progress& progress) {
  require_options(options);
  const std::array<std::string, 2> inputs = {base.path(), tuned.path()};
  weights::require_delta_output(options.delta, inputs);
  return Job(base, tuned, options, progress).run();
}

}  // namespace solera::soup
