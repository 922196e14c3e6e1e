// By how much the kept changes of a random sparse delta are multiplied: DAREx-q. Formulas of one number, no search.
//
//   delta' = z delta / q,  z ~ Bernoulli(k),  k = 1 - p the density;   q = k is DARE, q -> infinity the base
//   One output of a layer, c_j = delta_j x_j, S = sum_j c_j, Q = sum_j c_j^2, e = S - (1/q) sum_j z_j c_j:
//     E e = (1 - k/q) S      Var e = k p Q / q^2      Phi(p) = (1 - 2p) / ln((1-p) / p)
//     |e - E e| <= (1/q) sqrt(Phi(p) ln(2/g) Q)       with probability 1 - g at least
//   tail bound    row i:  argmin over q = k, k + .001, ..., .998 of
//                         |eta (1 - k/q) S_i + eta^2 Phi(p) Q_i / (4 q^2) + ln(2 / (1-gamma))|,    c from mean inputs;
//                 equal ones give the larger q, the scan ends where 80 % of the rows stop improving; mean over rows
//   least error   q = k + p sum Q / sum S^2           sums over rows and inputs: the least mean of e^2
//
// Deng et al., ICLR 2025, arXiv 2410.09344; the least error is the same model's, worked out here. A bias is a further
// column whose input is 1 and takes its weight's q; tensors without inputs take the mean of all layers' q.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "solera/checkpoint/statistics.h"
#include "solera/weights/make_delta.h"

namespace solera::weights {

double sub_gaussian_factor(double p);  // Phi, for p in [0, 1]; 1/2 at p = 1/2, 0 at both ends
double mean_square_error(double s, double square_sum, double density, double q);  // E e^2 of one output
double error_bound(double square_sum, double density, double q, double g);        // of |e - E e| with probability 1 - g

struct TailBound {
  double eta = 1;
  double gamma = 0.95;
  double stop_share = 0.8;  // of the rows
};
// q of a layer from the S and Q of its rows (as many of both, at least one). Throws Error (usage): eta not above 0.
double tail_bound_divisor(std::span<const double> s, std::span<const double> square_sums, double density,
                          const TailBound& bound);
// q of a layer from sums of Q and of S^2. Throws Error (input) if S^2 adds up to nothing where Q does not.
double least_error_divisor(double square_sum, double s_squared, double density, const std::string& layer);

// The grid value from + i step, exact: the double nearest to the decimal number.
double grid_value(double from, double step, std::int64_t i);

// What the inputs of a layer make of its change.
struct LayerChange {
  std::string weight, bias;                       // names; the bias may be ""
  std::vector<double> s, square_sums;             // of each row, from mean inputs
  double total_squares = 0, total_s_squared = 0;  // over rows, mean over inputs; from Gram matrices
};
enum class InputUse { kMeans, kGrams };

// The layers that `inputs`, statistics of the tuned model, tell of: weights among `pairs` with input means (and Gram
// matrices). One read of the weights and biases. Throws Error (input): no layer, one whose inputs are all 0 (it never
// ran), a Gram matrix without what a bias needs, values that are not finite.
std::vector<LayerChange> measure_layers(const Engine& engine, const checkpoint::Checkpoint& base,
                                        const checkpoint::Checkpoint& tuned, std::span<const TensorPair> pairs,
                                        const checkpoint::Statistics& inputs, InputUse use);

// q of single tensors, and of all others.
struct Divisors {
  std::map<std::string, double> of_tensor;
  double of_others = 0;  // the mean over layers
};
Divisors divisors_by_tail(std::span<const LayerChange> layers, double density, const TailBound& bound);
Divisors divisors_by_error(std::span<const LayerChange> layers, double density);

}  // namespace solera::weights
