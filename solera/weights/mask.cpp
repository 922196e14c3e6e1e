#include "solera/weights/mask.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "solera/weights/simd.h"
#include "solera/weights/vector.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "solera/weights/mask.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "solera/weights/sweep.inc"

HWY_BEFORE_NAMESPACE();
namespace solera::weights::HWY_NAMESPACE {

// Is each of the upper halves from `u` on below the threshold, as a mask for values of T?
template <class T, class V>
HWY_INLINE auto are_below(hn::ScalableTag<T> d, const std::uint16_t* u, V threshold) {
  const hn::RebindToUnsigned<decltype(d)> bits;
  const hn::Rebind<std::uint16_t, decltype(d)> halves;
  if constexpr (sizeof(T) == 4) {
    return hn::RebindMask(d, hn::Lt(hn::PromoteTo(bits, hn::LoadU(halves, u)), threshold));
  } else {
    const hn::Rebind<std::uint32_t, decltype(d)> words;
    return hn::RebindMask(d, hn::Lt(hn::PromoteTo(bits, hn::PromoteTo(words, hn::LoadU(halves, u))), threshold));
  }
}

template <class T>
void keep_drawn_t(const std::uint16_t* draws, std::uint32_t threshold, T c, std::int64_t n, T* v) {
  const hn::ScalableTag<T> d;
  const auto factor = hn::Set(d, c);
  const auto below = hn::Set(hn::RebindToUnsigned<decltype(d)>(), threshold);
  sweep(
      d, n,
      [&](std::int64_t i) HWY_ATTR {
        const auto scaled = hn::Mul(factor, hn::LoadU(d, v + i));
        hn::StoreU(hn::IfThenElseZero(are_below<T>(d, draws + i, below), scaled), d, v + i);
      },
      [&](std::int64_t i) { v[i] = draws[i] < threshold ? c * v[i] : T(0); });
}

template <class T>
void add_drawn_t(const std::uint16_t* draws, std::uint32_t threshold, T c, const T* v, std::int64_t n, T* sum) {
  const hn::ScalableTag<T> d;
  const auto factor = hn::Set(d, c);
  const auto below = hn::Set(hn::RebindToUnsigned<decltype(d)>(), threshold);
  sweep(
      d, n,
      [&](std::int64_t i) HWY_ATTR {
        const auto kept = hn::IfThenElseZero(are_below<T>(d, draws + i, below), hn::LoadU(d, v + i));
        hn::StoreU(hn::Add(hn::LoadU(d, sum + i), hn::Mul(factor, kept)), d, sum + i);
      },
      [&](std::int64_t i) { sum[i] = sum[i] + c * (draws[i] < threshold ? v[i] : T(0)); });
}

// The first of the halves that has the value, or n.
std::int64_t find_half(const std::uint16_t* halves, std::int64_t n, std::uint16_t value) {
  const hn::ScalableTag<std::uint16_t> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto wanted = hn::Set(d, value);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const std::intptr_t found = hn::FindFirstTrue(d, hn::Eq(hn::LoadU(d, halves + i), wanted));
    if (found >= 0) return i + found;
  }
  while (i < n && halves[i] != value) ++i;
  return i;
}

// One bit a value: is it not 0?
template <class T>
void note_nonzero_t(const T* v, std::int64_t n, std::uint8_t* bits) {
  const hn::ScalableTag<T> d;
  std::fill_n(bits, (n + 7) / 8, std::uint8_t{0});
  const auto single = [&](std::int64_t i) {
    bits[i / 8] = static_cast<std::uint8_t>(bits[i / 8] | unsigned{v[i] != 0} << i % 8);
  };
  if (hn::Lanes(d) % 8 != 0) {
    for (std::int64_t i = 0; i < n; ++i) single(i);
    return;
  }
  sweep(
      d, n,
      [&](std::int64_t i) HWY_ATTR { hn::StoreMaskBits(d, hn::Ne(hn::LoadU(d, v + i), hn::Zero(d)), bits + i / 8); },
      single);
}

template <class T>
void keep_noted_t(const std::uint8_t* bits, T c, std::int64_t n, T* v) {
  const hn::ScalableTag<T> d;
  const auto factor = hn::Set(d, c);
  const auto single = [&](std::int64_t i) { v[i] = bits[i / 8] >> i % 8 & 1 ? c * v[i] : T(0); };
  if (hn::Lanes(d) % 8 != 0) {
    for (std::int64_t i = 0; i < n; ++i) single(i);
    return;
  }
  sweep(
      d, n,
      [&](std::int64_t i) HWY_ATTR {
        std::uint8_t room[8] = {};  // LoadMaskBits may read so many
        std::memcpy(room, bits + i / 8, hn::Lanes(d) / 8);
        const auto scaled = hn::Mul(factor, hn::LoadU(d, v + i));
        hn::StoreU(hn::IfThenElseZero(hn::LoadMaskBits(d, room), scaled), d, v + i);
      },
      single);
}

// Highway exports plain functions: one name a type.
#define SOLERA_BOTH(NAME, PARAMETERS_F, PARAMETERS_D, ARGUMENTS) \
  void NAME##_f PARAMETERS_F { NAME##_t ARGUMENTS; }             \
  void NAME##_d PARAMETERS_D { NAME##_t ARGUMENTS; }
SOLERA_BOTH(keep_drawn, (const std::uint16_t* u, std::uint32_t t, float c, std::int64_t n, float* v),
            (const std::uint16_t* u, std::uint32_t t, double c, std::int64_t n, double* v), (u, t, c, n, v))
SOLERA_BOTH(add_drawn, (const std::uint16_t* u, std::uint32_t t, float c, const float* v, std::int64_t n, float* sum),
            (const std::uint16_t* u, std::uint32_t t, double c, const double* v, std::int64_t n, double* sum),
            (u, t, c, v, n, sum))
SOLERA_BOTH(note_nonzero, (const float* v, std::int64_t n, std::uint8_t* bits),
            (const double* v, std::int64_t n, std::uint8_t* bits), (v, n, bits))
SOLERA_BOTH(keep_noted, (const std::uint8_t* bits, float c, std::int64_t n, float* v),
            (const std::uint8_t* bits, double c, std::int64_t n, double* v), (bits, c, n, v))
#undef SOLERA_BOTH

}  // namespace solera::weights::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace solera::weights {

namespace {
HWY_EXPORT(find_half);
HWY_EXPORT(keep_drawn_f);
HWY_EXPORT(keep_drawn_d);
HWY_EXPORT(add_drawn_f);
HWY_EXPORT(add_drawn_d);
HWY_EXPORT(note_nonzero_f);
HWY_EXPORT(note_nonzero_d);
HWY_EXPORT(keep_noted_f);
HWY_EXPORT(keep_noted_d);

constexpr std::int64_t kPiece = 1024;

// Calls use(upper halves, bound, at, count) for elements [first, first + n), a piece that stays in cache at a time: the
// draws below `threshold` are those whose halves are below the bound. Halves that alone cannot tell are made to.
template <class Use>
void for_draws(const RandomStream& stream, std::uint32_t threshold, std::int64_t first, std::int64_t n, Use use) {
  std::array<std::uint16_t, kPiece> halves;
  const std::uint32_t tied = threshold >> 16, bound = std::max(tied, std::uint32_t{1});
  for (std::int64_t at = 0; at < n; at += kPiece) {
    const std::int64_t count = std::min(kPiece, n - at);
    upper_halves(stream, first + at, {halves.data(), static_cast<std::size_t>(count)});
    for (std::int64_t i = 0;; ++i) {
      i += HWY_DYNAMIC_DISPATCH(find_half)(halves.data() + i, count - i, static_cast<std::uint16_t>(tied));
      if (i == count) break;
      std::uint16_t& half = halves[static_cast<std::size_t>(i)];
      half = is_below(stream, first + at + i, half, threshold) ? 0 : 0xFFFF;
    }
    use(halves.data(), bound, at, count);
  }
}

}  // namespace

#define SOLERA_DISPATCH(NAME, ...)               \
  if constexpr (sizeof(T) == 4)                  \
    HWY_DYNAMIC_DISPATCH(NAME##_f)(__VA_ARGS__); \
  else                                           \
    HWY_DYNAMIC_DISPATCH(NAME##_d)(__VA_ARGS__)

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
  for_draws(stream, draw_threshold(p), first, n,
            [&](const std::uint16_t* draws, std::uint32_t bound, std::int64_t at, std::int64_t count) {
              SOLERA_DISPATCH(keep_drawn, draws, bound, c, count, values.data() + at);
            });
}

template <class T>
void add_random(const RandomStream& stream, double p, std::int64_t first, T c, std::span<const T> values, T* sum) {
  const auto n = static_cast<std::int64_t>(values.size());
  if (p >= 1) return add_scaled(c, values.data(), n, sum);
  for_draws(stream, draw_threshold(p), first, n,
            [&](const std::uint16_t* draws, std::uint32_t bound, std::int64_t at, std::int64_t count) {
              SOLERA_DISPATCH(add_drawn, draws, bound, c, values.data() + at, count, sum + at);
            });
}

template <class T>
void note_nonzero(std::span<const T> values, std::uint8_t* bits) {
  SOLERA_DISPATCH(note_nonzero, values.data(), std::ssize(values), bits);
}

template <class T>
void keep_noted(const std::uint8_t* bits, T c, std::span<T> values) {
  SOLERA_DISPATCH(keep_noted, bits, c, std::ssize(values), values.data());
}

#define SOLERA_INSTANTIATE(T)                                                                        \
  template void keep_top<T>(std::span<T>, std::int64_t);                                             \
  template void keep_random<T>(const RandomStream&, double, std::int64_t, std::span<T>, T);          \
  template void add_random<T>(const RandomStream&, double, std::int64_t, T, std::span<const T>, T*); \
  template void note_nonzero<T>(std::span<const T>, std::uint8_t*);                                  \
  template void keep_noted<T>(const std::uint8_t*, T, std::span<T>)
SOLERA_INSTANTIATE(float);
SOLERA_INSTANTIATE(double);
#undef SOLERA_INSTANTIATE

}  // namespace solera::weights
#endif  // HWY_ONCE
