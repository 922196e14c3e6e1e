// Greedy and uniform soups as a search over mixing weights. START HERE.
//
//   uniform:  theta = (1/k) sum_i theta_i
//   greedy:   visit the ingredients in an order, best first; with S the held-out score, higher is better,
//             soup = {theta_(1)}, best = S(theta_(1)); for i = 2..k:
//               s = S(mean of soup and theta_(i));   if s >= best: soup += theta_(i), best = s
//
// Wortsman et al., "Model soups", ICML 2022, arXiv 2203.05482. The paper accepts on >=, its script on >. One pass; a
// rejected ingredient is never tried again. A candidate is always the plain mean of its ingredients, computed from them
// and not from the running soup, so that it does not depend on the way there. By score: 2k - 1 evaluations.
//
// Nothing here knows files: the score is a callback over weights. With jobs > 1 candidates of the likely next steps are
// scored ahead, both for the case that the present one is accepted and that it is not; the result is that of jobs = 1,
// also when a score that is never needed fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace solera::soup {

// Relative weights, one an ingredient, in the ingredients' order; 0 leaves it out. {1, 0, 1} is the mean of two.
using Mix = std::vector<double>;

Mix single_mix(int ingredient, int count);
Mix uniform_mix(int count);
std::vector<double> normalized(const Mix& mix);  // sums to 1

struct Evaluation {
  double score = 0;
  double seconds = 0;
  bool cached = false;
};
// Throws to end the search. Thread-safe where jobs > 1. Called at most once for a mix.
using Evaluate = std::function<Evaluation(const Mix& mix)>;

enum class Accept { kGe, kGt };
enum class Order {
  kScore,     // best single first, ties as given
  kOfficial,  // best single first, ties in reverse: the authors' script
  kRandom,    // shuffled by the seed
  kGiven,     // as given
};

struct SearchOptions {
  Accept accept = Accept::kGe;
  Order order = Order::kScore;
  bool minimize = false;   // lower scores are better
  std::uint64_t seed = 0;  // of the random order
  int jobs = 1;
};

enum class Verdict { kSingle, kAccepted, kRejected, kUniform };
std::string verdict_name(Verdict verdict);  // "single", "accepted", ...

struct Trial {
  Mix mix;
  int ingredient = -1;  // scored alone, or tried on top of the soup; -1 for the uniform soup
  Verdict verdict = Verdict::kSingle;
  Evaluation evaluation;
};
// Told of every trial in the order of jobs = 1; one call at a time, maybe from another thread.
using OnTrial = std::function<void(const Trial& trial)>;

struct SearchResult {
  Mix mix;                   // of the soup
  std::vector<int> members;  // its ingredients, in the order of acceptance
  double score = 0;          // of the soup
  std::vector<Trial> trials;
  const Trial* best_single = nullptr;  // among those scored; into `trials`

  SearchResult() = default;
  SearchResult(SearchResult&&) = default;  // moves keep best_single valid, copies would not
  SearchResult& operator=(SearchResult&&) = default;
};

// Scores every ingredient if the order needs it (else only the first one visited), then the candidates. Requires count
// >= 2 and jobs >= 1. Throws Error (input) for a score that is not finite, and what `evaluate` throws.
SearchResult greedy_soup(int count, const SearchOptions& options, const Evaluate& evaluate,
                         const OnTrial& on_trial = {});
// Scores every ingredient and their mean. No choice is made: the soup has all of them.
SearchResult uniform_soup(int count, const SearchOptions& options, const Evaluate& evaluate,
                          const OnTrial& on_trial = {});

// The order of visits; `scores` one an ingredient for kScore and kOfficial, else unused.
std::vector<int> visiting_order(int count, std::span<const double> scores, const SearchOptions& options);

// How far a greedy search is, as a value: a copy is a branch of what may happen.
struct GreedyState {
  std::vector<int> order;
  std::vector<int> members;  // in the order of acceptance
  std::size_t next = 1;      // position in `order` of the ingredient to try

  bool done() const { return next >= order.size(); }
  int trying() const { return order[next]; }
  Mix candidate() const;  // members and trying()
  GreedyState after(bool accepted) const;
};

// Is `score` good enough to replace `best`?
bool accepts(const SearchOptions& options, double score, double best);

}  // namespace solera::soup
