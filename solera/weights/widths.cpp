#include "solera/weights/widths.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "solera/weights/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "solera/weights/widths.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "solera/weights/sweep.inc"

#ifndef SOLERA_WEIGHTS_WIDTHS_ONCE
#define SOLERA_WEIGHTS_WIDTHS_ONCE
namespace solera::weights {
inline float to_odd(double value) {
  auto result = static_cast<float>(value);
  if (std::isfinite(result) && static_cast<double>(result) != value) {
    auto bits = std::bit_cast<std::uint32_t>(result);
    if (std::abs(static_cast<double>(result)) > std::abs(value)) --bits;
    result = std::bit_cast<float>(bits | 1u);
  } else if (std::isinf(result) && std::isfinite(value)) {
    result = std::copysign(std::numeric_limits<float>::max(), result);
  }
  return result;
}
}  // namespace solera::weights
#endif

HWY_BEFORE_NAMESPACE();
namespace solera::weights::HWY_NAMESPACE {

void widen_all(const float* source, std::int64_t n, double* target) {
  const hn::ScalableTag<double> d;
  sweep(
      d, n, [&](std::int64_t i) HWY_ATTR { hn::StoreU(load_double(d, source + i), d, target + i); },
      [&](std::int64_t i) { target[i] = static_cast<double>(source[i]); });
}

void widen_all_less(const float* source, const double* base, std::int64_t n, double* target) {
  const hn::ScalableTag<double> d;
  sweep(
      d, n,
      [&](std::int64_t i)
          HWY_ATTR { hn::StoreU(hn::Sub(load_double(d, source + i), hn::LoadU(d, base + i)), d, target + i); },
      [&](std::int64_t i) { target[i] = static_cast<double>(source[i]) - base[i]; });
}

// Of a double that float32's exponent has room for, the bits below float32's last one become that one.
void narrow_all(const double* source, std::int64_t n, float* target) {
  const hn::ScalableTag<double> d;
  const hn::RebindToUnsigned<decltype(d)> bits;
  const hn::Rebind<float, decltype(d)> half;
  constexpr std::uint64_t kLast = 1ull << 29;
  const auto below = hn::Set(bits, kLast - 1), last = hn::Set(bits, kLast);
  const auto least = hn::Set(d, 0x1p-126), most = hn::Set(d, 0x1p+128);
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  sweep(
      d, n,
      [&](std::int64_t i) HWY_ATTR {
        const auto value = hn::LoadU(d, source + i);
        const auto magnitude = hn::Abs(value);
        const auto normal = hn::And(hn::Ge(magnitude, least), hn::Lt(magnitude, most));
        if (!hn::AllTrue(d, hn::Or(normal, hn::Eq(value, hn::Zero(d))))) {
          for (std::int64_t k = i; k < i + lanes; ++k) target[k] = to_odd(source[k]);
          return;
        }
        const auto word = hn::BitCast(bits, value), rest = hn::And(word, below);
        const auto odd = hn::IfThenZeroElse(hn::Eq(rest, hn::Zero(bits)), last);
        const auto exact = hn::BitCast(d, hn::Or(hn::Xor(word, rest), odd));
        hn::StoreU(hn::DemoteTo(half, exact), half, target + i);
      },
      [&](std::int64_t i) { target[i] = to_odd(source[i]); });
}

}  // namespace solera::weights::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace solera::weights {

HWY_EXPORT(widen_all);
HWY_EXPORT(widen_all_less);
HWY_EXPORT(narrow_all);

void widen(const float* source, std::int64_t n, double* target) { HWY_DYNAMIC_DISPATCH(widen_all)(source, n, target); }
void widen_change(const float* source, const double* base, std::int64_t n, double* target) {
  HWY_DYNAMIC_DISPATCH(widen_all_less)(source, base, n, target);
}
void narrow_to_odd(const double* source, std::int64_t n, float* target) {
  HWY_DYNAMIC_DISPATCH(narrow_all)(source, n, target);
}

}  // namespace solera::weights
#endif  // HWY_ONCE
