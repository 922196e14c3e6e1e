#include "solera/weights/precision.h"

#include <cstddef>

#include "solera/weights/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "solera/weights/precision.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace solera::weights::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D, class T>
HWY_INLINE auto load_double(D d, const T* from) {
  if constexpr (sizeof(T) == 8) {
    return hn::LoadU(d, from);
  } else {
    const hn::Rebind<float, D> df;
    return hn::PromoteTo(d, hn::LoadU(df, from));
  }
}

// The comparison is written as it is so that a NaN precision stays one on every target.
inline double raised(double precision, double floor) { return precision < floor ? floor : precision; }

template <class T>
void precision_mean_t(const double* c, const double* floors, double tiny, T* const* x, T* const* f, std::size_t count,
                      std::int64_t n, T* out) {
  const hn::ScalableTag<double> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto least = hn::Set(d, tiny);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    auto sum = hn::Zero(d), divisor = hn::Zero(d);
    for (std::size_t k = 0; k < count; ++k) {
      const auto precision = load_double(d, f[k] + i);
      const auto floor = hn::Set(d, floors[k]);
      const auto share = hn::Mul(hn::Set(d, c[k]), hn::IfThenElse(hn::Lt(precision, floor), floor, precision));
      sum = hn::Add(sum, hn::Mul(share, load_double(d, x[k] + i)));
      divisor = hn::Add(divisor, share);
    }
    const auto mean = hn::IfThenElse(hn::Lt(divisor, least), load_double(d, x[0] + i), hn::Div(sum, divisor));
    if constexpr (sizeof(T) == 8) {
      hn::StoreU(mean, d, out + i);
    } else {
      const hn::Rebind<float, decltype(d)> df;
      hn::StoreU(hn::DemoteTo(df, mean), df, out + i);
    }
  }
  for (; i < n; ++i) {
    double sum = 0, divisor = 0;
    for (std::size_t k = 0; k < count; ++k) {
      const double share = c[k] * raised(static_cast<double>(f[k][i]), floors[k]);
      sum = sum + share * static_cast<double>(x[k][i]);
      divisor = divisor + share;
    }
    out[i] = divisor < tiny ? x[0][i] : static_cast<T>(sum / divisor);
  }
}

template <class T>
bool all_nonnegative_t(const T* values, std::int64_t n) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto good = hn::Ge(hn::Zero(d), hn::Zero(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) good = hn::And(good, hn::Ge(hn::LoadU(d, values + i), hn::Zero(d)));
  bool all = hn::AllTrue(d, good);
  for (; i < n; ++i) all = all && values[i] >= 0;
  return all;
}

// Highway exports plain functions: one name a type.
void precision_mean_f(const double* c, const double* floors, double tiny, float* const* x, float* const* f,
                      std::size_t count, std::int64_t n, float* out) {
  precision_mean_t(c, floors, tiny, x, f, count, n, out);
}
void precision_mean_d(const double* c, const double* floors, double tiny, double* const* x, double* const* f,
                      std::size_t count, std::int64_t n, double* out) {
  precision_mean_t(c, floors, tiny, x, f, count, n, out);
}
bool all_nonnegative_f(const float* values, std::int64_t n) { return all_nonnegative_t(values, n); }
bool all_nonnegative_d(const double* values, std::int64_t n) { return all_nonnegative_t(values, n); }

}  // namespace solera::weights::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace solera::weights {

HWY_EXPORT(precision_mean_f);
HWY_EXPORT(precision_mean_d);
HWY_EXPORT(all_nonnegative_f);
HWY_EXPORT(all_nonnegative_d);

template <class T>
void precision_mean(std::span<const double> coefficients, std::span<const double> floors, double tiny,
                    std::span<T* const> values, std::span<T* const> precisions, std::int64_t n, T* out) {
  if constexpr (sizeof(T) == 4) HWY_DYNAMIC_DISPATCH(precision_mean_f)
  (coefficients.data(), floors.data(), tiny, values.data(), precisions.data(), values.size(), n, out);
  else HWY_DYNAMIC_DISPATCH(precision_mean_d)(coefficients.data(), floors.data(), tiny, values.data(),
                                              precisions.data(), values.size(), n, out);
}

template <class T>
bool all_nonnegative(const T* values, std::int64_t n) {
  if constexpr (sizeof(T) == 4)
    return HWY_DYNAMIC_DISPATCH(all_nonnegative_f)(values, n);
  else
    return HWY_DYNAMIC_DISPATCH(all_nonnegative_d)(values, n);
}

template void precision_mean<float>(std::span<const double>, std::span<const double>, double, std::span<float* const>,
                                    std::span<float* const>, std::int64_t, float*);
template void precision_mean<double>(std::span<const double>, std::span<const double>, double, std::span<double* const>,
                                     std::span<double* const>, std::int64_t, double*);
template bool all_nonnegative<float>(const float*, std::int64_t);
template bool all_nonnegative<double>(const double*, std::int64_t);

}  // namespace solera::weights
#endif  // HWY_ONCE
