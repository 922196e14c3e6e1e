#include "solera/weights/elements.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "solera/base/error.h"
#include "solera/weights/simd.h"
#include "solera/weights/vector.h"
#include "solera/weights/widths.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "solera/weights/elements.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace solera::weights::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Halves are unpacked and packed by integer arithmetic, the same on every target; hardware conversions are not used
// because their rounding and NaN payloads differ between instruction sets.

template <class D>
using Words = hn::Rebind<std::uint32_t, D>;

// bfloat16: the upper half of a float32.
struct BFloat16 {
  static constexpr std::uint16_t kInfinity = 0x7F80;
  template <class DU, class V>
  static V unpack(DU du, V h) {
    (void)du;
    return hn::ShiftLeft<16>(h);
  }
  template <class DU, class V>
  static V pack(DU du, V bits) {
    const V odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
    const V rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFFu))));
    const V quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(du, 0x40u));
    const auto nan = hn::Gt(hn::And(bits, hn::Set(du, 0x7FFFFFFFu)), hn::Set(du, 0x7F800000u));
    return hn::IfThenElse(nan, quiet, rounded);
  }
};

// IEEE half: 5 exponent bits, 10 of fraction.
struct Half {
  static constexpr std::uint16_t kInfinity = 0x7C00;
  template <class DU, class V>
  static V unpack(DU du, V h) {
    const hn::Rebind<float, DU> df;
    const V sign = hn::ShiftLeft<16>(hn::And(h, hn::Set(du, 0x8000u)));
    const V magnitude = hn::And(h, hn::Set(du, 0x7FFFu));
    // As float32 bits the value is too small by 2^112; the product is exact, subnormal halves included.
    const auto scaled = hn::Mul(hn::BitCast(df, hn::ShiftLeft<13>(magnitude)), hn::Set(df, 0x1p112f));
    const V special = hn::Or(hn::ShiftLeft<13>(magnitude), hn::Set(du, 0x7F800000u));
    const auto is_special = hn::Gt(magnitude, hn::Set(du, 0x7BFFu));
    return hn::Or(sign, hn::IfThenElse(is_special, special, hn::BitCast(du, scaled)));
  }
  template <class DU, class V>
  static V pack(DU du, V bits) {
    const hn::Rebind<float, DU> df;
    const V sign = hn::ShiftRight<16>(hn::And(bits, hn::Set(du, 0x80000000u)));
    const V magnitude = hn::And(bits, hn::Set(du, 0x7FFFFFFFu));
    // Below 2^-14 the sum with 1/2 leaves the half's subnormal bits, rounded, at the end of the fraction.
    const auto small_sum = hn::Add(hn::BitCast(df, magnitude), hn::Set(df, 0.5f));
    const V subnormal = hn::Sub(hn::BitCast(du, small_sum), hn::Set(du, 0x3F000000u));
    const V odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du, 1u));
    const V rebased = hn::Add(hn::Sub(magnitude, hn::Set(du, 0x38000000u)), hn::Add(odd, hn::Set(du, 0xFFFu)));
    V half = hn::IfThenElse(hn::Gt(hn::Set(du, 0x38800000u), magnitude), subnormal, hn::ShiftRight<13>(rebased));
    half = hn::IfThenElse(hn::Gt(magnitude, hn::Set(du, 0x477FEFFFu)), hn::Set(du, 0x7C00u), half);
    half = hn::IfThenElse(hn::Gt(magnitude, hn::Set(du, 0x7F800000u)), hn::Set(du, 0x7E00u), half);
    return hn::Or(sign, half);
  }
};

// Tiles of several files are read in turn, so the hardware meets a new page at each: the next page of the same file is
// asked for while this one is unpacked, into the second level, so as not to crowd the tiles out of the first. A
// prefetch past the end does nothing.
constexpr std::size_t kAhead = 4096;

// target = finish(values, where they begin).
template <class Coding, class Finish>
HWY_INLINE bool load_halves(const std::byte* source, std::size_t n, float* HWY_RESTRICT target, Finish finish) {
  const hn::ScalableTag<float> df;
  const hn::RebindToUnsigned<decltype(df)> du;
  const hn::Rebind<std::uint16_t, decltype(df)> dh;
  const std::size_t lanes = hn::Lanes(df);
  const auto magnitude = hn::Set(dh, std::uint16_t{0x7FFF});
  auto largest = hn::Zero(dh);
  const auto* halves = reinterpret_cast<const std::uint16_t*>(source);
  std::size_t i = 0;
  const auto unpacked = [&](const std::uint16_t* from) {
    const auto codes = hn::LoadU(dh, from);
    largest = hn::Max(largest, hn::And(codes, magnitude));
    return hn::BitCast(df, Coding::unpack(du, hn::PromoteTo(du, codes)));
  };
  const auto step = [&](std::size_t at) { hn::StoreU(finish(df, unpacked(halves + at), at), df, target + at); };
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    __builtin_prefetch(halves + i + kAhead, 0, 2);
    step(i);
    step(i + lanes);
  }
  if (i + lanes <= n) {
    step(i);
    i += lanes;
  }
  if (i < n) {
    std::uint16_t in[HWY_MAX_BYTES / 4] = {};
    float out[HWY_MAX_BYTES / 4];
    std::memcpy(in, source + 2 * i, 2 * (n - i));
    hn::StoreU(unpacked(in), df, out);
    const hn::CappedTag<float, 1> d1;
    for (std::size_t j = 0; i < n; ++i, ++j) hn::StoreU(finish(d1, hn::LoadU(d1, out + j), i), d1, target + i);
  }
  return hn::AllTrue(dh, hn::Lt(largest, hn::Set(dh, Coding::kInfinity)));
}

template <class Coding>
void store_halves(const float* HWY_RESTRICT source, std::size_t n, std::byte* target) {
  const hn::ScalableTag<float> df;
  const hn::RebindToUnsigned<decltype(df)> du;
  const hn::RebindToSigned<decltype(df)> di;
  const hn::Rebind<std::uint16_t, decltype(df)> dh;
  const std::size_t lanes = hn::Lanes(df);
  auto* halves = reinterpret_cast<std::uint16_t*>(target);
  std::size_t i = 0;
  const auto step = [&](const float* from, std::uint16_t* to) {
    const auto packed = Coding::pack(du, hn::BitCast(du, hn::LoadU(df, from)));
    hn::StoreU(hn::DemoteTo(dh, hn::BitCast(di, packed)), dh, to);  // saturating, and packed < 2^16
  };
  for (; i + lanes <= n; i += lanes) step(source + i, halves + i);
  if (i < n) {
    float in[HWY_MAX_BYTES / 4] = {};
    std::uint16_t out[HWY_MAX_BYTES / 4];
    std::memcpy(in, source + i, 4 * (n - i));
    step(in, out);
    std::memcpy(target + 2 * i, out, 2 * (n - i));
  }
}

// Copies and looks for exponents of all ones on the way.
template <class Finish>
HWY_INLINE bool load_singles(const std::byte* source, std::size_t n, float* HWY_RESTRICT target, Finish finish) {
  const hn::ScalableTag<float> df;
  const hn::RebindToUnsigned<decltype(df)> du;
  const std::size_t lanes = hn::Lanes(df);
  const auto magnitude = hn::Set(du, 0x7FFFFFFFu);
  auto largest = hn::Zero(du);
  const auto* in = reinterpret_cast<const std::uint32_t*>(source);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto bits = hn::LoadU(du, in + i);
    largest = hn::Max(largest, hn::And(bits, magnitude));
    hn::StoreU(finish(df, hn::BitCast(df, bits), i), df, target + i);
  }
  bool finite = hn::AllTrue(du, hn::Lt(largest, hn::Set(du, 0x7F800000u)));
  const hn::CappedTag<float, 1> d1;
  for (; i < n; ++i) {
    float value;
    std::memcpy(&value, source + 4 * i, 4);
    finite = finite && std::isfinite(value);
    hn::StoreU(finish(d1, hn::Set(d1, value), i), d1, target + i);
  }
  return finite;
}

struct Plain {
  template <class D, class V>
  HWY_INLINE V operator()(D, V v, std::size_t) const {
    return v;
  }
};
struct Minus {
  const float* base;
  template <class D, class V>
  HWY_INLINE V operator()(D d, V v, std::size_t i) const {
    return hn::Sub(v, hn::LoadU(d, base + i));
  }
};

bool load_bf16(const std::byte* source, std::size_t n, float* target) {
  return load_halves<BFloat16>(source, n, target, Plain());
}
bool load_f16(const std::byte* source, std::size_t n, float* target) {
  return load_halves<Half>(source, n, target, Plain());
}
bool load_f32(const std::byte* source, std::size_t n, float* target) {
  return load_singles(source, n, target, Plain());
}
bool change_bf16(const std::byte* source, const float* base, std::size_t n, float* target) {
  return load_halves<BFloat16>(source, n, target, Minus{base});
}
bool change_f16(const std::byte* source, const float* base, std::size_t n, float* target) {
  return load_halves<Half>(source, n, target, Minus{base});
}
bool change_f32(const std::byte* source, const float* base, std::size_t n, float* target) {
  return load_singles(source, n, target, Minus{base});
}
void store_bf16(const float* source, std::size_t n, std::byte* target) { store_halves<BFloat16>(source, n, target); }
void store_f16(const float* source, std::size_t n, std::byte* target) { store_halves<Half>(source, n, target); }

}  // namespace solera::weights::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace solera::weights {

HWY_EXPORT(load_bf16);
HWY_EXPORT(load_f16);
HWY_EXPORT(load_f32);
HWY_EXPORT(change_bf16);
HWY_EXPORT(change_f16);
HWY_EXPORT(change_f32);
HWY_EXPORT(store_bf16);
HWY_EXPORT(store_f16);

namespace {

// F8 has 256 values: unpacking is a table, packing a search by rounding in float32.
// E4M3 (the "fn" form): no infinity, NaN is S.1111.111, largest 448. E5M2: an IEEE half cut to its upper byte.
float f8_e4m3_value(std::uint8_t code) {
  const int exponent = (code >> 3) & 15, fraction = code & 7;
  float value = exponent ? std::ldexp(1.0f + static_cast<float>(fraction) / 8.0f, exponent - 7)
                         : std::ldexp(static_cast<float>(fraction) / 8.0f, -6);
  if ((code & 0x7F) == 0x7F) value = std::numeric_limits<float>::quiet_NaN();
  return code & 0x80 ? -value : value;
}

float f8_e5m2_value(std::uint8_t code) {
  const int exponent = (code >> 2) & 31, fraction = code & 3;
  float value = exponent ? std::ldexp(1.0f + static_cast<float>(fraction) / 4.0f, exponent - 15)
                         : std::ldexp(static_cast<float>(fraction) / 4.0f, -14);
  if (exponent == 31)
    value = fraction ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  return code & 0x80 ? -value : value;
}

using F8Table = std::array<float, 256>;
const F8Table& f8_table(DType dtype) {
  static const std::array<F8Table, 2> tables = [] {
    std::array<F8Table, 2> result;
    for (int code = 0; code < 256; ++code) {
      result[0][static_cast<std::size_t>(code)] = f8_e4m3_value(static_cast<std::uint8_t>(code));
      result[1][static_cast<std::size_t>(code)] = f8_e5m2_value(static_cast<std::uint8_t>(code));
    }
    return result;
  }();
  return tables[dtype == DType::kF8E4M3 ? 0 : 1];
}

// Rounds a magnitude to `fraction_bits` below its leading bit, or to the subnormal step, to nearest even; gives the
// code.
template <class T>
std::uint8_t f8_code(DType dtype, T value) {
  const bool e4m3 = dtype == DType::kF8E4M3;
  const int fraction_bits = e4m3 ? 3 : 2, least = e4m3 ? -6 : -14, bias = e4m3 ? 7 : 15;
  const auto sign = static_cast<std::uint8_t>(std::signbit(value) ? 0x80 : 0);
  if (std::isnan(value)) return static_cast<std::uint8_t>(sign | 0x7F);
  T magnitude = std::abs(value);
  const std::uint8_t overflow = e4m3 ? 0x7F : 0x7C;
  if (magnitude > T(65536)) return static_cast<std::uint8_t>(sign | overflow);
  if (magnitude == 0) return sign;
  int exponent = std::max(std::ilogb(magnitude), least);
  auto steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, fraction_bits - exponent)));
  if (steps == (2 << fraction_bits)) {
    steps >>= 1;
    ++exponent;
  }
  const bool subnormal = steps < (1 << fraction_bits);
  const int code = subnormal ? steps : ((exponent + bias) << fraction_bits) + (steps - (1 << fraction_bits));
  return static_cast<std::uint8_t>(sign | std::min(code, static_cast<int>(overflow)));
}

template <class Stored, class T>
bool load_plain(const std::byte* source, std::int64_t n, T* target) {
  bool finite = true;
  for (std::int64_t i = 0; i < n; ++i) {
    Stored value;
    std::memcpy(&value, source + static_cast<std::size_t>(i) * sizeof(Stored), sizeof(Stored));
    target[i] = static_cast<T>(value);
    finite = finite && std::isfinite(target[i]);
  }
  return finite;
}

template <class Stored, class T>
void store_plain(const T* source, std::int64_t n, std::byte* target) {
  for (std::int64_t i = 0; i < n; ++i) {
    const auto value = static_cast<Stored>(source[i]);
    std::memcpy(target + static_cast<std::size_t>(i) * sizeof(Stored), &value, sizeof(Stored));
  }
}

template <class T>
bool load_rare(DType dtype, const std::byte* source, std::int64_t n, T* target) {
  switch (dtype) {
    case DType::kF64:
      return load_plain<double>(source, n, target);
    case DType::kF32:
      return load_plain<float>(source, n, target);
    case DType::kI64:
      return load_plain<std::int64_t>(source, n, target);
    case DType::kI32:
      return load_plain<std::int32_t>(source, n, target);
    case DType::kI16:
      return load_plain<std::int16_t>(source, n, target);
    case DType::kI8:
      return load_plain<std::int8_t>(source, n, target);
    case DType::kU64:
      return load_plain<std::uint64_t>(source, n, target);
    case DType::kU32:
      return load_plain<std::uint32_t>(source, n, target);
    case DType::kU16:
      return load_plain<std::uint16_t>(source, n, target);
    case DType::kU8:
    case DType::kBool:
      return load_plain<std::uint8_t>(source, n, target);
    case DType::kF8E4M3:
    case DType::kF8E5M2: {
      const F8Table& table = f8_table(dtype);
      bool finite = true;
      for (std::int64_t i = 0; i < n; ++i) {
        const float value = table[static_cast<std::size_t>(source[i])];
        finite = finite && std::isfinite(value);
        target[i] = value;
      }
      return finite;
    }
    default:
      throw internal_error(cat("elements of type ", checkpoint::name(dtype), " have no value"));
  }
}

template <class T>
void store_rare(DType dtype, const T* source, std::int64_t n, std::byte* target) {
  switch (dtype) {
    case DType::kF64:
      return store_plain<double>(source, n, target);
    case DType::kF32:
      return store_plain<float>(source, n, target);
    case DType::kF8E4M3:
    case DType::kF8E5M2:
      for (std::int64_t i = 0; i < n; ++i) target[i] = static_cast<std::byte>(f8_code(dtype, source[i]));
      return;
    default:
      throw internal_error(cat("results are not stored as ", checkpoint::name(dtype)));
  }
}

constexpr std::int64_t kPiece = 1024;

}  // namespace

bool load(DType dtype, const std::byte* source, std::int64_t n, float* target) {
  const auto count = static_cast<std::size_t>(n);
  switch (dtype) {
    case DType::kBF16:
      return HWY_DYNAMIC_DISPATCH(load_bf16)(source, count, target);
    case DType::kF16:
      return HWY_DYNAMIC_DISPATCH(load_f16)(source, count, target);
    case DType::kF32:
      return HWY_DYNAMIC_DISPATCH(load_f32)(source, count, target);
    default:
      return load_rare(dtype, source, n, target);
  }
}

namespace {

bool is_half(DType dtype) { return dtype == DType::kBF16 || dtype == DType::kF16; }

// use(values, first, count) for halves as float32, piece by piece. Are all finite?
template <class Use>
bool for_pieces(DType dtype, const std::byte* source, std::int64_t n, Use use) {
  bool finite = true;
  float piece[kPiece];
  for (std::int64_t i = 0; i < n; i += kPiece) {
    const std::int64_t count = std::min(kPiece, n - i);
    finite = load(dtype, source + 2 * i, count, piece) && finite;
    use(piece, i, count);
  }
  return finite;
}

}  // namespace

bool load(DType dtype, const std::byte* source, std::int64_t n, double* target) {
  if (!is_half(dtype)) return load_rare(dtype, source, n, target);
  return for_pieces(dtype, source, n,
                    [&](const float* piece, std::int64_t i, std::int64_t count) { widen(piece, count, target + i); });
}

bool load_change(DType dtype, const std::byte* source, const float* base, std::int64_t n, float* target) {
  const auto count = static_cast<std::size_t>(n);
  switch (dtype) {
    case DType::kBF16:
      return HWY_DYNAMIC_DISPATCH(change_bf16)(source, base, count, target);
    case DType::kF16:
      return HWY_DYNAMIC_DISPATCH(change_f16)(source, base, count, target);
    case DType::kF32:
      return HWY_DYNAMIC_DISPATCH(change_f32)(source, base, count, target);
    default: {
      const bool finite = load_rare(dtype, source, n, target);
      difference(target, base, n, target);
      return finite;
    }
  }
}

bool load_change(DType dtype, const std::byte* source, const double* base, std::int64_t n, double* target) {
  const auto less_base = [&](const float* piece, std::int64_t i, std::int64_t count) {
    widen_change(piece, base + i, count, target + i);
  };
  if (is_half(dtype)) return for_pieces(dtype, source, n, less_base);
  const bool finite = load(dtype, source, n, target);
  difference(target, base, n, target);
  return finite;
}

void store(DType dtype, const float* source, std::int64_t n, std::byte* target) {
  const auto count = static_cast<std::size_t>(n);
  switch (dtype) {
    case DType::kBF16:
      return HWY_DYNAMIC_DISPATCH(store_bf16)(source, count, target);
    case DType::kF16:
      return HWY_DYNAMIC_DISPATCH(store_f16)(source, count, target);
    case DType::kF32:
      if (n > 0) std::memcpy(target, source, 4 * count);
      return;
    default:
      return store_rare(dtype, source, n, target);
  }
}

void store(DType dtype, const double* source, std::int64_t n, std::byte* target) {
  if (!is_half(dtype)) return store_rare(dtype, source, n, target);
  float piece[kPiece];
  for (std::int64_t i = 0; i < n; i += kPiece) {
    const std::int64_t count = std::min(kPiece, n - i);
    narrow_to_odd(source + i, count, piece);
    store(dtype, piece, count, target + 2 * i);
  }
}

namespace {

template <class T>
void round_through(DType dtype, T* values, std::int64_t n) {
  if (dtype == DType::kF64 || (dtype == DType::kF32 && sizeof(T) == 4)) return;
  std::byte piece[kPiece * 8];
  for (std::int64_t i = 0; i < n; i += kPiece) {
    const std::int64_t count = std::min(kPiece, n - i);
    store(dtype, values + i, count, piece);
    load(dtype, piece, count, values + i);
  }
}

}  // namespace

void round_to(DType dtype, float* values, std::int64_t n) { round_through(dtype, values, n); }
void round_to(DType dtype, double* values, std::int64_t n) { round_through(dtype, values, n); }

std::vector<std::string> simd_targets() {
  std::vector<std::string> names;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) names.emplace_back(hwy::TargetName(target));
  return names;
}

void pin_simd_target(const std::string& target) {
  hwy::SetSupportedTargetsForTest(0);
  if (!target.empty()) {
    std::int64_t wanted = 0;
    for (const std::int64_t known : hwy::SupportedAndGeneratedTargets())
      if (target == hwy::TargetName(known)) wanted = known;
    if (wanted == 0) throw usage_error(cat("no SIMD target ", target, " on this CPU"));
    hwy::SetSupportedTargetsForTest(wanted);
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace solera::weights
#endif  // HWY_ONCE
