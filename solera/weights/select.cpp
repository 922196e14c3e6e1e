#include "solera/weights/select.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <type_traits>

#include "solera/base/random.h"
#include "solera/weights/vector.h"

namespace solera::weights {

namespace detail {
SelectTuning& select_tuning() {
  static SelectTuning tuning;
  return tuning;
}
}  // namespace detail

namespace {

template <class T>
constexpr T kInfinity = std::numeric_limits<T>::infinity();

template <class T>
Cut<T> nothing() {
  return {kInfinity<T>, 0, -1};
}
template <class T>
Cut<T> everything() {
  return {T(0), std::numeric_limits<std::size_t>::max(), -1};
}

std::int64_t elements(const Segment& segment) { return segment.operands.front().tensor->elements(); }

// Where NaN is let through it ranks last, so that counts stay exact.
template <class T>
void settle_nan(const Engine& engine, T* values, std::int64_t n) {
  if (engine.allow_nonfinite) std::replace_if(values, values + n, [](T v) { return std::isnan(v); }, T(0));
}

// Turns a tile of stored values into the values of its streams; stream t is then tile[t + base].
template <class T>
void to_changes(const Engine& engine, const Tile<T>& tile, bool base) {
  for (std::size_t k = base ? 1 : 0; k < tile.inputs.size(); ++k) {
    if (base) difference(tile[k], tile[0], tile.count, tile[k]);
    settle_nan(engine, tile[k], tile.count);
  }
}

// Elements [first, first + count) of one stream.
template <class T>
void load_changes(const Engine& engine, const Segment& segment, bool base, std::size_t stream, std::int64_t first,
                  std::int64_t count, T* target) {
  load_range(engine, segment.operands[stream + (base ? 1 : 0)], first, count, target);
  if (base) {
    std::vector<T> zero(static_cast<std::size_t>(count));
    load_range(engine, segment.operands[0], first, count, zero.data());
    difference(target, zero.data(), count, target);
  }
  settle_nan(engine, target, count);
}

// The largest float below: with it `>= v` is `> below(v)`.
template <class T>
T below(T v) {
  return v == 0 ? T(-1) : std::nextafter(v, T(0));
}

template <class T>
struct Bracket {
  T low = 0, high = kInfinity<T>;
};

// Sixteen neighbours at a time from evenly spaced places, jittered by a counter-based draw: one or two cache lines
// each.
template <class T>
std::vector<std::vector<T>> sample(const Engine& engine, std::span<const Segment> segments, bool base,
                                   std::int64_t total) {
  constexpr std::int64_t kRun = 32;
  const std::int64_t wanted = std::clamp<std::int64_t>(total / 128, 1 << 14, 1 << 20);
  const std::size_t streams = segments.front().operands.size() - (base ? 1 : 0);
  std::vector<std::vector<T>> samples(streams);
  const RandomStream jitter({.seed = 0, .purpose = "select.sample"});
  Engine quiet = engine;
  quiet.on_bytes_read = nullptr;
  for (const Segment& segment : segments) {
    const std::int64_t n = elements(segment);
    const std::int64_t runs = std::min((n * (wanted / kRun) + total - 1) / total, (n + kRun - 1) / kRun);
    std::vector<std::vector<T>> part(streams, std::vector<T>(static_cast<std::size_t>(runs * kRun)));
    std::vector<std::int64_t> lengths(static_cast<std::size_t>(runs));
    engine.pool->for_each((runs + 255) / 256, [&](std::int64_t batch, int) {
      std::array<T, kRun> from, zero;
      for (std::int64_t r = batch * 256; r < std::min(runs, batch * 256 + 256); ++r) {
        const std::int64_t begin = n * r / runs, room = n * (r + 1) / runs - begin;
        const std::int64_t shift = room > kRun
                                       ? static_cast<std::int64_t>(jitter.below(
                                             static_cast<std::uint64_t>(r), static_cast<std::uint64_t>(room - kRun)))
                                       : 0;
        const std::int64_t at = begin + shift, count = std::min(kRun, n - at);
        lengths[static_cast<std::size_t>(r)] = count;
        if (base) load_range(quiet, segment.operands[0], at, count, zero.data());
        for (std::size_t t = 0; t < streams; ++t) {
          load_range(quiet, segment.operands[t + (base ? 1 : 0)], at, count, from.data());
          if (base) difference(from.data(), zero.data(), count, from.data());
          settle_nan(quiet, from.data(), count);
          for (std::int64_t i = 0; i < count; ++i)
            part[t][static_cast<std::size_t>(r * kRun + i)] = std::abs(from[static_cast<std::size_t>(i)]);
        }
      }
    });
    for (std::size_t t = 0; t < streams; ++t)
      for (std::int64_t r = 0; r < runs; ++r) {
        const auto begin = part[t].begin() + r * kRun;
        samples[t].insert(samples[t].end(), begin, begin + lengths[static_cast<std::size_t>(r)]);
      }
  }
  return samples;
}

// Order statistics of the sample around the wanted rank. Neighbours are alike, so the deviation is taken twice as large
// as independent draws would have it; the bracket spans 3.5 of them on both sides.
template <class T>
Bracket<T> bracket_of(std::vector<T>& sample, std::int64_t rank, std::int64_t total) {
  const double m = static_cast<double>(sample.size());
  const double p = static_cast<double>(rank) / static_cast<double>(total);
  const double spread = (7.0 * std::sqrt(m * p * (1 - p)) + 7.0);
  auto rest = sample.begin();  // what is behind the first order statistic stays behind it
  const auto order = [&](double from_top) {
    const auto nth = sample.begin() + static_cast<std::int64_t>(from_top);
    std::nth_element(rest, nth, sample.end(), std::greater<>());
    rest = nth;
    return *nth;
  };
  Bracket<T> result;
  if (p * m - spread >= 1) result.high = order(p * m - spread);
  if (p * m + spread < m - 1) result.low = order(p * m + spread);
  if (detail::select_tuning().miss) result.low = result.high;
  return result;
}

// What one pass learns of one request. Every block's part is kept apart, so that ties can be counted up to any place.
template <class T>
struct Tally {
  struct Block {
    std::int64_t at_high = 0, at_low = 0;
    std::size_t worker = 0, first = 0, last = 0;  // its magnitudes in the worker's list, in order of position
  };
  std::vector<std::vector<Block>> blocks;  // segment by segment
  std::vector<std::vector<T>> between;     // worker by worker
  std::vector<std::int64_t> above;

  Tally(std::span<const Segment> segments, std::int64_t block, std::size_t workers) : between(workers), above(workers) {
    for (const Segment& segment : segments)
      blocks.emplace_back(static_cast<std::size_t>((elements(segment) + block - 1) / block));
  }

  void add(std::size_t segment, std::int64_t number, std::size_t worker, const BandCount& count, const T* magnitudes) {
    Block& block = blocks[segment][static_cast<std::size_t>(number)];
    std::vector<T>& list = between[worker];
    if (block.first == block.last) block.first = block.last = list.size();
    list.insert(list.end(), magnitudes, magnitudes + count.between);
    block.worker = worker;
    block.last = list.size();
    block.at_high += count.at_high;
    block.at_low += count.at_low;
    above[worker] += count.above;
  }

  std::int64_t equal(const Block& block, const T& value, T low, T high) const {
    if (value == high) return block.at_high;
    if (value == low) return block.at_low;
    const auto begin = between[block.worker].begin();
    return std::count(begin + static_cast<std::ptrdiff_t>(block.first), begin + static_cast<std::ptrdiff_t>(block.last),
                      value);
  }
};

// How many entries of a block have a magnitude.
using CountEqual = std::function<std::int64_t(std::size_t segment, std::int64_t block)>;

// Finds the position of the `wanted`-th entry of the cut's magnitude: block by block, then within one.
template <class T>
void locate(const Engine& engine, std::span<const Segment> segments, bool base, std::size_t stream, std::int64_t wanted,
            const CountEqual& equal, Cut<T>& cut) {
  const std::int64_t block = engine.blocking.block;
  for (std::size_t s = 0; s < segments.size(); ++s) {
    const std::int64_t n = elements(segments[s]);
    for (std::int64_t first = 0; first < n; first += block) {
      const std::int64_t here = equal(s, first / block);
      if (here < wanted) {
        wanted -= here;
        continue;
      }
      const std::int64_t count = std::min(block, n - first);
      std::vector<T> v(static_cast<std::size_t>(count));
      load_changes(engine, segments[s], base, stream, first, count, v.data());
      cut.segment = s;
      for (std::int64_t i = 0; i < count; ++i)
        if (std::abs(v[static_cast<std::size_t>(i)]) == cut.value && --wanted == 0) {
          cut.last = first + i;
          return;
        }
    }
  }
}

// Ties counted by a pass of their own, where no tally has them.
template <class T>
CountEqual count_equal(const Engine& engine, std::span<const Segment> segments, bool base, std::size_t stream,
                       T value) {
  auto counts = std::make_shared<std::vector<std::vector<std::int64_t>>>();
  for (const Segment& segment : segments) {
    std::vector<std::int64_t>& here =
        counts->emplace_back(static_cast<std::size_t>(elements(segment) / engine.blocking.block + 1));
    for_tiles<T>(engine, segment.operands, 0, [&](const Tile<T>& tile, std::int64_t block, int) {
      to_changes(engine, tile, base);
      const T* v = tile[stream + (base ? 1 : 0)];
      here[static_cast<std::size_t>(block)] +=
          std::count_if(v, v + tile.count, [&](T x) { return std::abs(x) == value; });
    });
  }
  return
      [counts](std::size_t segment, std::int64_t block) { return (*counts)[segment][static_cast<std::size_t>(block)]; };
}

// The exact value by its bits: half of them in one pass, the other half in a second. Magnitudes are ordered as their
// bits.
template <class T>
void by_histogram(const Engine& engine, std::span<const Segment> segments, bool base, const RankRequest& request,
                  Cut<T>& cut, std::int64_t& ties) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr int kWidth = sizeof(T) * 8, kDigit = 16;
  Bits prefix = 0;
  std::int64_t rank = request.rank;
  for (int shift = kWidth - kDigit; shift >= 0; shift -= kDigit) {
    std::vector<std::int64_t> histogram(1 << kDigit);
    for (const Segment& segment : segments) {
      std::vector<std::vector<std::int64_t>> parts(static_cast<std::size_t>(engine.pool->size()));
      for_tiles<T>(engine, segment.operands, 0, [&](const Tile<T>& tile, std::int64_t, int worker) {
        auto& part = parts[static_cast<std::size_t>(worker)];
        part.resize(histogram.size());
        to_changes(engine, tile, base);
        const T* v = tile[request.stream + (base ? 1 : 0)];
        for (std::int64_t i = 0; i < tile.count; ++i) {
          const Bits bits = std::bit_cast<Bits>(std::abs(v[i]));
          if (shift + kDigit == kWidth || bits >> (shift + kDigit) == prefix >> (shift + kDigit))
            ++part[static_cast<std::size_t>((bits >> shift) & ((1u << kDigit) - 1))];
        }
      });
      for (const auto& part : parts)
        for (std::size_t digit = 0; digit < part.size(); ++digit) histogram[digit] += part[digit];
    }
    std::size_t digit = histogram.size() - 1;
    for (; digit > 0 && histogram[digit] < rank; --digit) rank -= histogram[digit];
    prefix |= static_cast<Bits>(digit) << shift;
    ties = histogram[digit];
  }
  cut.value = std::bit_cast<T>(prefix);
  cut.segment = 0;
  cut.last = rank;  // how many of the ties are wanted; the caller turns it into a position
}

// From a tally to the value, the number of entries with it and how many of those are wanted; false if the bracket
// missed.
template <class T>
bool resolve(const Tally<T>& tally, const Bracket<T>& bracket, std::int64_t rank, T& value, std::int64_t& ties,
             std::int64_t& wanted) {
  std::int64_t at_high = 0, at_low = 0;
  for (const auto& segment : tally.blocks)
    for (const auto& block : segment) {
      at_high += block.at_high;
      at_low += block.at_low;
    }
  wanted = rank - std::accumulate(tally.above.begin(), tally.above.end(), std::int64_t{0});
  if (wanted <= 0) return false;
  if (wanted <= at_high) {
    value = bracket.high;
    ties = at_high;
    return true;
  }
  wanted -= at_high;
  std::vector<T> inside;
  for (const auto& list : tally.between) inside.insert(inside.end(), list.begin(), list.end());
  if (wanted <= static_cast<std::int64_t>(inside.size())) {
    auto nth = inside.begin() + (wanted - 1);
    std::nth_element(inside.begin(), nth, inside.end(), std::greater<>());
    value = *nth;
    ties = std::count(inside.begin(), inside.end(), value);
    wanted -= std::count_if(inside.begin(), nth, [&](T v) { return v > value; });
    return true;
  }
  wanted -= static_cast<std::int64_t>(inside.size());
  if (wanted > at_low) return false;
  value = bracket.low;
  ties = at_low;
  return true;
}

// The whole of the segments' streams in memory, in order of position.
template <class T>
std::vector<Cut<T>> select_small(const Engine& engine, std::span<const Segment> segments, bool base,
                                 std::span<const RankRequest> requests) {
  const std::size_t streams = segments.front().operands.size() - (base ? 1 : 0);
  std::vector<std::vector<T>> values(streams);
  for (const Segment& segment : segments) {
    const std::int64_t n = elements(segment);
    std::vector<T> v(static_cast<std::size_t>(n));
    for (std::size_t t = 0; t < streams; ++t) {
      load_changes(engine, segment, base, t, 0, n, v.data());
      values[t].insert(values[t].end(), v.begin(), v.end());
    }
  }
  std::vector<Cut<T>> cuts;
  for (const RankRequest& request : requests) {
    Cut<T> cut = select_cut(std::span<const T>(values[request.stream]), request.rank);
    for (std::size_t s = 0; cut.last >= 0 && cut.segment == 0 && s < segments.size(); ++s) {
      const std::int64_t n = elements(segments[s]);
      if (cut.last < n) {
        cut.segment = s;
        break;
      }
      cut.last -= n;
    }
    cuts.push_back(cut);
  }
  return cuts;
}

}  // namespace

template <class T>
Cut<T> select_cut(std::span<const T> values, std::int64_t rank) {
  const auto n = static_cast<std::int64_t>(values.size());
  if (rank <= 0) return nothing<T>();
  if (rank >= n) return everything<T>();
  std::vector<T> magnitudes(values.size());
  std::transform(values.begin(), values.end(), magnitudes.begin(), [](T v) { return std::abs(v); });
  std::nth_element(magnitudes.begin(), magnitudes.begin() + (rank - 1), magnitudes.end(), std::greater<>());
  Cut<T> cut{magnitudes[static_cast<std::size_t>(rank - 1)], 0, -1};
  std::int64_t wanted =
      rank - std::count_if(values.begin(), values.end(), [&](T v) { return std::abs(v) > cut.value; });
  for (std::int64_t i = 0; wanted > 0; ++i)
    if (std::abs(values[static_cast<std::size_t>(i)]) == cut.value) {
      cut.last = i;
      --wanted;
    }
  return cut;
}

template <class T>
std::vector<Cut<T>> select_cuts(const Engine& engine, std::span<const Segment> segments, bool base,
                                std::span<const RankRequest> requests) {
  std::int64_t total = 0;
  for (const Segment& segment : segments) total += elements(segment);
  if (total <= detail::select_tuning().in_memory) return select_small<T>(engine, segments, base, requests);

  std::vector<Cut<T>> cuts(requests.size());
  std::vector<std::size_t> open;
  for (std::size_t r = 0; r < requests.size(); ++r) {
    if (requests[r].rank <= 0)
      cuts[r] = nothing<T>();
    else if (requests[r].rank >= total)
      cuts[r] = everything<T>();
    else
      open.push_back(r);
  }
  if (open.empty()) return cuts;

  auto samples = sample<T>(engine, segments, base, total);
  std::vector<Bracket<T>> brackets(requests.size());
  for (const std::size_t r : open) brackets[r] = bracket_of(samples[requests[r].stream], requests[r].rank, total);
  samples.clear();

  std::vector<Tally<T>> tallies;
  for (std::size_t i = 0; i < open.size(); ++i)
    tallies.emplace_back(segments, engine.blocking.block, static_cast<std::size_t>(engine.pool->size()));
  for (std::size_t s = 0; s < segments.size(); ++s)
    for_tiles<T>(engine, segments[s].operands, 1, [&](const Tile<T>& tile, std::int64_t block, int worker) {
      const Tile<T> inputs{tile.first, tile.count, tile.inputs.first(tile.inputs.size() - 1), tile.last};
      T* between = tile.inputs.back();
      to_changes(engine, inputs, base);
      for (std::size_t i = 0; i < open.size(); ++i) {
        const std::size_t r = open[i];
        const BandCount count = count_band(inputs[requests[r].stream + (base ? 1 : 0)], brackets[r].low,
                                           brackets[r].high, tile.count, between);
        tallies[i].add(s, block, static_cast<std::size_t>(worker), count, between);
      }
    });
  for (std::size_t i = 0; i < open.size(); ++i) {
    const std::size_t r = open[i], stream = requests[r].stream;
    std::int64_t ties = 0, wanted = 0;
    Cut<T>& cut = cuts[r];
    const bool hit = resolve(tallies[i], brackets[r], requests[r].rank, cut.value, ties, wanted);
    if (!hit) {
      by_histogram(engine, segments, base, requests[r], cut, ties);
      wanted = cut.last;
    }
    if (wanted == ties) {
      cut.segment = std::numeric_limits<std::size_t>::max();  // all ties, wherever they are
      cut.last = -1;
    } else if (hit) {
      const auto equal = [&](std::size_t s, std::int64_t block) {
        return tallies[i].equal(tallies[i].blocks[s][static_cast<std::size_t>(block)], cut.value, brackets[r].low,
                                brackets[r].high);
      };
      locate(engine, segments, base, stream, wanted, equal, cut);
    } else {
      locate(engine, segments, base, stream, wanted, count_equal(engine, segments, base, stream, cut.value), cut);
    }
    tallies[i].between.clear();
  }
  return cuts;
}

namespace {

// Calls piece(low, high, at, count) for up to three stretches of [0, n), between the places where the ties of either
// cut end: there, the band is low < magnitude <= high.
template <class T, class Piece>
void for_pieces(const Cut<T>& upper, const Cut<T>& lower, std::size_t segment, std::int64_t first, std::int64_t n,
                Piece piece) {
  const std::int64_t upper_end = std::clamp<std::int64_t>(upper.ties_end(segment) - first, 0, n);
  const std::int64_t lower_end = std::clamp<std::int64_t>(lower.ties_end(segment) - first, 0, n);
  std::int64_t at = 0;
  for (const std::int64_t end : {std::min(upper_end, lower_end), std::max(upper_end, lower_end), n}) {
    if (end <= at) continue;
    piece(at < lower_end ? below(lower.value) : lower.value, at < upper_end ? below(upper.value) : upper.value, at,
          end - at);
    at = end;
  }
}

}  // namespace

template <class T>
void keep_between(const Cut<T>& upper, const Cut<T>& lower, std::size_t segment, std::int64_t first, std::int64_t n,
                  T* values) {
  for_pieces(upper, lower, segment, first, n,
             [&](T low, T high, std::int64_t at, std::int64_t count) { keep_band(low, high, count, values + at); });
}

template <class T>
void keep_changes(const Cut<T>& upper, const Cut<T>& lower, std::size_t segment, std::int64_t first, std::int64_t n,
                  const T* x, const T* base, T* out) {
  for_pieces(upper, lower, segment, first, n, [&](T low, T high, std::int64_t at, std::int64_t count) {
    kept_difference(low, high, x + at, base + at, count, out + at);
  });
}

#define SOLERA_INSTANTIATE(T)                                                                                    \
  template Cut<T> select_cut<T>(std::span<const T>, std::int64_t);                                               \
  template std::vector<Cut<T>> select_cuts<T>(const Engine&, std::span<const Segment>, bool,                     \
                                              std::span<const RankRequest>);                                     \
  template void keep_between<T>(const Cut<T>&, const Cut<T>&, std::size_t, std::int64_t, std::int64_t, T*);      \
  template void keep_changes<T>(const Cut<T>&, const Cut<T>&, std::size_t, std::int64_t, std::int64_t, const T*, \
                                const T*, T*)
SOLERA_INSTANTIATE(float);
SOLERA_INSTANTIATE(double);
#undef SOLERA_INSTANTIATE

}  // namespace solera::weights
