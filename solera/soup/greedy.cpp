#include "solera/soup/greedy.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <queue>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/random.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/soup/scoring.h"

namespace solera::soup {
namespace {

bool better(const SearchOptions& options, double a, double b) { return options.minimize ? a < b : a > b; }

Evaluation checked(const Evaluate& evaluate, const Mix& mix) {
  const Evaluation evaluation = evaluate(mix);
  std::string who;
  for (std::size_t i = 0; i < mix.size(); ++i)
    if (mix[i] != 0) who += cat(who.empty() ? "ingredient " : " + ", i + 1);
  require_finite(evaluation, who);
  return evaluation;
}

// Keeps what has been tried, in order.
struct Record {
  const SearchOptions& options;
  const OnTrial& on_trial;
  SearchResult result;

  void add(Trial trial) {
    result.trials.push_back(std::move(trial));
    if (on_trial) on_trial(result.trials.back());
  }
  SearchResult finish() {
    for (const Trial& trial : result.trials)
      if (trial.verdict == Verdict::kSingle &&
          (!result.best_single || better(options, trial.evaluation.score, result.best_single->evaluation.score)))
        result.best_single = &trial;
    return std::move(result);
  }
};

// Scores single ingredients, told of in order.
std::vector<double> score_singles(std::span<const int> which, int count, const Evaluate& evaluate, Record& record) {
  const auto ingredient = [&](int i) { return which[static_cast<std::size_t>(i)]; };
  std::vector<double> scores;
  score_in_order(
      static_cast<int>(which.size()), record.options.jobs,
      [&](int i) { return checked(evaluate, single_mix(ingredient(i), count)); },
      [&](int i, const Evaluation& evaluation) {
        scores.push_back(evaluation.score);
        record.add({single_mix(ingredient(i), count), ingredient(i), Verdict::kSingle, evaluation});
      });
  return scores;
}

// The greedy loop by several workers. Each takes the likeliest candidate that nobody has taken, under the lock; whoever
// brings the score that the search waits for moves the search on.
class Search {
 public:
  Search(GreedyState state, double best, const Evaluate& evaluate, Record& record)
      : state_(std::move(state)), best_(best), evaluate_(evaluate), record_(record) {}

  void run() {
    Pool pool(record_.options.jobs);
    pool.for_each(record_.options.jobs, [this](std::int64_t, int) { work(); });
    if (failure_) std::rethrow_exception(failure_);
  }
  const GreedyState& state() const { return state_; }
  double best() const { return best_; }

 private:
  struct Slot {
    std::optional<Evaluation> evaluation;
    std::exception_ptr error;
    bool finished() const { return evaluation || error; }
  };
  struct Branch {
    double likelihood;
    int depth;
    GreedyState state;
    bool operator<(const Branch& other) const {
      return likelihood != other.likelihood ? likelihood < other.likelihood : depth > other.depth;
    }
  };

  void work() {
    std::unique_lock lock(mutex_);
    while (!failure_ && !state_.done()) {
      const std::optional<Mix> mix = likeliest();
      if (!mix) {
        changed_.wait(lock);
        continue;
      }
      Slot& slot = slots_[*mix];  // a map's elements stay where they are
      lock.unlock();
      std::optional<Evaluation> evaluation;
      std::exception_ptr error;
      try {
        evaluation = checked(evaluate_, *mix);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      slot = {evaluation, error};
      try {
        if (stop_requested() && error) std::rethrow_exception(error);
        move_on();
      } catch (...) {
        if (!failure_) failure_ = std::current_exception();
      }
      changed_.notify_all();
    }
  }

  // As far as the scores reach.
  void move_on() {
    while (!failure_ && !state_.done()) {
      const Mix mix = state_.candidate();
      const auto found = slots_.find(mix);
      if (found == slots_.end() || !found->second.finished()) return;
      if (found->second.error) std::rethrow_exception(found->second.error);
      const Evaluation& evaluation = *found->second.evaluation;
      const bool accepted = accepts(record_.options, evaluation.score, best_);
      record_.add({mix, state_.trying(), accepted ? Verdict::kAccepted : Verdict::kRejected, evaluation});
      if (accepted) best_ = evaluation.score;
      ++tried_;
      accepted_ += accepted;
      state_ = state_.after(accepted);
    }
  }

  // Best first through the tree of acceptances and rejections; empty if all of it is taken.
  std::optional<Mix> likeliest() const {
    const double p = (accepted_ + 1.0) / (tried_ + 2.0);
    std::priority_queue<Branch> queue;
    queue.push({1.0, 0, state_});
    while (!queue.empty()) {
      const Branch branch = queue.top();
      queue.pop();
      if (branch.state.done()) continue;
      Mix mix = branch.state.candidate();
      if (!slots_.contains(mix)) return mix;
      queue.push({branch.likelihood * p, branch.depth + 1, branch.state.after(true)});
      queue.push({branch.likelihood * (1 - p), branch.depth + 1, branch.state.after(false)});
    }
    return std::nullopt;
  }

  GreedyState state_;
  double best_;
  const Evaluate& evaluate_;
  Record& record_;
  int tried_ = 0, accepted_ = 0;
  std::map<Mix, Slot> slots_;
  std::exception_ptr failure_;
  std::mutex mutex_;
  std::condition_variable changed_;
};

std::vector<int> all(int count) {
  std::vector<int> which(static_cast<std::size_t>(count));
  std::iota(which.begin(), which.end(), 0);
  return which;
}

void require_sense(int count, const SearchOptions& options) {
  if (count < 2) throw usage_error(cat("a soup needs at least two models, not ", count));
  if (options.jobs < 1) throw usage_error(cat("jobs is ", options.jobs, ", less than 1"));
}

}  // namespace

Mix single_mix(int ingredient, int count) {
  Mix mix(static_cast<std::size_t>(count), 0.0);
  mix[static_cast<std::size_t>(ingredient)] = 1;
  return mix;
}

Mix uniform_mix(int count) { return Mix(static_cast<std::size_t>(count), 1.0); }

std::vector<double> normalized(const Mix& mix) {
  const double sum = std::accumulate(mix.begin(), mix.end(), 0.0);
  std::vector<double> result = mix;
  for (double& w : result) w /= sum;
  return result;
}

std::string verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kSingle:
      return "single";
    case Verdict::kAccepted:
      return "accepted";
    case Verdict::kRejected:
      return "rejected";
    case Verdict::kUniform:
      return "uniform";
  }
  throw internal_error("an unknown verdict");
}

bool accepts(const SearchOptions& options, double score, double best) {
  return better(options, score, best) || (options.accept == Accept::kGe && score == best);
}

Mix GreedyState::candidate() const {
  Mix mix(order.size(), 0.0);
  for (const int member : members) mix[static_cast<std::size_t>(member)] = 1;
  mix[static_cast<std::size_t>(trying())] = 1;
  return mix;
}

GreedyState GreedyState::after(bool accepted) const {
  GreedyState result = *this;
  if (accepted) result.members.push_back(trying());
  ++result.next;
  return result;
}

std::vector<int> visiting_order(int count, std::span<const double> scores, const SearchOptions& options) {
  std::vector<int> order = all(count);
  switch (options.order) {
    case Order::kGiven:
      return order;
    case Order::kRandom: {
      const auto shuffled = RandomStream({options.seed, "soup order"}).permutation(count);
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(shuffled[i]);
      return order;
    }
    case Order::kOfficial:
      std::reverse(order.begin(), order.end());
      break;
    case Order::kScore:
      break;
  }
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return better(options, scores[static_cast<std::size_t>(a)], scores[static_cast<std::size_t>(b)]);
  });
  return order;
}

SearchResult greedy_soup(int count, const SearchOptions& options, const Evaluate& evaluate, const OnTrial& on_trial) {
  require_sense(count, options);
  Record record{options, on_trial, {}};
  const bool by_score = options.order == Order::kScore || options.order == Order::kOfficial;
  std::vector<double> scores;
  if (by_score) scores = score_singles(all(count), count, evaluate, record);
  GreedyState start{visiting_order(count, scores, options), {}, 1};
  const int first = start.order.front();
  start.members = {first};
  const double best = by_score ? scores[static_cast<std::size_t>(first)]
                               : score_singles(std::span(&first, 1), count, evaluate, record).front();
  Search search(start, best, evaluate, record);
  search.run();
  record.result.members = search.state().members;
  record.result.score = search.best();
  record.result.mix.assign(static_cast<std::size_t>(count), 0.0);
  for (const int member : record.result.members) record.result.mix[static_cast<std::size_t>(member)] = 1;
  return record.finish();
}

SearchResult uniform_soup(int count, const SearchOptions& options, const Evaluate& evaluate, const OnTrial& on_trial) {
  require_sense(count, options);
  Record record{options, on_trial, {}};
  score_singles(all(count), count, evaluate, record);
  const Evaluation evaluation = checked(evaluate, uniform_mix(count));
  record.add({uniform_mix(count), -1, Verdict::kUniform, evaluation});
  record.result.mix = uniform_mix(count);
  record.result.members = all(count);
  record.result.score = evaluation.score;
  return record.finish();
}

}  // namespace solera::soup
