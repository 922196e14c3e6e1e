#include "solera/weights/draws.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "solera/weights/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "solera/weights/draws.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "solera/weights/sweep.inc"

HWY_BEFORE_NAMESPACE();
namespace solera::weights::HWY_NAMESPACE {

// Words of whole blocks from block `first` on: at least `blocks` of them, room for 127 words more.
#if HWY_TARGET == HWY_SCALAR
void draw_blocks(const std::uint32_t* key, std::uint64_t first, std::int64_t blocks, std::uint32_t* words) {
  for (std::int64_t b = 0; b < blocks; ++b, ++first) {
    const auto block =
        philox({static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(first >> 32), 0, 0}, {key[0], key[1]});
    std::copy(block.begin(), block.end(), words + 4 * b);
  }
}
#else
// A block a lane of 64 bits, whose low half counts: the products of a round need no shuffling, and the high halves that
// are carried along are never read.
void draw_blocks(const std::uint32_t* key, std::uint64_t first, std::int64_t blocks, std::uint32_t* words) {
  const hn::ScalableTag<std::uint64_t> d;
  const hn::Repartition<std::uint32_t, decltype(d)> d32;
  // Rounds of several blocks at once hide the multiplication's latency.
  constexpr int kVectors = hn::MaxLanes(d) >= 8 ? 4 : 2;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto low = hn::Set(d, 0xFFFFFFFFu);
  const auto by0 = hn::BitCast(d32, hn::Set(d, RandomStream::kMultiply0));
  const auto by1 = hn::BitCast(d32, hn::Set(d, RandomStream::kMultiply1));
  // A shuffle of 32 bits: shifts would wait for the multiplications' port.
  const auto high_half = [&](auto v) HWY_ATTR { return hn::BitCast(d, hn::DupOdd(hn::BitCast(d32, v))); };
  const auto product = [&](auto a, auto by) HWY_ATTR { return hn::MulEven(hn::BitCast(d32, a), by); };
  for (std::int64_t b = 0; b < blocks; b += kVectors * lanes) {
    decltype(hn::Zero(d)) c0[kVectors], c1[kVectors], c2[kVectors], c3[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      c0[v] = hn::Iota(d, first + static_cast<std::uint64_t>(b + v * lanes));
      c1[v] = hn::ShiftRight<32>(c0[v]);
      c2[v] = c3[v] = hn::Zero(d);
    }
    std::uint32_t key0 = key[0], key1 = key[1];
    for (int round = 0; round < RandomStream::kRounds; ++round) {
      const auto k0 = hn::Set(d, std::uint64_t{key0}), k1 = hn::Set(d, std::uint64_t{key1});
      for (int v = 0; v < kVectors; ++v) {
        const auto p0 = product(c0[v], by0), p1 = product(c2[v], by1);
        c0[v] = hn::Xor3(high_half(p1), k0, c1[v]);
        c2[v] = hn::Xor3(high_half(p0), k1, c3[v]);
        c1[v] = p1;
        c3[v] = p0;
      }
      key0 += RandomStream::kStep0;
      key1 += RandomStream::kStep1;
    }
    for (int v = 0; v < kVectors; ++v) {
      const auto first_pair = hn::Or(hn::And(c0[v], low), hn::ShiftLeft<32>(c1[v]));
      const auto second_pair = hn::Or(hn::And(c2[v], low), hn::ShiftLeft<32>(c3[v]));
      hn::StoreInterleaved2(first_pair, second_pair, d, reinterpret_cast<std::uint64_t*>(words + 4 * (b + v * lanes)));
    }
  }
}
#endif

}  // namespace solera::weights::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace solera::weights {

namespace {
HWY_EXPORT(draw_blocks);

constexpr std::int64_t kHalves = 8;   // of a block
constexpr std::int64_t kPiece = 128;  // blocks

std::uint32_t half_word(const RandomStream& stream, std::uint64_t number) {
  return stream.u32(number / 2) >> 16 * (number % 2) & 0xFFFF;
}
}  // namespace

std::uint32_t draw_of(const RandomStream& stream, std::int64_t element) {
  const auto number = static_cast<std::uint64_t>(element);
  return half_word(stream, number) << 16 | half_word(stream, (std::uint64_t{1} << 63) + number);
}

std::uint32_t draw_threshold(double p) {
  return static_cast<std::uint32_t>(std::min(std::max(0.0, p) * 0x1p32, 0x1p32 - 1));
}

void upper_halves(const RandomStream& stream, std::int64_t first, std::span<std::uint16_t> out) {
  std::array<std::uint32_t, 4 * kPiece + 128> words;  // a vector's surplus
  std::int64_t skip = first % kHalves;
  for (std::int64_t at = 0, n = std::ssize(out); at < n; skip = 0) {
    const std::int64_t count = std::min(kHalves * kPiece - skip, n - at);
    HWY_DYNAMIC_DISPATCH(draw_blocks)
    (stream.key().data(), static_cast<std::uint64_t>((first + at) / kHalves), (skip + count + kHalves - 1) / kHalves,
     words.data());
    std::memcpy(out.data() + at, reinterpret_cast<const std::byte*>(words.data()) + 2 * skip,
                2 * static_cast<std::size_t>(count));
    at += count;
  }
}

}  // namespace solera::weights
#endif  // HWY_ONCE
