#include "solera/weights/vector.h"

#include <cmath>
#include <cstddef>
#include <vector>

#include "solera/weights/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "solera/weights/vector.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "solera/weights/sweep.inc"

HWY_BEFORE_NAMESPACE();
namespace solera::weights::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
void weighted_mean_t(const double* coefficients, double divisor, T* const* inputs, std::size_t count, std::int64_t n,
                     T* out) {
  const hn::ScalableTag<double> d;
  const auto by = hn::Set(d, divisor);
  const bool divide = divisor != 1.0;
  sweep(
      d, n,
      [&](std::int64_t i) {
        auto sum = hn::Mul(hn::Set(d, coefficients[0]), load_double(d, inputs[0] + i));
        for (std::size_t k = 1; k < count; ++k)
          sum = hn::Add(sum, hn::Mul(hn::Set(d, coefficients[k]), load_double(d, inputs[k] + i)));
        if (divide) sum = hn::Div(sum, by);
        store_double(d, sum, out + i);
      },
      [&](std::int64_t i) {
        double sum = coefficients[0] * static_cast<double>(inputs[0][i]);
        for (std::size_t k = 1; k < count; ++k) sum = sum + coefficients[k] * static_cast<double>(inputs[k][i]);
        out[i] = static_cast<T>(divide ? sum / divisor : sum);
      });
}

template <class T>
void difference_t(const T* x, const T* base, std::int64_t n, T* out) {
  const hn::ScalableTag<T> d;
  sweep(
      d, n, [&](std::int64_t i) { hn::StoreU(hn::Sub(hn::LoadU(d, x + i), hn::LoadU(d, base + i)), d, out + i); },
      [&](std::int64_t i) { out[i] = x[i] - base[i]; });
}

template <class T>
void add_scaled_t(T c, const T* x, std::int64_t n, T* sum) {
  const hn::ScalableTag<T> d;
  const auto factor = hn::Set(d, c);
  sweep(
      d, n,
      [&](std::int64_t i) {
        hn::StoreU(hn::Add(hn::LoadU(d, sum + i), hn::Mul(factor, hn::LoadU(d, x + i))), d, sum + i);
      },
      [&](std::int64_t i) { sum[i] = sum[i] + c * x[i]; });
}

template <class T>
void scaled_sum_t(T a, const T* x, T b, const T* y, std::int64_t n, T* out) {
  const hn::ScalableTag<T> d;
  const auto fa = hn::Set(d, a), fb = hn::Set(d, b);
  sweep(
      d, n,
      [&](std::int64_t i) {
        hn::StoreU(hn::Add(hn::Mul(fa, hn::LoadU(d, x + i)), hn::Mul(fb, hn::LoadU(d, y + i))), d, out + i);
      },
      [&](std::int64_t i) { out[i] = a * x[i] + b * y[i]; });
}

template <class T>
void keep_band_t(T low, T high, std::int64_t n, T* v) {
  const hn::ScalableTag<T> d;
  const auto lo = hn::Set(d, low), hi = hn::Set(d, high);
  sweep(
      d, n,
      [&](std::int64_t i) {
        const auto value = hn::LoadU(d, v + i);
        const auto magnitude = hn::Abs(value);
        const auto kept = hn::And(hn::Gt(magnitude, lo), hn::Le(magnitude, hi));
        hn::StoreU(hn::IfThenElseZero(kept, value), d, v + i);
      },
      [&](std::int64_t i) {
        const T magnitude = std::abs(v[i]);
        v[i] = magnitude > low && magnitude <= high ? v[i] : T(0);
      });
}

template <class T>
void add_scaled_band_t(T c, T low, T high, const T* v, std::int64_t n, T* sum) {
  const hn::ScalableTag<T> d;
  const auto factor = hn::Set(d, c), lo = hn::Set(d, low), hi = hn::Set(d, high);
  sweep(
      d, n,
      [&](std::int64_t i) {
        const auto value = hn::LoadU(d, v + i);
        const auto magnitude = hn::Abs(value);
        const auto kept = hn::And(hn::Gt(magnitude, lo), hn::Le(magnitude, hi));
        const auto term = hn::Mul(factor, hn::IfThenElseZero(kept, value));
        hn::StoreU(hn::Add(hn::LoadU(d, sum + i), term), d, sum + i);
      },
      [&](std::int64_t i) {
        const T magnitude = std::abs(v[i]);
        sum[i] = sum[i] + c * (magnitude > low && magnitude <= high ? v[i] : T(0));
      });
}

// Where vectors are compressed in a register (AVX-512), doing so always beats a branch that a fifth of them takes and
// no predictor foresees. Those of eight doubles take it less often.
template <class T>
constexpr bool kCompresses = HWY_TARGET <= HWY_AVX3 && sizeof(T) == 4;

// First all of the band above its low end, which may be a value that half of a tensor has (0), then the high end is
// taken out of what is a short list.
template <class T>
BandCount count_band_t(const T* v, T low, T high, std::int64_t n, T* between) {
  const hn::ScalableTag<T> d;
  const auto lo = hn::Set(d, low), hi = hn::Set(d, high);
  const auto number = [&](auto mask) HWY_ATTR { return static_cast<std::int64_t>(hn::CountTrue(d, mask)); };
  const auto put = [&](auto values, auto mask, std::int64_t at) HWY_ATTR {
    // A whole store stays inside, since at <= i, and is faster than CompressStore's masked one.
    hn::StoreU(compressed(d, values, mask), d, between + at);
    return number(mask);
  };
  std::int64_t above = 0, found = 0, at_low = 0, at_high = 0, inside = 0;
  sweep(
      d, n,
      [&](std::int64_t i) {
        const auto magnitude = hn::Abs(hn::LoadU(d, v + i));
        const auto over = hn::Gt(magnitude, hi), band = hn::AndNot(over, hn::Gt(magnitude, lo));
        above += number(over);
        at_low += number(hn::Eq(magnitude, lo));
        if (kCompresses<T> || !hn::AllFalse(d, band)) found += put(magnitude, band, found);
      },
      [&](std::int64_t i) {
        const T magnitude = std::abs(v[i]);
        above += magnitude > high;
        at_low += magnitude == low;
        if (magnitude > low && magnitude <= high) between[found++] = magnitude;
      });
  if (low == high) return {above, at_low, 0, 0};  // one value is counted once
  sweep(
      d, found,
      [&](std::int64_t i) {
        const auto magnitude = hn::LoadU(d, between + i);
        const auto is_high = hn::Eq(magnitude, hi);
        at_high += number(is_high);
        inside += put(magnitude, hn::Not(is_high), inside);
      },
      [&](std::int64_t i) {
        const T magnitude = between[i];
        at_high += magnitude == high;
        if (magnitude != high) between[inside++] = magnitude;
      });
  return {above, at_high, inside, at_low};
}

template <class T>
SignCount count_signs_t(T* const* rows, std::size_t count, std::int64_t n) {
  const hn::ScalableTag<T> d;
  const auto zero = hn::Zero(d);
  std::int64_t any = 0, all = 0, mixed = 0;
  const auto number = [&](auto mask) HWY_ATTR { return static_cast<std::int64_t>(hn::CountTrue(d, mask)); };
  sweep(
      d, n,
      [&](std::int64_t i) {
        auto up = hn::Lt(zero, zero), down = up, still = up;
        for (std::size_t k = 0; k < count; ++k) {
          const auto change = hn::LoadU(d, rows[k] + i);
          const auto rises = hn::Gt(change, zero), falls = hn::Lt(change, zero);
          up = hn::Or(up, rises);
          down = hn::Or(down, falls);
          still = hn::Or(still, hn::Not(hn::Or(rises, falls)));
        }
        any += number(hn::Or(up, down));
        all += number(hn::Not(still));
        mixed += number(hn::And(up, down));
      },
      [&](std::int64_t i) {
        bool up = false, down = false, still = false;
        for (std::size_t k = 0; k < count; ++k) {
          up = up || rows[k][i] > 0;
          down = down || rows[k][i] < 0;
          still = still || !(rows[k][i] > 0 || rows[k][i] < 0);
        }
        any += up || down;
        all += !still;
        mixed += up && down;
      });
  return {any, all, mixed};
}

template <class T>
void elect_t(const Election& rule, const T* weights, T* const* rows, std::size_t count, std::int64_t n, T* out) {
  const hn::ScalableTag<T> d;
  const auto zero = hn::Zero(d), one = hn::Set(d, T(1)), least = hn::Set(d, static_cast<T>(rule.least_divisor));
  const bool bounded = rule.least_divisor > 0;
  sweep(
      d, n,
      [&](std::int64_t i) {
        auto vote = zero;
        for (std::size_t k = 0; k < count; ++k) {
          const auto change = hn::LoadU(d, rows[k] + i);
          vote = hn::Add(vote, rule.weighted_vote ? hn::Mul(hn::Set(d, weights[k]), change) : change);
        }
        const auto positive = rule.zero_is_positive ? hn::Ge(vote, zero) : hn::Gt(vote, zero);
        const auto side = hn::IfThenElse(positive, one, hn::Neg(one));
        auto sum = zero, divisor = zero;
        for (std::size_t k = 0; k < count; ++k) {
          const auto weight = hn::Set(d, weights[k]);
          const auto change = hn::LoadU(d, rows[k] + i);
          const auto term = hn::Mul(weight, change);
          const auto voter = rule.weighted_vote ? term : change;
          const auto agrees = hn::Gt(hn::Mul(voter, side), zero);
          sum = hn::Add(sum, hn::IfThenElseZero(agrees, term));
          divisor = hn::Add(divisor, hn::IfThenElseZero(agrees, weight));
        }
        if (rule.normalize) {
          divisor = hn::IfThenElse(hn::Eq(divisor, zero), one, divisor);
          sum = hn::Div(sum, bounded ? hn::Max(divisor, least) : divisor);
        }
        hn::StoreU(sum, d, out + i);
      },
      [&](std::int64_t i) {
        T vote = 0;
        for (std::size_t k = 0; k < count; ++k)
          vote = vote + (rule.weighted_vote ? weights[k] * rows[k][i] : rows[k][i]);
        const T side = (rule.zero_is_positive ? vote >= 0 : vote > 0) ? T(1) : T(-1);
        T sum = 0, divisor = 0;
        for (std::size_t k = 0; k < count; ++k) {
          const T term = weights[k] * rows[k][i];
          if ((rule.weighted_vote ? term : rows[k][i]) * side > 0) {
            sum = sum + term;
            divisor = divisor + weights[k];
          }
        }
        if (divisor == 0) divisor = 1;
        if (bounded && divisor < static_cast<T>(rule.least_divisor)) divisor = static_cast<T>(rule.least_divisor);
        out[i] = rule.normalize ? sum / divisor : sum;
      });
}

// `term(i)` gives a vector of doubles for entries i, i + 1, ...; `single(i)` one of them.
template <class Term, class Single>
HWY_INLINE void add_lanes(double* HWY_RESTRICT lanes, std::int64_t n, Term term, Single single) {
  const hn::ScalableTag<double> d;
  constexpr std::size_t kVector = hn::MaxLanes(hn::ScalableTag<double>());
  constexpr std::size_t kVectors = 16 / kVector;
  decltype(hn::Zero(d)) sums[kVectors];
  for (std::size_t j = 0; j < kVectors; ++j) sums[j] = hn::LoadU(d, lanes + j * kVector);
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (std::size_t j = 0; j < kVectors; ++j)
      sums[j] = hn::Add(sums[j], term(i + static_cast<std::int64_t>(j * kVector)));
  for (std::size_t j = 0; j < kVectors; ++j) hn::StoreU(sums[j], d, lanes + j * kVector);
  for (std::size_t lane = 0; i < n; ++i, ++lane) lanes[lane] = lanes[lane] + single(i);
}

template <class T>
void add_product_t(double* lanes, const T* a, const T* b, std::int64_t n) {
  const hn::ScalableTag<double> d;
  add_lanes(
      lanes, n, [&](std::int64_t i) { return hn::Mul(load_double(d, a + i), load_double(d, b + i)); },
      [&](std::int64_t i) { return static_cast<double>(a[i]) * static_cast<double>(b[i]); });
}

template <class T>
void add_values_t(double* lanes, const T* a, std::int64_t n) {
  const hn::ScalableTag<double> d;
  add_lanes(
      lanes, n, [&](std::int64_t i) { return load_double(d, a + i); },
      [&](std::int64_t i) { return static_cast<double>(a[i]); });
}

template <class T>
void add_magnitudes_t(double* lanes, const T* a, std::int64_t n) {
  const hn::ScalableTag<double> d;
  add_lanes(
      lanes, n, [&](std::int64_t i) { return hn::Abs(load_double(d, a + i)); },
      [&](std::int64_t i) { return std::abs(static_cast<double>(a[i])); });
}

// Highway exports plain functions: one name a type.
#define SOLERA_BOTH(NAME, RETURN, PARAMETERS_F, PARAMETERS_D, ARGUMENTS) \
  RETURN NAME##_f PARAMETERS_F { return NAME##_t ARGUMENTS; }            \
  RETURN NAME##_d PARAMETERS_D { return NAME##_t ARGUMENTS; }

SOLERA_BOTH(weighted_mean, void,
            (const double* c, double by, float* const* in, std::size_t count, std::int64_t n, float* out),
            (const double* c, double by, double* const* in, std::size_t count, std::int64_t n, double* out),
            (c, by, in, count, n, out))
SOLERA_BOTH(difference, void, (const float* x, const float* b, std::int64_t n, float* out),
            (const double* x, const double* b, std::int64_t n, double* out), (x, b, n, out))
SOLERA_BOTH(add_scaled, void, (float c, const float* x, std::int64_t n, float* sum),
            (double c, const double* x, std::int64_t n, double* sum), (c, x, n, sum))
SOLERA_BOTH(scaled_sum, void, (float a, const float* x, float b, const float* y, std::int64_t n, float* out),
            (double a, const double* x, double b, const double* y, std::int64_t n, double* out), (a, x, b, y, n, out))
SOLERA_BOTH(keep_band, void, (float low, float high, std::int64_t n, float* v),
            (double low, double high, std::int64_t n, double* v), (low, high, n, v))
SOLERA_BOTH(add_scaled_band, void, (float c, float low, float high, const float* v, std::int64_t n, float* sum),
            (double c, double low, double high, const double* v, std::int64_t n, double* sum),
            (c, low, high, v, n, sum))
SOLERA_BOTH(count_band, BandCount, (const float* v, float low, float high, std::int64_t n, float* between),
            (const double* v, double low, double high, std::int64_t n, double* between), (v, low, high, n, between))
SOLERA_BOTH(count_signs, SignCount, (float* const* rows, std::size_t count, std::int64_t n),
            (double* const* rows, std::size_t count, std::int64_t n), (rows, count, n))
SOLERA_BOTH(elect, void,
            (const Election& rule, const float* w, float* const* rows, std::size_t count, std::int64_t n, float* out),
            (const Election& rule, const double* w, double* const* rows, std::size_t count, std::int64_t n,
             double* out),
            (rule, w, rows, count, n, out))
SOLERA_BOTH(add_product, void, (double* lanes, const float* a, const float* b, std::int64_t n),
            (double* lanes, const double* a, const double* b, std::int64_t n), (lanes, a, b, n))
SOLERA_BOTH(add_values, void, (double* lanes, const float* a, std::int64_t n),
            (double* lanes, const double* a, std::int64_t n), (lanes, a, n))
SOLERA_BOTH(add_magnitudes, void, (double* lanes, const float* a, std::int64_t n),
            (double* lanes, const double* a, std::int64_t n), (lanes, a, n))
#undef SOLERA_BOTH

}  // namespace solera::weights::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace solera::weights {

#define SOLERA_EXPORT(NAME) \
  HWY_EXPORT(NAME##_f);     \
  HWY_EXPORT(NAME##_d)
SOLERA_EXPORT(weighted_mean);
SOLERA_EXPORT(difference);
SOLERA_EXPORT(add_scaled);
SOLERA_EXPORT(scaled_sum);
SOLERA_EXPORT(keep_band);
SOLERA_EXPORT(add_scaled_band);
SOLERA_EXPORT(count_band);
SOLERA_EXPORT(count_signs);
SOLERA_EXPORT(elect);
SOLERA_EXPORT(add_product);
SOLERA_EXPORT(add_values);
SOLERA_EXPORT(add_magnitudes);
#undef SOLERA_EXPORT

// The public templates, for both types: SOLERA_DISPATCH picks the exported name by T.
#define SOLERA_DISPATCH(NAME, ...)                      \
  if constexpr (sizeof(T) == 4)                         \
    return HWY_DYNAMIC_DISPATCH(NAME##_f)(__VA_ARGS__); \
  else                                                  \
    return HWY_DYNAMIC_DISPATCH(NAME##_d)(__VA_ARGS__)

template <class T>
void weighted_mean(std::span<const double> coefficients, double divisor, std::span<T* const> inputs, std::int64_t n,
                   T* out) {
  // A float's 29 spare bits absorb the rounding of scaled coefficients; a double has none, so there the sum is divided.
  if constexpr (sizeof(T) == 4) {
    std::vector<double> scaled(coefficients.begin(), coefficients.end());
    for (double& c : scaled) c /= divisor;
    return HWY_DYNAMIC_DISPATCH(weighted_mean_f)(scaled.data(), 1.0, inputs.data(), scaled.size(), n, out);
  } else {
    return HWY_DYNAMIC_DISPATCH(weighted_mean_d)(coefficients.data(), divisor, inputs.data(), coefficients.size(), n,
                                                 out);
  }
}
template <class T>
void difference(const T* x, const T* base, std::int64_t n, T* out) {
  SOLERA_DISPATCH(difference, x, base, n, out);
}
template <class T>
void add_scaled(T c, const T* x, std::int64_t n, T* sum) {
  SOLERA_DISPATCH(add_scaled, c, x, n, sum);
}
template <class T>
void scaled_sum(T a, const T* x, T b, const T* y, std::int64_t n, T* out) {
  SOLERA_DISPATCH(scaled_sum, a, x, b, y, n, out);
}
template <class T>
void keep_band(T low, T high, std::int64_t n, T* d) {
  SOLERA_DISPATCH(keep_band, low, high, n, d);
}
template <class T>
void add_scaled_band(T c, T low, T high, const T* d, std::int64_t n, T* sum) {
  SOLERA_DISPATCH(add_scaled_band, c, low, high, d, n, sum);
}
template <class T>
BandCount count_band(const T* d, T low, T high, std::int64_t n, T* between) {
  SOLERA_DISPATCH(count_band, d, low, high, n, between);
}
template <class T>
SignCount count_signs(std::span<T* const> rows, std::int64_t n) {
  SOLERA_DISPATCH(count_signs, rows.data(), rows.size(), n);
}
template <class T>
void elect(const Election& rule, std::span<const T> weights, std::span<T* const> rows, std::int64_t n, T* out) {
  SOLERA_DISPATCH(elect, rule, weights.data(), rows.data(), weights.size(), n, out);
}
template <class T>
void LaneSum::add_product(const T* a, const T* b, std::int64_t n) {
  SOLERA_DISPATCH(add_product, lanes.data(), a, b, n);
}
template <class T>
void LaneSum::add(const T* a, std::int64_t n) {
  SOLERA_DISPATCH(add_values, lanes.data(), a, n);
}
template <class T>
void LaneSum::add_magnitudes(const T* a, std::int64_t n) {
  SOLERA_DISPATCH(add_magnitudes, lanes.data(), a, n);
}
#undef SOLERA_DISPATCH

double LaneSum::total() const {
  std::array<double, 16> sums = lanes;
  for (std::size_t width = 8; width > 0; width /= 2)
    for (std::size_t i = 0; i < width; ++i) sums[i] = sums[i] + sums[i + width];
  return sums[0];
}

#define SOLERA_INSTANTIATE(T)                                                                             \
  template void weighted_mean<T>(std::span<const double>, double, std::span<T* const>, std::int64_t, T*); \
  template void difference<T>(const T*, const T*, std::int64_t, T*);                                      \
  template void add_scaled<T>(T, const T*, std::int64_t, T*);                                             \
  template void scaled_sum<T>(T, const T*, T, const T*, std::int64_t, T*);                                \
  template void keep_band<T>(T, T, std::int64_t, T*);                                                     \
  template void add_scaled_band<T>(T, T, T, const T*, std::int64_t, T*);                                  \
  template BandCount count_band<T>(const T*, T, T, std::int64_t, T*);                                     \
  template SignCount count_signs<T>(std::span<T* const>, std::int64_t);                                   \
  template void elect<T>(const Election&, std::span<const T>, std::span<T* const>, std::int64_t, T*);     \
  template void LaneSum::add_product<T>(const T*, const T*, std::int64_t);                                \
  template void LaneSum::add<T>(const T*, std::int64_t);                                                  \
  template void LaneSum::add_magnitudes<T>(const T*, std::int64_t)
SOLERA_INSTANTIATE(float);
SOLERA_INSTANTIATE(double);
#undef SOLERA_INSTANTIATE

}  // namespace solera::weights
#endif  // HWY_ONCE
