#include "solera/weights/ranked_mask.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "solera/weights/magnitude_order.h"
#include "solera/weights/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "solera/weights/ranked_mask.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "solera/weights/sweep.inc"

#ifndef SOLERA_WEIGHTS_RANKED_MASK_LISTS
#define SOLERA_WEIGHTS_RANKED_MASK_LISTS
namespace solera::weights {
struct Lists {
  std::int64_t nonzero = 0, candidates = 0;  // their lengths
};
}  // namespace solera::weights
#endif

HWY_BEFORE_NAMESPACE();
namespace solera::weights::HWY_NAMESPACE {

using D = hn::ScalableTag<std::uint32_t>;

// The largest magnitude's bits; all magnitudes.
std::uint32_t magnitudes(const float* values, std::int64_t n, float* out) {
  const D d;
  const hn::RebindToFloat<D> df;
  auto top = hn::Zero(d);
  std::uint32_t rest = 0;
  sweep(
      d, n,
      [&](std::int64_t i) HWY_ATTR {
        const auto magnitude = hn::Abs(hn::LoadU(df, values + i));
        hn::StoreU(magnitude, df, out + i);
        top = hn::Max(top, hn::BitCast(d, magnitude));
      },
      [&](std::int64_t i) {
        out[i] = std::abs(values[i]);
        rest = std::max(rest, std::bit_cast<std::uint32_t>(out[i]));
      });
  return std::max(rest, hn::GetLane(hn::MaxOfLanes(d, top)));
}

// Zeroes what no rank keeps, and lists the bits of what is not 0 and the places of those of them whose draws are
// neither below `sure` nor above `most`.
Lists part(const std::uint16_t* halves, std::uint32_t sure, std::uint32_t most, const float* magnitudes, std::int64_t n,
           float* values, std::uint32_t* bits, std::uint32_t* candidates) {
  const D d;
  const hn::RebindToFloat<D> df;
  const hn::Rebind<std::uint16_t, D> dh;
  const auto zero = hn::Zero(d), low = hn::Set(d, sure), high = hn::Set(d, most);
  Lists lists;
  sweep(
      d, n,
      [&](std::int64_t i) HWY_ATTR {
        const auto word = hn::BitCast(d, hn::LoadU(df, magnitudes + i));
        const auto half = hn::PromoteTo(d, hn::LoadU(dh, halves + i));
        const auto counts = hn::Ne(word, zero), possible = hn::Not(hn::Gt(half, high));
        hn::StoreU(hn::IfThenElseZero(hn::RebindMask(df, possible), hn::LoadU(df, values + i)), df, values + i);
        hn::StoreU(hn::Compress(word, counts), d, bits + lists.nonzero);
        lists.nonzero += static_cast<std::int64_t>(hn::CountTrue(d, counts));
        const auto open = hn::And(hn::And(counts, possible), hn::Not(hn::Lt(half, low)));
        hn::StoreU(hn::Compress(hn::Iota(d, static_cast<std::uint32_t>(i)), open), d, candidates + lists.candidates);
        lists.candidates += static_cast<std::int64_t>(hn::CountTrue(d, open));
      },
      [&](std::int64_t i) {
        const auto word = std::bit_cast<std::uint32_t>(magnitudes[i]);
        const std::uint32_t half = halves[i];
        if (half > most) values[i] = 0;
        if (word == 0) return;
        bits[lists.nonzero++] = word;
        if (half >= sure && half <= most) candidates[lists.candidates++] = static_cast<std::uint32_t>(i);
      });
  return lists;
}

void bucket(const std::uint32_t* bits, std::int64_t n, std::uint32_t top, const BucketWidth& width,
            std::uint32_t* buckets) {
  const D d;
  const auto from = hn::Set(d, top), last = hn::Set(d, static_cast<std::uint32_t>(width.count - 1));
  sweep(
      d, n,
      [&](std::int64_t i) HWY_ATTR {
        const auto below = hn::ShiftRightSame(hn::Sub(from, hn::LoadU(d, bits + i)), width.shift);
        hn::StoreU(hn::Min(below, last), d, buckets + i);
      },
      [&](std::int64_t i) { buckets[i] = static_cast<std::uint32_t>(width.of(top - bits[i])); });
}

// How many are above the value, or equal to it.
std::uint32_t count_above(const std::uint32_t* bits, std::int64_t n, std::uint32_t value) {
  const D d;
  const auto than = hn::Set(d, value);
  std::uint32_t count = 0;
  sweep(
      d, n,
      [&](std::int64_t i)
          HWY_ATTR { count += static_cast<std::uint32_t>(hn::CountTrue(d, hn::Gt(hn::LoadU(d, bits + i), than))); },
      [&](std::int64_t i) { count += bits[i] > value; });
  return count;
}
std::uint32_t count_equal(const float* magnitudes, std::int64_t n, float value) {
  const hn::ScalableTag<float> d;
  const auto to = hn::Set(d, value);
  std::uint32_t count = 0;
  sweep(
      d, n,
      [&](std::int64_t i)
          HWY_ATTR { count += static_cast<std::uint32_t>(hn::CountTrue(d, hn::Eq(hn::LoadU(d, magnitudes + i), to))); },
      [&](std::int64_t i) { count += magnitudes[i] == value; });
  return count;
}

}  // namespace solera::weights::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace solera::weights {

namespace {
HWY_EXPORT(magnitudes);
HWY_EXPORT(part);
HWY_EXPORT(bucket);
HWY_EXPORT(count_above);
HWY_EXPORT(count_equal);

constexpr std::size_t kMostOpen = 64;  // counting out more ranks than these costs more than a sort
constexpr std::size_t kRoom = 64;      // of a vector that is stored whole

// The value or 0 without a branch, which no predictor would foresee.
float kept(float value, bool keeps) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & (std::uint32_t{0} - std::uint32_t{keeps}));
}
}  // namespace

template <class T>
void RankedMask<T>::keep_sorted(const RandomStream& stream, std::int64_t first,
                                std::span<const std::uint32_t> thresholds, std::span<const T> magnitudes,
                                std::span<T> values) {
  const auto order = order_.sort(magnitudes);
  for (std::size_t rank = 0; rank < values.size(); ++rank) {
    const std::uint32_t at = order[rank];
    if (!is_below(stream, first + at, halves_[at], thresholds[rank])) values[at] = 0;
  }
}

template <>
void RankedMask<double>::keep_bucketed(const RandomStream& stream, std::int64_t first,
                                       std::span<const std::uint32_t> thresholds, std::span<double> values) {
  keep_sorted(stream, first, thresholds, values, values);
}

template <>
void RankedMask<float>::keep_bucketed(const RandomStream& stream, std::int64_t first,
                                      std::span<const std::uint32_t> thresholds, std::span<float> values) {
  const std::int64_t n = std::ssize(values);
  magnitudes_.resize(values.size());
  for (auto* list : {&bits_, &candidates_}) list->resize(values.size() + kRoom);
  const std::uint32_t top = HWY_DYNAMIC_DISPATCH(magnitudes)(values.data(), n, magnitudes_.data());
  const Lists lists =
      HWY_DYNAMIC_DISPATCH(part)(halves_.data(), thresholds.back() >> 16, thresholds.front() >> 16, magnitudes_.data(),
                                 n, values.data(), bits_.data(), candidates_.data());
  if (lists.candidates == 0) return;

  const BucketWidth width(static_cast<std::size_t>(lists.nonzero), 23);
  buckets_.resize(static_cast<std::size_t>(lists.nonzero));
  HWY_DYNAMIC_DISPATCH(bucket)(bits_.data(), lists.nonzero, top, width, buckets_.data());
  starts_.assign(width.count + 1, 0);
  for (const std::uint32_t bucket : buckets_) ++starts_[bucket + 1];
  for (std::size_t b = 1; b <= width.count; ++b) starts_[b] += starts_[b - 1];

  const std::span<const std::uint32_t> candidates(candidates_.data(), static_cast<std::size_t>(lists.candidates));
  open_.resize(candidates.size() + 1);
  std::size_t open = 0;
  for (const std::uint32_t at : candidates) {
    const std::size_t bucket = width.of(top - std::bit_cast<std::uint32_t>(magnitudes_[at]));
    const std::uint32_t surely = thresholds[starts_[bucket + 1] - 1] >> 16,
                        possibly = thresholds[starts_[bucket]] >> 16;
    const std::uint32_t half = halves_[at];
    open_[open] = at;
    open += static_cast<std::size_t>(half >= surely) & static_cast<std::size_t>(half <= possibly);
    values[at] = kept(values[at], half <= possibly);
  }
  if (open > kMostOpen) return keep_sorted(stream, first, thresholds, magnitudes_, values);
  for (const std::uint32_t at : std::span(open_.data(), open)) {
    const float magnitude = magnitudes_[at];
    const std::uint32_t rank =
        HWY_DYNAMIC_DISPATCH(count_above)(bits_.data(), lists.nonzero, std::bit_cast<std::uint32_t>(magnitude)) +
        HWY_DYNAMIC_DISPATCH(count_equal)(magnitudes_.data(), at, magnitude);
    if (!is_below(stream, first + at, halves_[at], thresholds[rank])) values[at] = 0;
  }
}

template <class T>
void RankedMask<T>::keep(const RandomStream& stream, std::int64_t first, std::span<const std::uint32_t> thresholds,
                         std::span<T> values) {
  halves_.resize(values.size());
  upper_halves(stream, first, halves_);
  if (values.size() < 64)
    keep_sorted(stream, first, thresholds, values, values);
  else
    keep_bucketed(stream, first, thresholds, values);
}

template <class T>
std::uint64_t RankedMask<T>::bytes(std::int64_t n) {
  constexpr std::uint64_t kPerEntry = sizeof(std::uint16_t) + sizeof(T) + 4 * sizeof(std::uint32_t);
  return MagnitudeOrder<T>::bytes(n) + static_cast<std::uint64_t>(n) * kPerEntry +
         BucketWidth::kMost * sizeof(std::uint32_t);
}

template class RankedMask<float>;
template class RankedMask<double>;

}  // namespace solera::weights
#endif  // HWY_ONCE
