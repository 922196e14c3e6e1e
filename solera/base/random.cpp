#include "solera/base/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/hash.h"

namespace solera {
namespace {

constexpr auto kMultiply0 = RandomStream::kMultiply0, kMultiply1 = RandomStream::kMultiply1;
constexpr auto kStep0 = RandomStream::kStep0, kStep1 = RandomStream::kStep1;
constexpr int kRounds = RandomStream::kRounds;

constexpr double kTwoTo32 = 4294967296.0;

using Words = std::array<std::uint32_t, 4>;

inline Words rounds(Words c, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t product0 = std::uint64_t{kMultiply0} * c[0];
    const std::uint64_t product1 = std::uint64_t{kMultiply1} * c[2];
    c = {static_cast<std::uint32_t>(product1 >> 32) ^ c[1] ^ key0, static_cast<std::uint32_t>(product1),
         static_cast<std::uint32_t>(product0 >> 32) ^ c[3] ^ key1, static_cast<std::uint32_t>(product0)};
    key0 += kStep0;
    key1 += kStep1;
  }
  return c;
}

Words block_of(std::uint64_t number, const std::array<std::uint32_t, 2>& key) {
  return rounds({static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32), 0, 0}, key[0], key[1]);
}

// log(w / 2^32) for w in 1..2^32, sin and cos(2 pi w / 2^32): additions and multiplications only, since the library's
// functions differ in the last bit between CPUs. Good to a few units in the last place.
inline double log_fraction(double w) {
  const auto bits = std::bit_cast<std::uint64_t>(w);
  const std::uint64_t carry = (bits & 0xFFFFFFFFFFFFF) > 0x6A09E667F3BCC ? 1 : 0;  // mantissa above sqrt(2)
  const double mantissa = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFF) | ((1023 - carry) << 52));
  const double exponent = static_cast<double>(static_cast<std::int32_t>((bits >> 52) + carry) - 1023 - 32);
  const double s = (mantissa - 1.0) / (mantissa + 1.0);  // log m = 2 atanh s
  const double z = s * s;
  double series = 1.0 / 23;
  for (int odd = 21; odd > 0; odd -= 2) series = series * z + 1.0 / odd;
  return exponent * std::numbers::ln2 + 2.0 * s * series;
}

struct Turn {
  double cosine, sine;
};

inline Turn turn_of(std::uint32_t w) {
  const std::uint32_t quadrant = (w + (1u << 29)) >> 30;  // of the nearest multiple of pi / 2
  const double t =
      static_cast<double>(static_cast<std::int32_t>(w - (quadrant << 30))) * (2.0 * std::numbers::pi / kTwoTo32);
  const double z = t * t;
  double sine = 1.0, cosine = 1.0;  // Taylor series for |t| up to pi / 4
  for (int n = 16; n > 0; n -= 2) {
    sine = 1.0 - sine * z * (1.0 / (n * (n + 1)));
    cosine = 1.0 - cosine * z * (1.0 / (n * (n - 1)));
  }
  sine *= t;
  const double x = quadrant % 2 == 0 ? cosine : sine;
  const double y = quadrant % 2 == 0 ? sine : cosine;
  return {quadrant == 1 || quadrant == 2 ? -x : x, quadrant >= 2 ? -y : y};
}

// Box-Muller: two words give two normal numbers. The radius' fraction is in (0, 1], so that its log is finite.
inline Turn box_muller(std::uint32_t for_radius, std::uint32_t for_angle) {
  const double radius = std::sqrt(-2.0 * log_fraction(static_cast<double>(for_radius) + 1.0));
  const Turn turn = turn_of(for_angle);
  return {radius * turn.cosine, radius * turn.sine};
}

// Calls use(position, words) for `count` words from index `first`, a fixed number of blocks at a time: the loop has no
// branch, a known length and no dependence between blocks, so that it becomes vector code.
template <class Use>
void for_words(const std::array<std::uint32_t, 2>& key, std::uint64_t first, std::size_t count, Use&& use) {
  constexpr std::size_t kBlocks = 16;
  std::uint32_t lanes[4][kBlocks];
  std::uint32_t words[4 * kBlocks];
  std::size_t done = 0;
  while (done < count) {
    const std::uint64_t block = (first + done) / 4;
    const std::size_t skip = static_cast<std::size_t>((first + done) % 4);
    for (std::size_t b = 0; b < kBlocks; ++b) {
      lanes[0][b] = static_cast<std::uint32_t>(block + b);
      lanes[1][b] = static_cast<std::uint32_t>((block + b) >> 32);
      lanes[2][b] = lanes[3][b] = 0;
    }
    std::uint32_t key0 = key[0], key1 = key[1];
    for (int round = 0; round < kRounds; ++round) {
      for (std::size_t b = 0; b < kBlocks; ++b) {
        const std::uint64_t product0 = std::uint64_t{kMultiply0} * lanes[0][b];
        const std::uint64_t product1 = std::uint64_t{kMultiply1} * lanes[2][b];
        lanes[0][b] = static_cast<std::uint32_t>(product1 >> 32) ^ lanes[1][b] ^ key0;
        lanes[1][b] = static_cast<std::uint32_t>(product1);
        lanes[2][b] = static_cast<std::uint32_t>(product0 >> 32) ^ lanes[3][b] ^ key1;
        lanes[3][b] = static_cast<std::uint32_t>(product0);
      }
      key0 += kStep0;
      key1 += kStep1;
    }
    for (std::size_t b = 0; b < kBlocks; ++b) {
      for (std::size_t k = 0; k < 4; ++k) words[4 * b + k] = lanes[k][b];
    }
    const std::size_t here = std::min(count - done, 4 * kBlocks - skip);
    use(done, std::span<const std::uint32_t>(words + skip, here));
    done += here;
  }
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  return rounds(counter, key[0], key[1]);
}

RandomStream::RandomStream(const StreamKey& key) {
  Hasher hasher;
  hasher.add(key.seed).add(key.purpose).add(key.input).add(key.name);
  const std::uint64_t mixed = hash64(hasher.hex());
  key_ = {static_cast<std::uint32_t>(mixed), static_cast<std::uint32_t>(mixed >> 32)};
}

std::uint32_t RandomStream::u32(std::uint64_t index) const { return block_of(index / 4, key_)[index % 4]; }

double RandomStream::uniform(std::uint64_t index) const { return static_cast<double>(u32(index)) / kTwoTo32; }

bool RandomStream::bernoulli(std::uint64_t index, double p) const {
  return static_cast<double>(u32(index)) < p * kTwoTo32;
}

double RandomStream::normal(std::uint64_t index) const {
  const Words block = block_of(index / 4, key_);
  const std::size_t pair = index % 4 / 2 * 2;
  const Turn both = box_muller(block[pair], block[pair + 1]);
  return index % 2 == 0 ? both.cosine : both.sine;
}

// 64 bits from words 2 i and 2 i + 1, times n / 2^64; the bias is below n / 2^64.
std::uint64_t RandomStream::below(std::uint64_t index, std::uint64_t n) const {
  if (n == 0) throw internal_error("a random number below 0 was asked for");
  const Words block = block_of(index / 2, key_);
  const std::size_t pair = index % 2 * 2;
  const std::uint64_t word = std::uint64_t{block[pair + 1]} << 32 | block[pair];
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(Wide{word} * n >> 64);
}

void RandomStream::fill_u32(std::uint64_t first, std::span<std::uint32_t> out) const {
  for_words(key_, first, out.size(), [&](std::size_t at, std::span<const std::uint32_t> words) {
    std::copy(words.begin(), words.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
  });
}

void RandomStream::fill_uniform(std::uint64_t first, std::span<float> out) const {
  for_words(key_, first, out.size(), [&](std::size_t at, std::span<const std::uint32_t> words) {
    for (std::size_t i = 0; i < words.size(); ++i) {
      out[at + i] = static_cast<float>(static_cast<std::int32_t>(words[i] >> 8)) * 0x1p-24f;
    }
  });
}

void RandomStream::fill_normal(std::uint64_t first, std::span<float> out) const {
  // A pair that sticks out at either end is drawn alone.
  std::size_t at = 0;
  if (at < out.size() && first % 2 == 1) out[at++] = static_cast<float>(normal(first));
  const std::size_t whole = (out.size() - at) / 2 * 2;
  for_words(key_, first + at, whole, [&](std::size_t done, std::span<const std::uint32_t> words) {
    for (std::size_t i = 0; i + 1 < words.size(); i += 2) {
      const Turn both = box_muller(words[i], words[i + 1]);
      out[at + done + i] = static_cast<float>(both.cosine);
      out[at + done + i + 1] = static_cast<float>(both.sine);
    }
  });
  at += whole;
  if (at < out.size()) out[at] = static_cast<float>(normal(first + at));
}

std::vector<std::int64_t> RandomStream::permutation(std::int64_t n) const {
  if (n < 0) throw internal_error(cat("a permutation of ", n, " entries was asked for"));
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[below(i - 1, i)]);
  return order;
}

}  // namespace solera
