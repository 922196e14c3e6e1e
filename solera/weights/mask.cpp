#include "solera/weights/mask.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "solera/weights/simd.h"
#include "solera/weights/vector.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "solera/weights/mask.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "solera/weights/sweep.inc"

HWY_BEFORE_NAMESPACE();
namespace solera::weights::HWY_NAMESPACE {

// Words of whole blocks from block `first` on: at least `blocks` of them, room for 63 words more.
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
  constexpr int kVectors = 2;  // rounds of several blocks at once hide the multiplication's latency
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto low = hn::Set(d, 0xFFFFFFFFu);
  const auto by0 = hn::BitCast(d32, hn::Set(d, RandomStream::kMultiply0));
  const auto by1 = hn::BitCast(d32, hn::Set(d, RandomStream::kMultiply1));
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
        c0[v] = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), k0), c1[v]);
        c2[v] = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), k1), c3[v]);
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

// Is each of the draws from `u` on below the threshold, as a mask for values of T?
template <class T, class V>
HWY_INLINE auto is_below(hn::ScalableTag<T> d, const std::uint32_t* u, V threshold) {
  if constexpr (sizeof(T) == 4) {
    return hn::RebindMask(d, hn::Lt(hn::LoadU(hn::RebindToUnsigned<decltype(d)>(), u), threshold));
  } else {
    const hn::RebindToUnsigned<decltype(d)> d64;
    const hn::Rebind<std::uint32_t, decltype(d)> d32;
    return hn::RebindMask(d, hn::Lt(hn::PromoteTo(d64, hn::LoadU(d32, u)), threshold));
  }
}

// Thresholds from `t` on as is_below() wants them.
template <class T>
HWY_INLINE auto thresholds_at(hn::ScalableTag<T> d, const std::uint32_t* t) {
  if constexpr (sizeof(T) == 4) {
    return hn::LoadU(hn::RebindToUnsigned<decltype(d)>(), t);
  } else {
    return hn::PromoteTo(hn::RebindToUnsigned<decltype(d)>(), hn::LoadU(hn::Rebind<std::uint32_t, decltype(d)>(), t));
  }
}

template <class T>
void keep_drawn_t(const std::uint32_t* draws, std::uint32_t threshold, T c, std::int64_t n, T* v) {
  const hn::ScalableTag<T> d;
  const auto factor = hn::Set(d, c);
  const auto below = hn::Set(hn::RebindToUnsigned<decltype(d)>(), threshold);
  sweep(
      d, n,
      [&](std::int64_t i) HWY_ATTR {
        const auto scaled = hn::Mul(factor, hn::LoadU(d, v + i));
        hn::StoreU(hn::IfThenElseZero(is_below<T>(d, draws + i, below), scaled), d, v + i);
      },
      [&](std::int64_t i) { v[i] = draws[i] < threshold ? c * v[i] : T(0); });
}

template <class T>
void add_drawn_t(const std::uint32_t* draws, std::uint32_t threshold, T c, const T* v, std::int64_t n, T* sum) {
  const hn::ScalableTag<T> d;
  const auto factor = hn::Set(d, c);
  const auto below = hn::Set(hn::RebindToUnsigned<decltype(d)>(), threshold);
  sweep(
      d, n,
      [&](std::int64_t i) HWY_ATTR {
        const auto kept = hn::IfThenElseZero(is_below<T>(d, draws + i, below), hn::LoadU(d, v + i));
        hn::StoreU(hn::Add(hn::LoadU(d, sum + i), hn::Mul(factor, kept)), d, sum + i);
      },
      [&](std::int64_t i) { sum[i] = sum[i] + c * (draws[i] < threshold ? v[i] : T(0)); });
}

template <class T>
void keep_drawn_each_t(const std::uint32_t* draws, const std::uint32_t* thresholds, std::int64_t n, T* v) {
  const hn::ScalableTag<T> d;
  sweep(
      d, n,
      [&](std::int64_t i) HWY_ATTR {
        const auto kept = is_below<T>(d, draws + i, thresholds_at<T>(d, thresholds + i));
        hn::StoreU(hn::IfThenElseZero(kept, hn::LoadU(d, v + i)), d, v + i);
      },
      [&](std::int64_t i) { v[i] = draws[i] < thresholds[i] ? v[i] : T(0); });
}

// Highway exports plain functions: one name a type.
#define SOLERA_BOTH(NAME, PARAMETERS_F, PARAMETERS_D, ARGUMENTS) \
  void NAME##_f PARAMETERS_F { NAME##_t ARGUMENTS; }             \
  void NAME##_d PARAMETERS_D { NAME##_t ARGUMENTS; }
SOLERA_BOTH(keep_drawn, (const std::uint32_t* u, std::uint32_t t, float c, std::int64_t n, float* v),
            (const std::uint32_t* u, std::uint32_t t, double c, std::int64_t n, double* v), (u, t, c, n, v))
SOLERA_BOTH(add_drawn, (const std::uint32_t* u, std::uint32_t t, float c, const float* v, std::int64_t n, float* sum),
            (const std::uint32_t* u, std::uint32_t t, double c, const double* v, std::int64_t n, double* sum),
            (u, t, c, v, n, sum))
SOLERA_BOTH(keep_drawn_each, (const std::uint32_t* u, const std::uint32_t* t, std::int64_t n, float* v),
            (const std::uint32_t* u, const std::uint32_t* t, std::int64_t n, double* v), (u, t, n, v))
#undef SOLERA_BOTH

}  // namespace solera::weights::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace solera::weights {

namespace {
HWY_EXPORT(draw_blocks);
HWY_EXPORT(keep_drawn_f);
HWY_EXPORT(keep_drawn_d);
HWY_EXPORT(add_drawn_f);
HWY_EXPORT(add_drawn_d);
HWY_EXPORT(keep_drawn_each_f);
HWY_EXPORT(keep_drawn_each_d);

constexpr std::int64_t kPiece = 1024;

// Calls use(draws, at, count) for the draws of elements [first, first + n), a piece that stays in cache at a time.
template <class Use>
void for_draws(const RandomStream& stream, std::int64_t first, std::int64_t n, Use use) {
  std::array<std::uint32_t, kPiece + 72> words;  // up to 3 before the piece, and a vector's surplus
  for (std::int64_t at = 0; at < n; at += kPiece) {
    const std::int64_t count = std::min(kPiece, n - at), skip = (first + at) % 4;
    HWY_DYNAMIC_DISPATCH(draw_blocks)
    (stream.key().data(), static_cast<std::uint64_t>(first + at) / 4, (skip + count + 3) / 4, words.data());
    use(words.data() + skip, at, count);
  }
}

}  // namespace

#define SOLERA_DISPATCH(NAME, ...)               \
  if constexpr (sizeof(T) == 4)                  \
    HWY_DYNAMIC_DISPATCH(NAME##_f)(__VA_ARGS__); \
  else                                           \
    HWY_DYNAMIC_DISPATCH(NAME##_d)(__VA_ARGS__)

std::uint32_t draw_threshold(double p) {
  return static_cast<std::uint32_t>(std::min(std::max(0.0, p) * 0x1p32, 0x1p32 - 1));
}

template <class T>
void keep_top(std::span<T> values, std::int64_t k) {
  const Cut<T> cut = select_cut(std::span<const T>(values), k);
  keep_between(Cut<T>{}, cut, 0, 0, static_cast<std::int64_t>(values.size()), values.data());
}

template <class T>
void keep_random(const RandomStream& stream, double p, std::int64_t first, std::span<T> values, T c) {
  const auto n = static_cast<std::int64_t>(values.size());
  if (p >= 1) {
    if (c != 1) scaled_sum(c, values.data(), T(0), values.data(), n, values.data());
    return;
  }
  const std::uint32_t threshold = draw_threshold(p);
  for_draws(stream, first, n, [&](const std::uint32_t* draws, std::int64_t at, std::int64_t count) {
    SOLERA_DISPATCH(keep_drawn, draws, threshold, c, count, values.data() + at);
  });
}

template <class T>
void add_random(const RandomStream& stream, double p, std::int64_t first, T c, std::span<const T> values, T* sum) {
  const auto n = static_cast<std::int64_t>(values.size());
  if (p >= 1) return add_scaled(c, values.data(), n, sum);
  const std::uint32_t threshold = draw_threshold(p);
  for_draws(stream, first, n, [&](const std::uint32_t* draws, std::int64_t at, std::int64_t count) {
    SOLERA_DISPATCH(add_drawn, draws, threshold, c, values.data() + at, count, sum + at);
  });
}

template <class T>
void keep_below(const RandomStream& stream, std::span<const std::uint32_t> thresholds, std::int64_t first,
                std::span<T> values) {
  for_draws(stream, first, static_cast<std::int64_t>(values.size()),
            [&](const std::uint32_t* draws, std::int64_t at, std::int64_t count) {
              SOLERA_DISPATCH(keep_drawn_each, draws, thresholds.data() + at, count, values.data() + at);
            });
}

#define SOLERA_INSTANTIATE(T)                                                                        \
  template void keep_top<T>(std::span<T>, std::int64_t);                                             \
  template void keep_random<T>(const RandomStream&, double, std::int64_t, std::span<T>, T);          \
  template void add_random<T>(const RandomStream&, double, std::int64_t, T, std::span<const T>, T*); \
  template void keep_below<T>(const RandomStream&, std::span<const std::uint32_t>, std::int64_t, std::span<T>)
SOLERA_INSTANTIATE(float);
SOLERA_INSTANTIATE(double);
#undef SOLERA_INSTANTIATE

}  // namespace solera::weights
#endif  // HWY_ONCE
