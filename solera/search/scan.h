// The best of one number by a scan: coarse steps first, fine ones around the best of them.
//
//   coarse   v = from, from + step, ..., to                            while it pays
//   fine     v = max(from + s, v* - (step - s)), ... in steps of s = step decay, below v* + step, anew while it pays
//   "while it pays": until 4 values in a row score less than the best of their stage; v* is the best coarse value.
//   The result is the best of all, the first of equal ones.
//
// Deng et al., ICLR 2025, arXiv 2410.09344 (the search of DAREx's 1/q and eta). Values are exact: each is the double
// nearest to its decimal number, so that a scan from 0.1 by 0.001 meets 0.115. Scores are told one after the other.
#pragma once

#include <functional>
#include <vector>

namespace solera::search {

struct ScanOptions {
  double from = 0, to = 1, step = 0.05;
  double decay = 0.1;
  int patience = 4;
};

struct ScanTrial {
  double value = 0, score = 0;        // higher is better
  bool fine = false, better = false;  // than all before it
};

struct ScanResult {
  std::vector<ScanTrial> trials;
  std::size_t best = 0;
  const ScanTrial& best_trial() const { return trials[best]; }
};

// Throws Error (usage): bounds or a step that make no grid; what `score` throws.
ScanResult scan(const ScanOptions& options, const std::function<double(double value)>& score,
                const std::function<void(const ScanTrial&)>& on_trial = {});

}  // namespace solera::search
