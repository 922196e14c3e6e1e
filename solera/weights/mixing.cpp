#include "solera/weights/mixing.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "solera/weights/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "solera/weights/mixing.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "solera/weights/sweep.inc"

HWY_BEFORE_NAMESPACE();
namespace solera::weights::HWY_NAMESPACE {

template <class T>
void near_swap_t(T t, const T* a, const T* b, std::int64_t n, T* out) {
  const hn::ScalableTag<T> d;
  const auto wanted = hn::Set(d, t), tiny = hn::Set(d, T(1e-6)), zero = hn::Zero(d), one = hn::Set(d, T(1));
  sweep(
      d, n,
      [&](std::int64_t i) {
        const auto x = hn::LoadU(d, a + i), y = hn::LoadU(d, b + i);
        const auto distance = hn::Abs(hn::Sub(x, y));
        const auto ratio = hn::Div(wanted, hn::IfThenElse(hn::Gt(distance, tiny), distance, tiny));
        const auto above = hn::IfThenElse(hn::Gt(ratio, zero), ratio, zero);
        const auto w = hn::IfThenElse(hn::Lt(above, one), above, one);
        hn::StoreU(hn::Add(hn::Mul(w, y), hn::Mul(hn::Sub(one, w), x)), d, out + i);
      },
      [&](std::int64_t i) {
        const T distance = std::abs(a[i] - b[i]);
        const T ratio = t / (distance > T(1e-6) ? distance : T(1e-6));
        const T above = ratio > 0 ? ratio : T(0), w = above < 1 ? above : T(1);
        out[i] = w * b[i] + (T(1) - w) * a[i];
      });
}

template <class T>
void mean_of_active_t(T epsilon, const T* alone, T* const* rows, std::size_t count, std::int64_t n, T* out) {
  const hn::ScalableTag<T> d;
  const auto least = hn::Set(d, epsilon), one = hn::Set(d, T(1));
  sweep(
      d, n,
      [&](std::int64_t i) {
        auto sum = hn::Zero(d), scaled = hn::Zero(d), active = hn::Zero(d);
        for (std::size_t k = 0; k < count; ++k) {
          const auto change = hn::LoadU(d, rows[k] + i);
          const auto is_active = hn::Gt(hn::Abs(change), least);
          const auto kept = hn::IfThenElseZero(is_active, change);
          sum = hn::Add(sum, kept);
          scaled = hn::Add(scaled, hn::Mul(hn::Set(d, alone[k]), kept));
          active = hn::Add(active, hn::IfThenElseZero(is_active, one));
        }
        const auto several = hn::Gt(active, one);
        hn::StoreU(hn::IfThenElse(several, hn::Div(sum, hn::IfThenElse(several, active, one)), scaled), d, out + i);
      },
      [&](std::int64_t i) {
        T sum = 0, scaled = 0, active = 0;
        for (std::size_t k = 0; k < count; ++k) {
          const bool is_active = std::abs(rows[k][i]) > epsilon;
          const T kept = is_active ? rows[k][i] : T(0);
          sum = sum + kept;
          scaled = scaled + alone[k] * kept;
          active = active + (is_active ? T(1) : T(0));
        }
        out[i] = active > 1 ? sum / active : scaled;
      });
}

template <class T>
void count_active_t(T epsilon, T* const* rows, std::size_t count, std::int64_t n, std::int64_t* shared,
                    std::int64_t* alone) {
  const hn::ScalableTag<T> d;
  const auto least = hn::Set(d, epsilon), one = hn::Set(d, T(1));
  sweep(
      d, n,
      [&](std::int64_t i) {
        auto active = hn::Zero(d);
        for (std::size_t k = 0; k < count; ++k)
          active = hn::Add(active, hn::IfThenElseZero(hn::Gt(hn::Abs(hn::LoadU(d, rows[k] + i)), least), one));
        const auto several = hn::Gt(active, one);
        for (std::size_t k = 0; k < count; ++k) {
          const auto is_active = hn::Gt(hn::Abs(hn::LoadU(d, rows[k] + i)), least);
          const auto both = hn::And(is_active, several);
          const auto with_others = static_cast<std::int64_t>(hn::CountTrue(d, both));
          shared[k] += with_others;
          alone[k] += static_cast<std::int64_t>(hn::CountTrue(d, is_active)) - with_others;
        }
      },
      [&](std::int64_t i) {
        int active = 0;
        for (std::size_t k = 0; k < count; ++k) active += std::abs(rows[k][i]) > epsilon;
        for (std::size_t k = 0; k < count; ++k)
          if (std::abs(rows[k][i]) > epsilon) ++(active > 1 ? shared : alone)[k];
      });
}

template <class T>
void sum_where_agreed_t(std::int64_t agree, const T* strictness, T* const* rows, std::size_t count, std::int64_t n,
                        T* out) {
  const hn::ScalableTag<T> d;
  const auto one = hn::Set(d, T(1)), least = hn::Set(d, static_cast<T>(agree));
  sweep(
      d, n,
      [&](std::int64_t i) {
        auto sum = hn::Zero(d), votes = hn::Zero(d);
        for (std::size_t k = 0; k < count; ++k) sum = hn::Add(sum, hn::LoadU(d, rows[k] + i));
        for (std::size_t k = 0; k < count; ++k) {
          const auto change = hn::LoadU(d, rows[k] + i);
          const auto rest = hn::Mul(hn::Set(d, strictness[k]), hn::Abs(hn::Sub(sum, change)));
          votes = hn::Add(votes, hn::IfThenElseZero(hn::Ge(hn::Abs(change), rest), one));
        }
        hn::StoreU(hn::IfThenElseZero(hn::Ge(votes, least), sum), d, out + i);
      },
      [&](std::int64_t i) {
        T sum = 0;
        std::int64_t votes = 0;
        for (std::size_t k = 0; k < count; ++k) sum = sum + rows[k][i];
        for (std::size_t k = 0; k < count; ++k)
          votes += std::abs(rows[k][i]) >= strictness[k] * std::abs(sum - rows[k][i]);
        out[i] = votes >= agree ? sum : T(0);
      });
}

template <class T>
void variance_of_t(T* const* rows, std::size_t count, std::int64_t n, T* out) {
  const hn::ScalableTag<double> d;
  const auto divisor = static_cast<double>(count);
  const auto by = hn::Set(d, divisor);
  sweep(
      d, n,
      [&](std::int64_t i) {
        auto sum = hn::Zero(d), squares = hn::Zero(d);
        for (std::size_t k = 0; k < count; ++k) sum = hn::Add(sum, load_double(d, rows[k] + i));
        const auto mean = hn::Div(sum, by);
        for (std::size_t k = 0; k < count; ++k) {
          const auto off = hn::Sub(load_double(d, rows[k] + i), mean);
          squares = hn::Add(squares, hn::Mul(off, off));
        }
        store_double(d, hn::Div(squares, by), out + i);
      },
      [&](std::int64_t i) {
        double sum = 0, squares = 0;
        for (std::size_t k = 0; k < count; ++k) sum = sum + static_cast<double>(rows[k][i]);
        const double mean = sum / divisor;
        for (std::size_t k = 0; k < count; ++k) {
          const double off = static_cast<double>(rows[k][i]) - mean;
          squares = squares + off * off;
        }
        out[i] = static_cast<T>(squares / divisor);
      });
}

template <class T>
void keep_where_positive_t(const T* score, std::int64_t n, T* values) {
  const hn::ScalableTag<T> d;
  sweep(
      d, n,
      [&](std::int64_t i) {
        const auto kept = hn::Gt(hn::LoadU(d, score + i), hn::Zero(d));
        hn::StoreU(hn::IfThenElseZero(kept, hn::LoadU(d, values + i)), d, values + i);
      },
      [&](std::int64_t i) { values[i] = score[i] > 0 ? values[i] : T(0); });
}

template <class T>
void take_above_t(T threshold, const T* score, const T* a, const T* b, std::int64_t n, T* out) {
  const hn::ScalableTag<T> d;
  const auto least = hn::Set(d, threshold);
  sweep(
      d, n,
      [&](std::int64_t i) {
        const auto above = hn::Ge(hn::Abs(hn::LoadU(d, score + i)), least);
        hn::StoreU(hn::IfThenElse(above, hn::LoadU(d, b + i), hn::LoadU(d, a + i)), d, out + i);
      },
      [&](std::int64_t i) { out[i] = std::abs(score[i]) >= threshold ? b[i] : a[i]; });
}

template <class T>
void add_products_t(const T* a, const T* b, std::int64_t n, double* sums) {
  const hn::ScalableTag<double> d;
  sweep(
      d, n,
      [&](std::int64_t i) {
        const auto product = hn::Mul(load_double(d, a + i), load_double(d, b + i));
        hn::StoreU(hn::Add(hn::LoadU(d, sums + i), product), d, sums + i);
      },
      [&](std::int64_t i) { sums[i] = sums[i] + static_cast<double>(a[i]) * static_cast<double>(b[i]); });
}

template <class T>
void add_scaled_by_t(const T* origin, const double* fa, const T* a, const double* fb, const T* b, std::int64_t n,
                     T* out) {
  const hn::ScalableTag<double> d;
  sweep(
      d, n,
      [&](std::int64_t i) {
        auto sum = hn::Add(hn::Mul(hn::LoadU(d, fa + i), load_double(d, a + i)),
                           hn::Mul(hn::LoadU(d, fb + i), load_double(d, b + i)));
        if (origin) sum = hn::Add(load_double(d, origin + i), sum);
        store_double(d, sum, out + i);
      },
      [&](std::int64_t i) {
        const double sum = fa[i] * static_cast<double>(a[i]) + fb[i] * static_cast<double>(b[i]);
        out[i] = static_cast<T>(origin ? static_cast<double>(origin[i]) + sum : sum);
      });
}

// Highway exports plain functions: one name a type.
#define SOLERA_BOTH(NAME, PARAMETERS_F, PARAMETERS_D, ARGUMENTS) \
  void NAME##_f PARAMETERS_F { NAME##_t ARGUMENTS; }             \
  void NAME##_d PARAMETERS_D { NAME##_t ARGUMENTS; }

SOLERA_BOTH(near_swap, (float t, const float* a, const float* b, std::int64_t n, float* out),
            (double t, const double* a, const double* b, std::int64_t n, double* out), (t, a, b, n, out))
SOLERA_BOTH(mean_of_active,
            (float e, const float* alone, float* const* rows, std::size_t count, std::int64_t n, float* out),
            (double e, const double* alone, double* const* rows, std::size_t count, std::int64_t n, double* out),
            (e, alone, rows, count, n, out))
SOLERA_BOTH(count_active,
            (float e, float* const* rows, std::size_t count, std::int64_t n, std::int64_t* shared, std::int64_t* alone),
            (double e, double* const* rows, std::size_t count, std::int64_t n, std::int64_t* shared,
             std::int64_t* alone),
            (e, rows, count, n, shared, alone))
SOLERA_BOTH(sum_where_agreed,
            (std::int64_t a, const float* s, float* const* rows, std::size_t count, std::int64_t n, float* out),
            (std::int64_t a, const double* s, double* const* rows, std::size_t count, std::int64_t n, double* out),
            (a, s, rows, count, n, out))
SOLERA_BOTH(variance_of, (float* const* rows, std::size_t count, std::int64_t n, float* out),
            (double* const* rows, std::size_t count, std::int64_t n, double* out), (rows, count, n, out))
SOLERA_BOTH(keep_where_positive, (const float* score, std::int64_t n, float* v),
            (const double* score, std::int64_t n, double* v), (score, n, v))
SOLERA_BOTH(take_above, (float t, const float* s, const float* a, const float* b, std::int64_t n, float* out),
            (double t, const double* s, const double* a, const double* b, std::int64_t n, double* out),
            (t, s, a, b, n, out))
SOLERA_BOTH(add_products, (const float* a, const float* b, std::int64_t n, double* sums),
            (const double* a, const double* b, std::int64_t n, double* sums), (a, b, n, sums))
SOLERA_BOTH(add_scaled_by,
            (const float* o, const double* fa, const float* a, const double* fb, const float* b, std::int64_t n,
             float* out),
            (const double* o, const double* fa, const double* a, const double* fb, const double* b, std::int64_t n,
             double* out),
            (o, fa, a, fb, b, n, out))
#undef SOLERA_BOTH

}  // namespace solera::weights::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace solera::weights {

#define SOLERA_EXPORT(NAME) \
  HWY_EXPORT(NAME##_f);     \
  HWY_EXPORT(NAME##_d)
SOLERA_EXPORT(near_swap);
SOLERA_EXPORT(mean_of_active);
SOLERA_EXPORT(count_active);
SOLERA_EXPORT(sum_where_agreed);
SOLERA_EXPORT(variance_of);
SOLERA_EXPORT(keep_where_positive);
SOLERA_EXPORT(take_above);
SOLERA_EXPORT(add_products);
SOLERA_EXPORT(add_scaled_by);
#undef SOLERA_EXPORT

// The public templates, for both types: SOLERA_DISPATCH picks the exported name by T.
#define SOLERA_DISPATCH(NAME, ...)                      \
  if constexpr (sizeof(T) == 4)                         \
    return HWY_DYNAMIC_DISPATCH(NAME##_f)(__VA_ARGS__); \
  else                                                  \
    return HWY_DYNAMIC_DISPATCH(NAME##_d)(__VA_ARGS__)

template <class T>
void near_swap(T t, const T* a, const T* b, std::int64_t n, T* out) {
  SOLERA_DISPATCH(near_swap, t, a, b, n, out);
}
template <class T>
void mean_of_active(T epsilon, std::span<const T> alone, std::span<T* const> rows, std::int64_t n, T* out) {
  SOLERA_DISPATCH(mean_of_active, epsilon, alone.data(), rows.data(), rows.size(), n, out);
}
template <class T>
void count_active(T epsilon, std::span<T* const> rows, std::int64_t n, std::span<std::int64_t> shared,
                  std::span<std::int64_t> alone) {
  SOLERA_DISPATCH(count_active, epsilon, rows.data(), rows.size(), n, shared.data(), alone.data());
}
template <class T>
void sum_where_agreed(std::int64_t agree, std::span<const T> strictness, std::span<T* const> rows, std::int64_t n,
                      T* out) {
  SOLERA_DISPATCH(sum_where_agreed, agree, strictness.data(), rows.data(), rows.size(), n, out);
}
template <class T>
void variance_of(std::span<T* const> rows, std::int64_t n, T* out) {
  SOLERA_DISPATCH(variance_of, rows.data(), rows.size(), n, out);
}
template <class T>
void keep_where_positive(const T* score, std::int64_t n, T* values) {
  SOLERA_DISPATCH(keep_where_positive, score, n, values);
}
template <class T>
void take_above(T threshold, const T* score, const T* a, const T* b, std::int64_t n, T* out) {
  SOLERA_DISPATCH(take_above, threshold, score, a, b, n, out);
}
template <class T>
void add_products(const T* a, const T* b, std::int64_t n, double* sums) {
  SOLERA_DISPATCH(add_products, a, b, n, sums);
}
template <class T>
void add_scaled_by(const T* origin, const double* fa, const T* a, const double* fb, const T* b, std::int64_t n,
                   T* out) {
  SOLERA_DISPATCH(add_scaled_by, origin, fa, a, fb, b, n, out);
}
#undef SOLERA_DISPATCH

#define SOLERA_INSTANTIATE(T)                                                                                 \
  template void near_swap<T>(T, const T*, const T*, std::int64_t, T*);                                        \
  template void mean_of_active<T>(T, std::span<const T>, std::span<T* const>, std::int64_t, T*);              \
  template void count_active<T>(T, std::span<T* const>, std::int64_t, std::span<std::int64_t>,                \
                                std::span<std::int64_t>);                                                     \
  template void sum_where_agreed<T>(std::int64_t, std::span<const T>, std::span<T* const>, std::int64_t, T*); \
  template void variance_of<T>(std::span<T* const>, std::int64_t, T*);                                        \
  template void keep_where_positive<T>(const T*, std::int64_t, T*);                                           \
  template void take_above<T>(T, const T*, const T*, const T*, std::int64_t, T*);                             \
  template void add_products<T>(const T*, const T*, std::int64_t, double*);                                   \
  template void add_scaled_by<T>(const T*, const double*, const T*, const double*, const T*, std::int64_t, T*)
SOLERA_INSTANTIATE(float);
SOLERA_INSTANTIATE(double);
#undef SOLERA_INSTANTIATE

}  // namespace solera::weights
#endif  // HWY_ONCE
