#include "solera/search/scan.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::search {

namespace {

// Values as whole numbers of 1e-12, whose sums are exact.
constexpr double kUnit = 1e12;

std::int64_t units(double value) { return std::llround(value * kUnit); }

class Scan {
 public:
  Scan(const ScanOptions& options, const std::function<double(double)>& score,
       const std::function<void(const ScanTrial&)>& on_trial)
      : options_(options), score_(score), on_trial_(on_trial) {}

  // Values first, first + step, ..., up to last; the best of them.
  std::int64_t stage(std::int64_t first, std::int64_t last, std::int64_t step, bool fine) {
    std::int64_t best_value = first;
    double best = 0;
    int worse = 0;
    for (std::int64_t v = first; v <= last && worse < options_.patience; v += step) {
      ScanTrial trial{.value = static_cast<double>(v) / kUnit, .fine = fine};
      trial.score = score_(trial.value);
      trial.better = result_.trials.empty() || trial.score > result_.best_trial().score;
      if (trial.better) result_.best = result_.trials.size();
      result_.trials.push_back(trial);
      worse = v == first || trial.score >= best ? 0 : worse + 1;
      if (v == first || trial.score > best) {
        best = trial.score;
        best_value = v;
      }
      if (on_trial_) on_trial_(trial);
    }
    return best_value;
  }

  ScanResult take() { return std::move(result_); }

 private:
  const ScanOptions& options_;
  const std::function<double(double)>& score_;
  const std::function<void(const ScanTrial&)>& on_trial_;
  ScanResult result_;
};

void check(const ScanOptions& options) {
  for (const double value : {options.from, options.to, options.step})
    if (!(std::abs(value) < 1e6)) throw usage_error(cat("a scan cannot have ", exact_text(value), " in its bounds"));
  if (options.to < options.from)
    throw usage_error(cat("a scan from ", exact_text(options.from), " to ", exact_text(options.to), " has no values"));
  if (!(options.decay > 0 && options.decay < 1))
    throw usage_error(cat("decay is ", exact_text(options.decay), ", outside (0, 1)"));
  if (units(options.step * options.decay) < 1)
    throw usage_error(cat("the step is ", exact_text(options.step), ", too small or not above 0"));
  if (options.patience < 1) throw usage_error(cat("patience is ", options.patience, ", less than 1"));
}

}  // namespace

ScanResult scan(const ScanOptions& options, const std::function<double(double)>& score,
                const std::function<void(const ScanTrial&)>& on_trial) {
  check(options);
  Scan scan(options, score, on_trial);
  const std::int64_t from = units(options.from), step = units(options.step), fine = units(options.step * options.decay);
  const std::int64_t center = scan.stage(from, units(options.to), step, false);
  scan.stage(std::max(from + fine, center - (step - fine)), center + step - 1, fine, true);
  return scan.take();
}

}  // namespace solera::search
