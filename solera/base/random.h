// Random numbers as a pure function of a key and an index: Philox 4x32-10.
//
//   u32(i) = word (i mod 4) of philox(counter = i / 4, key)         key = hash of (seed, purpose, input, name)
//
// Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Any index can be drawn at
// any time by any thread, so a result never depends on threads, chunks or resume points. Two streams with different
// keys share nothing.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace solera {

// The bijection itself, tested against the published vectors (Random123, kat_vectors).
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

struct StreamKey {
  std::uint64_t seed = 0;
  std::string_view purpose;    // "dare", "shuffle": what the numbers are for
  std::uint64_t input = 0;     // ordinal of the input model, trial or worker
  std::string_view name = {};  // output tensor name, where there is one
};

class RandomStream {
 public:
  // The constants of Philox 4x32: multipliers, and the key's steps (golden ratio and sqrt(3) - 1 of 2^32).
  static constexpr std::uint32_t kMultiply0 = 0xD2511F53, kMultiply1 = 0xCD9E8D57;
  static constexpr std::uint32_t kStep0 = 0x9E3779B9, kStep1 = 0xBB67AE85;
  static constexpr int kRounds = 10;

  explicit RandomStream(const StreamKey& key);

  std::uint32_t u32(std::uint64_t index) const;
  double uniform(std::uint64_t index) const;            // [0, 1), 32 bits: u32 / 2^32
  bool bernoulli(std::uint64_t index, double p) const;  // u32 < p 2^32, exact at 0 and 1
  double normal(std::uint64_t index) const;  // Box-Muller of the pair that holds the index; the same bits on every CPU
  // 0..n-1, n > 0: floor(w n / 2^64) of the 64-bit number w in words 2 index (low) and 2 index + 1.
  std::uint64_t below(std::uint64_t index, std::uint64_t n) const;

  // Entry j of `out` is the draw at index first + j, rounded to float.
  void fill_u32(std::uint64_t first, std::span<std::uint32_t> out) const;
  void fill_uniform(std::uint64_t first, std::span<float> out) const;  // [0, 1), 24 bits: (u32 >> 8) / 2^24
  void fill_normal(std::uint64_t first, std::span<float> out) const;

  const std::array<std::uint32_t, 2>& key() const { return key_; }  // for vectorized draws elsewhere

  // A permutation of 0..n-1 (Fisher-Yates with below()).
  std::vector<std::int64_t> permutation(std::int64_t n) const;

 private:
  std::array<std::uint32_t, 2> key_;
};

}  // namespace solera
