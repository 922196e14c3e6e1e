#include "solera/base/random.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>

#include "solera/base/hash.h"

namespace solera {

namespace {

using Block = std::array<std::uint32_t, 4>;

Block round_once(const Block& c, const std::array<std::uint32_t, 2>& key) {
  const std::uint64_t a = std::uint64_t{0xD2511F53} * c[0], b = std::uint64_t{0xCD9E8D57} * c[2];
  return {static_cast<std::uint32_t>(b >> 32) ^ c[1] ^ key[0], static_cast<std::uint32_t>(b),
          static_cast<std::uint32_t>(a >> 32) ^ c[3] ^ key[1], static_cast<std::uint32_t>(a)};
}

Block block_at(std::uint64_t number, const std::array<std::uint32_t, 2>& key) {
  return philox({static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32), 0, 0}, key);
}

// Two normal draws from two words, neither of them 0 after the half step.
std::array<double, 2> box_muller(std::uint32_t a, std::uint32_t b) {
  const double radius = std::sqrt(-2.0 * std::log((static_cast<double>(a) + 0.5) * 0x1p-32));
  const double angle = 2.0 * std::numbers::pi * (static_cast<double>(b) + 0.5) * 0x1p-32;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int i = 0; i < 10; ++i) {
    if (i > 0) key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
    counter = round_once(counter, key);
  }
  return counter;
}

RandomStream::RandomStream(const StreamKey& key) {
  Hasher hasher;
  hasher.add(key.seed).add(key.purpose).add(key.input).add(key.name);
  const std::uint64_t bits = hash64(hasher.hex());
  key_ = {static_cast<std::uint32_t>(bits), static_cast<std::uint32_t>(bits >> 32)};
}

std::uint32_t RandomStream::u32(std::uint64_t index) const { return block_at(index / 4, key_)[index % 4]; }

double RandomStream::uniform(std::uint64_t index) const { return static_cast<double>(u32(index)) * 0x1p-32; }

bool RandomStream::bernoulli(std::uint64_t index, double p) const {
  return static_cast<double>(u32(index)) < p * 0x1p32;
}

double RandomStream::normal(std::uint64_t index) const {
  const Block block = block_at(index / 4, key_);
  const std::size_t pair = index % 4 / 2 * 2;
  return box_muller(block[pair], block[pair + 1])[index % 2];
}

std::uint64_t RandomStream::below(std::uint64_t index, std::uint64_t n) const {
  const Block block = block_at(index / 2, key_);
  const std::size_t pair = index % 2 * 2;
  const std::uint64_t word = std::uint64_t{block[pair]} << 32 | block[pair + 1];
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(Wide{word} * n >> 64);
}

void RandomStream::fill_u32(std::uint64_t first, std::span<std::uint32_t> out) const {
  for (std::size_t at = 0; at < out.size();) {
    const std::uint64_t index = first + at;
    const Block block = block_at(index / 4, key_);
    for (std::size_t word = index % 4; word < 4 && at < out.size(); ++word, ++at) out[at] = block[word];
  }
}

void RandomStream::fill_uniform(std::uint64_t first, std::span<float> out) const {
  std::array<std::uint32_t, 256> words;
  for (std::size_t at = 0; at < out.size(); at += words.size()) {
    const std::size_t count = std::min(words.size(), out.size() - at);
    fill_u32(first + at, std::span(words).first(count));
    for (std::size_t i = 0; i < count; ++i) out[at + i] = static_cast<float>(words[i] >> 8) * 0x1p-24f;
  }
}

void RandomStream::fill_normal(std::uint64_t first, std::span<float> out) const {
  for (std::size_t at = 0; at < out.size();) {
    const std::uint64_t index = first + at;
    const Block block = block_at(index / 4, key_);
    const auto front = box_muller(block[0], block[1]), back = box_muller(block[2], block[3]);
    const std::array<double, 4> draws = {front[0], front[1], back[0], back[1]};
    for (std::size_t word = index % 4; word < 4 && at < out.size(); ++word, ++at)
      out[at] = static_cast<float>(draws[word]);
  }
}

std::vector<std::int64_t> RandomStream::permutation(std::int64_t n) const {
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[below(order.size() - i, i)]);
  return order;
}

}  // namespace solera
