#include "solera/weights/competition.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <limits>
#include <vector>

#include "solera/weights/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "solera/weights/competition.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace solera::weights::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr std::int64_t kOne = std::bit_cast<std::int64_t>(1.0);

using D = hn::ScalableTag<double>;
using V = hn::Vec<D>;

// The polynomial of kTerms coefficients, the constant one first, by halves (Estrin): a chain of few operations, where
// Horner's rule would wait for each. powers[i] is x^(2^i).
template <std::size_t kTerms>
HWY_INLINE V by_halves(D d, const V* powers, const double* coefficients) {
  if constexpr (kTerms == 1) {
    return hn::Set(d, coefficients[0]);
  } else {
    constexpr std::size_t kHalf = std::bit_floor(kTerms - 1);
    const auto high = by_halves<kTerms - kHalf>(d, powers, coefficients + kHalf);
    return hn::Add(by_halves<kHalf>(d, powers, coefficients), hn::Mul(high, powers[std::countr_zero(kHalf)]));
  }
}
template <std::size_t kTerms>
HWY_INLINE V polynomial(D d, V x, const double (&coefficients)[kTerms]) {
  const auto x2 = hn::Mul(x, x), x4 = hn::Mul(x2, x2), x8 = hn::Mul(x4, x4);
  const V powers[] = {x, x2, x4, x8};
  return by_halves<kTerms>(d, powers, coefficients);
}

constexpr double kLeast = -708;  // of numbers whose exponential is not subnormal
HWY_INLINE V at_least(D d, V x) { return hn::IfThenElse(hn::Lt(x, hn::Set(d, kLeast)), hn::Set(d, kLeast), x); }

// exp(x) for x from kLeast to 0 as 2^k (1 + q) with |ln(1 + q)| <= ln(2) / 2.
struct Exponential {
  V power, q;
};
HWY_INLINE Exponential exponential(D d, V x) {
  const hn::RebindToSigned<D> di;
  // Adding 3 x 2^51 rounds to an integer k and leaves it in the low bits.
  const auto shift = hn::Set(d, 0x1.8p52);
  const auto shifted = hn::Add(hn::Mul(x, hn::Set(d, 1.4426950408889634)), shift);
  const auto k = hn::Sub(shifted, shift);
  const auto power =
      hn::BitCast(d, hn::ShiftLeft<52>(hn::Add(hn::BitCast(di, shifted), hn::Set(di, std::int64_t{1023}))));
  // ln 2 in two pieces; the first has 32 bits, so that its product with k is exact.
  auto r = hn::Sub(x, hn::Mul(k, hn::Set(d, 0x1.62e42feep-1)));
  r = hn::Sub(r, hn::Mul(k, hn::Set(d, 0x1.a39ef35793c76p-33)));
  // r + r^2/2! + ... + r^13/13!; the next term is below 1e-17 r
  constexpr double kInverse[] = {1.0 / 2,       1.0 / 6,        1.0 / 24,        1.0 / 120,
                                 1.0 / 720,     1.0 / 5040,     1.0 / 40320,     1.0 / 362880,
                                 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};
  const auto sum = polynomial(d, r, kInverse);
  return {power, hn::Add(r, hn::Mul(hn::Mul(r, r), sum))};
}

// exp(x) for x from -depth to 0; below kLeast that of kLeast.
HWY_INLINE V exp_of(D d, V x, double depth) {
  const Exponential e = exponential(d, depth > -kLeast ? at_least(d, x) : x);
  return hn::Mul(e.power, hn::Add(hn::Set(d, 1.0), e.q));
}

// Below 1/32 a series, which is all that products of changes need; else -m / (2 + m) with m = exp(-2 |x|) - 1, which
// loses no digits where x is small.
HWY_INLINE V tanh_of(D d, V x) {
  constexpr double kSeries[] = {-1.0 / 3, 2.0 / 15, -17.0 / 315, 62.0 / 2835, -1382.0 / 155925};
  const auto square = hn::Mul(x, x), sum = polynomial(d, square, kSeries);
  const auto small = hn::Add(x, hn::Mul(hn::Mul(x, square), sum));
  const auto is_small = hn::Lt(hn::Abs(x), hn::Set(d, 1.0 / 32));
  if (hn::AllTrue(d, is_small)) return small;
  const Exponential e = exponential(d, at_least(d, hn::Mul(hn::Set(d, -2.0), hn::Abs(x))));
  const auto m = hn::Add(hn::Mul(e.power, e.q), hn::Sub(e.power, hn::Set(d, 1.0)));
  return hn::IfThenElse(is_small, small, hn::CopySign(hn::Div(m, hn::Add(hn::Set(d, 2.0), m)), x));
}

// What makes (x - low) / (high - low) of x - low, or 0 where there is nothing between: a division takes as long as ten
// multiplications. Ends nearer than 1e-308 count as one.
double inverse_range(double low, double high) {
  const double inverse = 1 / (high - low);
  return high > low && inverse <= std::numeric_limits<double>::max() ? inverse : 0;
}
HWY_INLINE V normed(D d, V x, double low, double inverse) {
  return hn::Mul(hn::Sub(x, hn::Set(d, low)), hn::Set(d, inverse));
}

constexpr std::size_t kMostLanes = hn::MaxLanes(D());

HWY_INLINE V load_some(D d, const double* from, std::size_t count) {
  if (count == hn::Lanes(d)) return hn::LoadU(d, from);
  double padded[kMostLanes] = {};
  std::copy_n(from, count, padded);
  return hn::LoadU(d, padded);
}
HWY_INLINE void store_some(V value, D d, double* to, std::size_t count) {
  if (count == hn::Lanes(d)) return hn::StoreU(value, d, to);
  double padded[kMostLanes];
  hn::StoreU(value, d, padded);
  std::copy_n(padded, count, to);
}

// Calls f(i, count) for every vector of [0, n), the last of which may be short.
template <class F>
HWY_INLINE void vectors(D d, std::int64_t n, F f) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < n; i += lanes) f(i, static_cast<std::size_t>(n - i < lanes ? n - i : lanes));
}

// The tasks of one vector of entries, side by side: changes, the clipped ones, and scores.
class Place {
 public:
  Place(D d, const Competition& c)
      : d_(d),
        c_(c),
        tasks_(c.tasks()),
        lanes_(hn::Lanes(d)),
        change_(tasks_ * lanes_),
        clipped_(tasks_ * lanes_),
        normed_(tasks_ * lanes_),
        score_(tasks_ * lanes_) {
    if (c.rule == Competing::kCode)
      for (std::size_t k = 0; k < tasks_; ++k) inverse_.push_back(inverse_range(c.low[k], c.high[k]));
    else
      for (std::size_t pair = 0; pair < tasks_ * tasks_; ++pair)
        inverse_.push_back(inverse_range(c.pair_low[pair], c.pair_high[pair]));
  }

  HWY_INLINE void load(double* const* rows, std::int64_t i, std::size_t count) {
    for (std::size_t k = 0; k < tasks_; ++k) put(change_, k, load_some(d_, rows[k] + i, count));
    c_.rule == Competing::kCode ? score_code() : score_paper();
  }
  HWY_INLINE V score(std::size_t k) const { return at(score_, k); }
  HWY_INLINE V merged(std::size_t k) const { return at(c_.rule == Competing::kCode ? clipped_ : change_, k); }

 private:
  HWY_INLINE V at(const std::vector<double>& values, std::size_t k) const {
    return hn::LoadU(d_, values.data() + k * lanes_);
  }
  HWY_INLINE void put(std::vector<double>& values, std::size_t k, V value) {
    hn::StoreU(value, d_, values.data() + k * lanes_);
  }

  HWY_INLINE void score_code() {
    auto sum = hn::Zero(d_);
    for (std::size_t k = 0; k < tasks_; ++k) {
      const auto change = at(change_, k);
      const auto low = hn::Set(d_, c_.low[k]), high = hn::Set(d_, c_.high[k]);
      auto magnitude = hn::Abs(change);
      magnitude = hn::IfThenElse(hn::Lt(magnitude, low), low, magnitude);
      magnitude = hn::IfThenElse(hn::Gt(magnitude, high), high, magnitude);
      const auto moves = hn::Ne(change, hn::Zero(d_));  // the sign of 0 is 0
      put(clipped_, k, hn::IfThenElseZero(moves, hn::CopySign(magnitude, change)));
      put(normed_, k, hn::CopySign(normed(d_, magnitude, c_.low[k], inverse_[k]), change));
      sum = hn::Add(sum, c_.inter == InterScore::kSumTanh ? change : at(normed_, k));
    }
    const auto least = hn::Set(d_, -1.0), one = hn::Set(d_, 1.0), sharpness = hn::Set(d_, c_.sharpness);
    for (std::size_t k = 0; k < tasks_; ++k) {
      const auto norm = at(normed_, k);
      const auto intra = exp_of(d_, hn::Mul(sharpness, hn::Sub(hn::Mul(norm, norm), one)), c_.sharpness);
      const auto inter =
          c_.inter == InterScore::kPairwiseTanh ? mean_of_pairs(norm) : tanh_of(d_, hn::Mul(at(change_, k), sum));
      const auto score = hn::Mul(intra, inter);
      put(score_, k, hn::IfThenElse(hn::Ge(score, least), score, least));  // -1 for what is no number
    }
  }
  HWY_INLINE V mean_of_pairs(V norm) const {
    auto sum = hn::Zero(d_);
    for (std::size_t k = 0; k < tasks_; ++k) sum = hn::Add(sum, tanh_of(d_, hn::Mul(norm, at(normed_, k))));
    return hn::Div(sum, hn::Set(d_, static_cast<double>(tasks_)));
  }

  HWY_INLINE void score_paper() {
    const auto one = hn::Set(d_, 1.0);
    for (std::size_t k = 0; k < tasks_; ++k) put(score_, k, hn::Zero(d_));
    for (std::size_t i = 0; i < tasks_; ++i)
      for (std::size_t j = i; j < tasks_; ++j) {
        const std::size_t pair = i * tasks_ + j;
        const auto norm = normed(d_, hn::Mul(at(change_, i), at(change_, j)), c_.pair_low[pair], inverse_[pair]);
        const auto term = hn::Mul(exp_of(d_, hn::Sub(norm, one), 1), hn::Set(d_, 1 / c_.pair_sum[pair]));
        put(score_, i, hn::Add(at(score_, i), term));
        if (j > i) put(score_, j, hn::Add(at(score_, j), term));
        if (j == i) put(normed_, i, norm);
      }
    for (std::size_t k = 0; k < tasks_; ++k) {
      const auto intra = exp_of(d_, hn::Mul(hn::Set(d_, c_.sharpness), hn::Sub(at(normed_, k), one)), c_.sharpness);
      put(score_, k, hn::Mul(hn::Mul(intra, hn::Set(d_, 1 / c_.self_sum[k])), at(score_, k)));
    }
  }

  D d_;
  const Competition& c_;
  std::size_t tasks_, lanes_;
  std::vector<double> change_, clipped_, normed_, score_;
  std::vector<double> inverse_;  // of a task's range of magnitudes, or of a pair's range of products
};

void scores(const Competition& c, double* const* rows, std::int64_t n) {
  const D d;
  Place place(d, c);
  vectors(d, n, [&](std::int64_t i, std::size_t count) HWY_ATTR {
    place.load(rows, i, count);
    for (std::size_t k = 0; k < c.tasks(); ++k) store_some(place.score(k), d, rows[k] + i, count);
  });
}

void mean(const Competition& c, const double* factors, double* const* rows, std::int64_t n, double* out) {
  const D d;
  const auto zero = hn::Zero(d);
  Place place(d, c);
  std::vector<double> heights_by;
  for (std::size_t k = 0; k < c.tasks(); ++k) heights_by.push_back(inverse_range(c.threshold[k], c.most[k]));
  vectors(d, n, [&](std::int64_t i, std::size_t count) HWY_ATTR {
    place.load(rows, i, count);
    // A mean lies between the least and the largest of what it is made of, whatever the rounding.
    auto sum = zero, heights = zero, least = hn::Inf(d), most = hn::Neg(least);
    for (std::size_t k = 0; k < c.tasks(); ++k) {
      const auto score = place.score(k), threshold = hn::Set(d, c.threshold[k]);
      const auto change = hn::Mul(hn::Set(d, factors[k]), place.merged(k));
      auto height = score;
      auto kept = hn::Ge(score, threshold);
      if (c.rule == Competing::kCode) {
        height = hn::Mul(hn::Sub(score, threshold), hn::Set(d, heights_by[k]));
        kept = hn::Gt(score, threshold);
      }
      sum = hn::Add(sum, hn::IfThenElseZero(kept, hn::Mul(height, change)));
      heights = hn::Add(heights, hn::IfThenElseZero(kept, height));
      least = hn::IfThenElse(hn::And(kept, hn::Lt(change, least)), change, least);
      most = hn::IfThenElse(hn::And(kept, hn::Gt(change, most)), change, most);
    }
    const auto any = hn::Gt(heights, zero);
    auto result = hn::Div(sum, hn::IfThenElse(any, heights, hn::Set(d, 1.0)));
    result = hn::IfThenElse(hn::Lt(result, least), least, result);
    result = hn::IfThenElse(hn::Gt(result, most), most, result);
    store_some(hn::IfThenElseZero(any, result), d, out + i, count);
  });
}

void ranked(double* values, std::int64_t n) {
  const D d;
  const hn::RebindToSigned<D> bits;
  const auto one = hn::Set(bits, kOne);
  vectors(d, n, [&](std::int64_t i, std::size_t count) HWY_ATTR {
    const auto value = load_some(d, values + i, count);
    const auto magnitude = hn::BitCast(bits, hn::Abs(value));
    const auto below = hn::BitCast(d, hn::Sub(one, magnitude)), above = hn::BitCast(d, hn::Add(one, magnitude));
    store_some(hn::IfThenElse(hn::Lt(value, hn::Zero(d)), below, above), d, values + i, count);
  });
}

void extremes(const double* a, const double* b, std::int64_t n, double* low, double* high) {
  const D d;
  auto least = hn::Set(d, *low), most = hn::Set(d, *high);
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto product = hn::Mul(hn::LoadU(d, a + i), hn::LoadU(d, b + i));
    least = hn::IfThenElse(hn::Lt(product, least), product, least);
    most = hn::IfThenElse(hn::Gt(product, most), product, most);
  }
  double lows[kMostLanes], highs[kMostLanes];
  hn::StoreU(least, d, lows);
  hn::StoreU(most, d, highs);
  *low = *std::min_element(lows, lows + lanes);
  *high = *std::max_element(highs, highs + lanes);
  for (; i < n; ++i) {
    const double product = a[i] * b[i];
    if (product < *low) *low = product;
    if (product > *high) *high = product;
  }
}

void terms(double low, double high, double sharpness, const double* a, const double* b, std::int64_t n, double* out) {
  const D d;
  const double inverse = inverse_range(low, high);
  vectors(d, n, [&](std::int64_t i, std::size_t count) HWY_ATTR {
    const auto norm = normed(d, hn::Mul(load_some(d, a + i, count), load_some(d, b + i, count)), low, inverse);
    const auto term = exp_of(d, hn::Mul(hn::Set(d, sharpness), hn::Sub(norm, hn::Set(d, 1.0))), sharpness);
    store_some(term, d, out + i, count);
  });
}

}  // namespace solera::weights::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace solera::weights {

HWY_EXPORT(scores);
HWY_EXPORT(mean);
HWY_EXPORT(ranked);
HWY_EXPORT(extremes);
HWY_EXPORT(terms);

void competition_scores(const Competition& competition, std::span<double* const> rows, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(scores)(competition, rows.data(), n);
}
void competition_mean(const Competition& competition, std::span<const double> factors, std::span<double* const> rows,
                      std::int64_t n, double* out) {
  HWY_DYNAMIC_DISPATCH(mean)(competition, factors.data(), rows.data(), n, out);
}
void scores_as_magnitudes(double* scores, std::int64_t n) { HWY_DYNAMIC_DISPATCH(ranked)(scores, n); }
double magnitude_as_score(double magnitude) {
  constexpr auto kOne = std::bit_cast<std::int64_t>(1.0);
  const std::int64_t bits = std::bit_cast<std::int64_t>(magnitude) - kOne;
  return bits < 0 ? -std::bit_cast<double>(-bits) : std::bit_cast<double>(bits);
}
void product_extremes(const double* a, const double* b, std::int64_t n, double& low, double& high) {
  HWY_DYNAMIC_DISPATCH(extremes)(a, b, n, &low, &high);
}
void product_terms(double low, double high, double sharpness, const double* a, const double* b, std::int64_t n,
                   double* out) {
  HWY_DYNAMIC_DISPATCH(terms)(low, high, sharpness, a, b, n, out);
}

}  // namespace solera::weights
#endif  // HWY_ONCE
