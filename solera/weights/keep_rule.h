// Which of a model's changes a sparse delta keeps, and by what they are multiplied then.
//
//   d_i = tuned_i - base_i                              n entries a group: a tensor, or the whole model
//   changed    those whose bits differ                  nothing is lost
//   magnitude  the first k by |d|                       k = floor(density n), or a count
//   outliers   ranks r to r + k                         r = floor(remove n): the largest are left out
//   random     each with probability density, d/density (DARE)
//   q          each with probability density, d/q       (DAREx-q; q = density is DARE)
//   wanda      of each row of a weight the first by |d| times its input's size (wanda.h); of a tensor without rows by
//   |d| columns    of a weight max(1, round(density in)) whole columns at random, d/q; of a tensor without columns as q
//   region     those in the region of any of some deltas
//
// magnitude: Ansell et al., ACL 2022, arXiv 2110.07560, whose ranking is that of the whole model. outliers: Davari and
// Belilovsky, ECCV 2024, arXiv 2312.06795. random: Yu et al., ICML 2024, arXiv 2311.03099. q, wanda, columns: Deng et
// al., ICLR 2025, arXiv 2410.09344. Equal magnitudes go by position, the earlier tensor and lower index first, so
// counts are exact.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "solera/checkpoint/delta.h"
#include "solera/checkpoint/statistics.h"
#include "solera/weights/select.h"

namespace solera::weights {

enum class Sparsify { kChanged, kMagnitude, kRandom, kOutliers, kQ, kRegion, kWanda, kColumns };

struct Sparsity {
  Sparsify how = Sparsify::kChanged;
  double density = 1;
  std::optional<std::int64_t> count;       // of the whole model, in place of density
  double remove = 0.01;                    // of kOutliers: the share of the largest left out
  double q = 0;                            // of kQ and kColumns
  std::map<std::string, double> divisors;  // of the same: q of single tensors, in place of q
  std::uint64_t seed = 0;
  const checkpoint::Statistics* inputs = nullptr;  // of kWanda: of the tuned model; outlives all
  std::vector<checkpoint::Delta> regions;          // of kRegion
  bool whole_model = false;                        // ranks are those of all tensors together

  bool divides() const { return how == Sparsify::kQ || how == Sparsify::kColumns; }
  bool random() const { return how == Sparsify::kRandom || divides(); }
  double scale(const std::string& tensor) const;  // 1 but for the random kinds
  std::string describe() const;                   // "magnitude, density 0.1, of each tensor"
  void check() const;                             // throws Error (usage)
};

// A rule for pairs of tensors; pair s is segments[s], base first. Ranks are found when it is made: one or two reads.
class KeepRule {
 public:
  // Throws Error (usage) where a count exceeds the entries or nothing would be kept.
  KeepRule(const Engine& engine, std::span<const Segment> segments, const Sparsity& sparsity);
  ~KeepRule();
  KeepRule(KeepRule&&) noexcept;

  // Bit i mod 8 of mask[i / 8], i < count, says whether entry first + i of pair s is kept; bits past count are 0.
  // `base` and `tuned` are the pair's bytes from entry `first` on. Throws Error (input) for a value that is not finite
  // and takes part in a ranking. Thread-safe.
  void mask(std::size_t s, std::int64_t first, std::int64_t count, const std::byte* base, const std::byte* tuned,
            std::uint8_t* mask) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace solera::weights
