// CMA-ES: derivative-free search in R^n by a normal distribution that learns the shape of the problem. Ask and tell.
//
//   x_k = m + sigma y_k,  y_k ~ N(0, C)                         k = 1..lambda; y_i:lambda the i-th best of them
//   m      <- m + sigma sum_(i<=mu) w_i y_i:lambda =: m + sigma y_w
//   p_s    <- (1 - c_s) p_s + sqrt(c_s (2 - c_s) mu_eff) C^(-1/2) y_w
//   sigma  <- sigma exp(c_s / d_s (|p_s| / chi_n - 1))
//   h      =  1 if |p_s| < sqrt(1 - (1 - c_s)^(2 g)) (1.4 + 2 / (n + 1)) chi_n, else 0
//   p_c    <- (1 - c_c) p_c + h sqrt(c_c (2 - c_c) mu_eff) y_w
//   C      <- (1 + (1 - h) c_1 c_c (2 - c_c) - c_1 - c_mu sum_i w_i) C + c_1 p_c p_c' + c_mu sum_i w_i* y_i:lambda y'
//             w_i* = w_i if w_i >= 0, else w_i n / |C^(-1/2) y_i:lambda|^2
//
// Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv 1604.00772 (2016): table 1's constants, negative weights
// included. Above 100 coordinates C is diagonal and c_1, c_mu are (n + 2) / 3 times as large: Ros and Hansen, PPSN
// 2008. Restarts with twice the population: Auger and Hansen, CEC 2005.
//
// Bounds: a candidate outside is drawn again, up to 10 n times, and then clipped; the update sees what was evaluated.
// With a diagonal C coordinates are drawn again one by one, which is the same distribution.
//
// A draw is a function of (seed, generation, candidate), and the whole state is a value that goes to JSON and back, so
// a search that is resumed continues exactly. Cost of a generation: O(n^3), O(lambda n) if C is diagonal.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "solera/base/document.h"

namespace solera::search {

struct CmaesOptions {
  std::vector<double> start;         // the first mean
  double sigma = 1.0;                // the first step size: about a third of the distance to where the optimum may be
  std::vector<double> lower, upper;  // one a coordinate, infinite where there is no bound; both empty: none at all
  std::uint64_t seed = 0;
  int population = 0;             // candidates a generation in the first run; 0: 4 + floor(3 ln n)
  bool active = true;             // negative weights for the worse half
  std::optional<bool> separable;  // a diagonal C; empty: above 100 coordinates
};

// What follows from n and lambda alone.
struct CmaesConstants {
  int n = 0, lambda = 0, mu = 0;
  std::vector<double> weights;  // lambda of them, best first: mu positive ones that sum to 1, then those <= 0
  double mu_eff = 0, c_sigma = 0, d_sigma = 0, c_c = 0, c_1 = 0, c_mu = 0;
  double chi_n = 0;  // E |N(0, I)|, by its series
};
int default_population(int n);
CmaesConstants cmaes_constants(int n, int lambda, bool active, bool separable);

// Why a run is over. kFlat: the last 10 + ceil(30 n / lambda) generations' best values and all of this one's are within
// 1e-12. kSmall: all steps are below 1e-12 of the first. kLarge: a step is 1e4 times the first. kCondition: C's
// condition number is above 1e14. kNoEffect: a step of 0.1 deviations along an axis of C, or of 0.2 along a coordinate,
// does not change the mean.
enum class CmaesStop { kNone, kFlat, kSmall, kLarge, kCondition, kNoEffect };
std::string_view stop_name(CmaesStop stop);  // "", "flat", "small steps", ...

class Cmaes {
 public:
  // Throws Error (usage): no coordinates, a value that is not finite, sigma <= 0, a population below 2, bounds of
  // another length, empty ranges, a start outside.
  explicit Cmaes(CmaesOptions options);

  // The candidates of this generation, population() of them, within the bounds.
  const std::vector<std::vector<double>>& ask() const { return candidates_; }
  // Their values in order, lower is better; equal ones rank as asked, infinity is the worst. Throws Error (input) for
  // NaN, Error (usage) for another number of values.
  void tell(std::span<const double> values);

  CmaesStop stop() const { return state_.stop; }  // may be ignored: ask and tell go on
  // A new run with twice the population, from a random place within the bounds or, where one is missing, around the
  // start.
  void restart();

  int dimension() const { return static_cast<int>(options_.start.size()); }
  int population() const { return constants_.lambda; }
  int generation() const { return state_.generation; }  // told so far, in all runs
  int restarts() const { return state_.restarts; }
  std::int64_t evaluations() const { return state_.evaluations; }
  bool separable() const { return separable_; }
  const CmaesConstants& constants() const { return constants_; }

  double sigma() const { return state_.sigma; }
  const std::vector<double>& mean() const { return state_.mean; }
  const std::vector<double>& covariance() const { return state_.covariance; }  // C by rows, or its diagonal
  const std::vector<double>& best() const { return state_.best; }              // of all told; empty before
  double best_value() const { return state_.best_value; }                      // infinity before

  Node to_json() const;
  static Cmaes from_json(const Node& node);  // throws Error (input, usage)

 private:
  struct State {
    int generation = 0, run_generation = 0, restarts = 0;
    std::int64_t evaluations = 0;
    double sigma = 0;
    std::vector<double> mean, p_sigma, p_c, covariance;
    std::vector<double> history;  // best values of the last generations of this run
    std::vector<double> best;
    double best_value = 0;
    CmaesStop stop = CmaesStop::kNone;
  };

  void begin_run(std::vector<double> mean);
  void derive();
  void decompose();
  void sample();
  std::vector<double> draw(int candidate) const;
  std::vector<double> whitened(std::span<const double> y) const;  // C^(-1/2) y
  void adapt(std::span<const std::vector<double>> steps);
  CmaesStop judge(std::span<const double> values) const;
  bool has_no_effect() const;

  CmaesOptions options_;
  bool separable_ = false;
  State state_;
  // All below follows from the state.
  CmaesConstants constants_;
  std::vector<double> axes_;     // eigenvectors of C as columns, by rows; empty if C is diagonal
  std::vector<double> lengths_;  // square roots of its eigenvalues
  bool degenerate_ = false;      // an eigenvalue is not positive or the condition too bad
  std::vector<std::vector<double>> candidates_;
};

}  // namespace solera::search
