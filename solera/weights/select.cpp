#include "solera/weights/select.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <type_traits>

#include "solera/base/random.h"
#include "solera/weights/kth_largest.h"
#include "solera/weights/select_source.h"
#include "solera/weights/vector.h"

namespace solera::weights {

namespace detail {
SelectTuning& select_tuning() {
  static SelectTuning tuning;
  return tuning;
}
}  // namespace detail

namespace {

using detail::elements;
using detail::Range;
using detail::Source;

// Neighbours at a time from evenly spaced places, jittered by a counter-based draw: one or two cache lines each.
constexpr std::int64_t kRun = 64;

template <class T>
std::vector<std::vector<T>> sample(const Source<T>& source, std::int64_t total) {
  const std::int64_t wanted = std::clamp<std::int64_t>(total / 128, 1 << 14, 1 << 20);
  const std::size_t streams = source.streams();
  std::vector<std::vector<T>> samples(streams);
  const RandomStream jitter({.seed = 0, .purpose = "select.sample"});
  Engine quiet = source.engine;
  quiet.on_bytes_read = nullptr;
  for (std::size_t s = 0; s < source.segments.size(); ++s) {
    const std::int64_t n = elements(source.segments[s]);
    const std::int64_t runs = std::min((n * (wanted / kRun) + total - 1) / total, (n + kRun - 1) / kRun);
    std::vector<std::vector<T>> part(streams, std::vector<T>(static_cast<std::size_t>(runs * kRun)));
    std::vector<std::int64_t> lengths(static_cast<std::size_t>(runs));
    source.engine.pool->for_each((runs + 255) / 256, [&](std::int64_t batch, int) {
      Range<T> range(source, quiet, kRun);
      for (std::int64_t r = batch * 256; r < std::min(runs, batch * 256 + 256); ++r) {
        const std::int64_t begin = n * r / runs, room = n * (r + 1) / runs - begin;
        const std::int64_t shift = room > kRun
                                       ? static_cast<std::int64_t>(jitter.below(
                                             static_cast<std::uint64_t>(r), static_cast<std::uint64_t>(room - kRun)))
                                       : 0;
        const std::int64_t at = begin + shift, count = std::min(kRun, n - at);
        lengths[static_cast<std::size_t>(r)] = count;
        range.load(s, at, count);
        for (std::size_t t = 0; t < streams; ++t)
          for (std::int64_t i = 0; i < count; ++i)
            part[t][static_cast<std::size_t>(r * kRun + i)] = std::abs(range.values(t)[i]);
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

// The standard deviation of how many of the sample exceed its p-quantile. A run of neighbours is one draw, since they
// are alike, and runs stand in the order of their places, so half the mean square of successive differences estimates
// the variance of a run's count (von Neumann 1941), whatever the tensor's own structure. A part of the runs is enough.
template <class T>
double deviation_of(std::span<const T> sample, double p) {
  const std::size_t runs = sample.size() / kRun, every = runs < 512 ? 1 : 8;
  if (runs < 2) return static_cast<double>(sample.size());
  std::vector<T> part;
  for (std::size_t i = 0; i + kRun <= sample.size(); i += every * kRun)
    part.insert(part.end(), sample.begin() + static_cast<std::ptrdiff_t>(i),
                sample.begin() + static_cast<std::ptrdiff_t>(i + kRun));
  const T quantile = kth_largest<T>(part, 1 + static_cast<std::int64_t>(p * static_cast<double>(part.size() - 1)));
  double squares = 0;
  std::int64_t previous = 0;
  for (std::size_t i = 0; i < part.size(); i += kRun) {
    const auto begin = part.begin() + static_cast<std::ptrdiff_t>(i);
    const std::int64_t count = std::count_if(begin, begin + kRun, [&](T v) { return v > quantile; });
    if (i > 0) squares += static_cast<double>((count - previous) * (count - previous));
    previous = count;
  }
  return std::sqrt(0.5 * squares * static_cast<double>(every));
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

// Finds the position of the `wanted`-th entry of the cut's magnitude: block by block, then tile by tile within one.
template <class T>
void locate(const Source<T>& source, std::size_t stream, std::int64_t wanted, const CountEqual& equal, Cut<T>& cut) {
  const std::int64_t block = source.engine.blocking.block;
  for (std::size_t s = 0; s < source.segments.size(); ++s) {
    const std::int64_t n = elements(source.segments[s]);
    for (std::int64_t first = 0; first < n; first += block) {
      const std::int64_t here = equal(s, first / block);
      if (here < wanted) {
        wanted -= here;
        continue;
      }
      cut.segment = s;
      const std::int64_t end = std::min(n, first + block);
      std::array<T, kTile> unused;
      Range<T> range(source, source.engine, kTile);
      for (std::int64_t at = first; at < end; at += kTile) {
        const std::int64_t count = std::min(kTile, end - at);
        range.load(s, at, count, stream);
        const T* v = range.values(stream);
        const std::int64_t ties = count_band(v, cut.value, cut.value, count, unused.data()).at_high;
        if (ties < wanted) {
          wanted -= ties;
          continue;
        }
        for (std::size_t i = 0;; ++i)
          if (std::abs(v[i]) == cut.value && --wanted == 0) {
            cut.last = at + static_cast<std::int64_t>(i);
            return;
          }
      }
    }
  }
}

// Ties counted by a pass of their own, where no tally has them.
template <class T>
CountEqual count_equal(const Source<T>& source, std::size_t stream, T value) {
  auto counts = std::make_shared<std::vector<std::vector<std::int64_t>>>();
  for (std::size_t s = 0; s < source.segments.size(); ++s) {
    const Segment& segment = source.segments[s];
    std::vector<std::int64_t>& here =
        counts->emplace_back(static_cast<std::size_t>(elements(segment) / source.engine.blocking.block + 1));
    for_tiles<T>(
        source.engine, segment.operands, 0,
        [&](const Tile<T>& tile, std::int64_t block, int) {
          source.prepare(s, tile);
          const T* v = source.row(tile, stream);
          here[static_cast<std::size_t>(block)] +=
              std::count_if(v, v + tile.count, [&](T x) { return std::abs(x) == value; });
        },
        source.reading);
  }
  return
      [counts](std::size_t segment, std::int64_t block) { return (*counts)[segment][static_cast<std::size_t>(block)]; };
}

// The exact value by its bits: half of them in one pass, the other half in a second. Magnitudes are ordered as their
// bits.
template <class T>
Found<T> by_histogram(const Source<T>& source, const RankRequest& request) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr int kWidth = sizeof(T) * 8, kDigit = 16;
  Bits prefix = 0;
  std::int64_t rank = request.rank, ties = 0;
  for (int shift = kWidth - kDigit; shift >= 0; shift -= kDigit) {
    std::vector<std::int64_t> histogram(1 << kDigit);
    for (std::size_t s = 0; s < source.segments.size(); ++s) {
      std::vector<std::vector<std::int64_t>> parts(static_cast<std::size_t>(source.engine.pool->size()));
      const auto count = [&](const Tile<T>& tile, std::int64_t, int worker) {
        auto& part = parts[static_cast<std::size_t>(worker)];
        part.resize(histogram.size());
        source.prepare(s, tile);
        const T* v = source.row(tile, request.stream);
        for (std::int64_t i = 0; i < tile.count; ++i) {
          const Bits bits = std::bit_cast<Bits>(std::abs(v[i]));
          if (shift + kDigit == kWidth || bits >> (shift + kDigit) == prefix >> (shift + kDigit))
            ++part[static_cast<std::size_t>((bits >> shift) & ((1u << kDigit) - 1))];
        }
      };
      for_tiles<T>(source.engine, source.segments[s].operands, 0, count, source.reading);
      for (const auto& part : parts)
        for (std::size_t digit = 0; digit < part.size(); ++digit) histogram[digit] += part[digit];
    }
    std::size_t digit = histogram.size() - 1;
    for (; digit > 0 && histogram[digit] < rank; --digit) rank -= histogram[digit];
    prefix |= static_cast<Bits>(digit) << shift;
    ties = histogram[digit];
  }
  return {std::bit_cast<T>(prefix), ties, rank};
}

// From a tally to the magnitude of a rank; none if the bracket missed.
template <class T>
std::optional<Found<T>> resolve(const Tally<T>& tally, const Bracket<T>& bracket, std::int64_t rank) {
  BandCount count;
  for (const auto& segment : tally.blocks)
    for (const auto& block : segment) {
      count.at_high += block.at_high;
      count.at_low += block.at_low;
    }
  count.above = std::accumulate(tally.above.begin(), tally.above.end(), std::int64_t{0});
  std::vector<T> inside;
  for (const auto& list : tally.between) inside.insert(inside.end(), list.begin(), list.end());
  count.between = static_cast<std::int64_t>(inside.size());
  return find_rank<T>(count, inside, bracket, rank);
}

// The whole of the segments' streams in memory, in order of position.
template <class T>
std::vector<Cut<T>> select_small(const Source<T>& source, std::span<const RankRequest> requests) {
  const std::span<const Segment> segments = source.segments;
  std::vector<std::vector<T>> values(source.streams());
  for (std::size_t s = 0; s < segments.size(); ++s) {
    const std::int64_t n = elements(segments[s]);
    Range<T> range(source, source.engine, n);
    range.load(s, 0, n);
    for (std::size_t t = 0; t < values.size(); ++t)
      values[t].insert(values[t].end(), range.values(t), range.values(t) + n);
  }
  std::vector<Cut<T>> cuts;
  for (const RankRequest& request : requests) {
    const std::span<const T> all = values[request.stream];
    Cut<T> cut = select_cut(all, request.rank);
    if (request.least && request.rank >= std::ssize(all) && !all.empty())
      cut.value =
          std::abs(*std::min_element(all.begin(), all.end(), [](T a, T b) { return std::abs(a) < std::abs(b); }));
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

template <class T>
std::vector<Cut<T>> select_from(const Source<T>& source, std::span<const RankRequest> requests) {
  const Engine& engine = source.engine;
  const std::span<const Segment> segments = source.segments;
  std::int64_t total = 0;
  for (const Segment& segment : segments) total += elements(segment);
  if (total <= detail::select_tuning().in_memory) return select_small(source, requests);

  std::vector<Cut<T>> cuts(requests.size());
  std::vector<std::size_t> open;
  for (std::size_t r = 0; r < requests.size(); ++r) {
    if (requests[r].rank > 0 && (requests[r].rank < total || requests[r].least))
      open.push_back(r);
    else
      cuts[r] = end_cut<T>(requests[r].rank);
  }
  if (open.empty()) return cuts;

  auto samples = sample(source, total);
  std::vector<Bracket<T>> brackets(requests.size());
  for (const std::size_t r : open) {
    const std::span<const T> magnitudes = samples[requests[r].stream];
    const double p = static_cast<double>(std::min(requests[r].rank, total)) / static_cast<double>(total);
    brackets[r] = bracket_of(magnitudes, p, 4.5 * deviation_of(magnitudes, p) + 8);
    if (detail::select_tuning().miss) brackets[r].low = brackets[r].high;
  }
  samples.clear();

  std::vector<Tally<T>> tallies;
  for (std::size_t i = 0; i < open.size(); ++i)
    tallies.emplace_back(segments, engine.blocking.block, static_cast<std::size_t>(engine.pool->size()));
  for (std::size_t s = 0; s < segments.size(); ++s)
    for_tiles<T>(
        engine, segments[s].operands, 1,
        [&](const Tile<T>& tile, std::int64_t block, int worker) {
          T* between = tile.inputs.back();
          source.prepare(s, tile);
          for (std::size_t i = 0; i < open.size(); ++i) {
            const std::size_t r = open[i];
            const BandCount count = count_band(source.row(tile, requests[r].stream), brackets[r].low, brackets[r].high,
                                               tile.count, between);
            tallies[i].add(s, block, static_cast<std::size_t>(worker), count, between);
          }
        },
        source.reading);
  for (std::size_t i = 0; i < open.size(); ++i) {
    const std::size_t r = open[i], stream = requests[r].stream;
    const RankRequest request{stream, std::min(requests[r].rank, total)};
    const auto hit = resolve(tallies[i], brackets[r], request.rank);
    const auto [value, ties, wanted] = hit ? *hit : by_histogram(source, request);
    Cut<T>& cut = cuts[r];
    cut.value = value;
    if (wanted == ties) {
      cut.segment = std::numeric_limits<std::size_t>::max();  // all ties, wherever they are
    } else if (hit) {
      const auto equal = [&](std::size_t s, std::int64_t block) {
        return tallies[i].equal(tallies[i].blocks[s][static_cast<std::size_t>(block)], cut.value, brackets[r].low,
                                brackets[r].high);
      };
      locate(source, stream, wanted, equal, cut);
    } else {
      locate(source, stream, wanted, count_equal(source, stream, cut.value), cut);
    }
    tallies[i].between.clear();
  }
  return cuts;
}

}  // namespace

template <class T>
std::vector<Cut<T>> select_cuts(const Engine& engine, std::span<const Segment> segments, Reading reading,
                                std::span<const RankRequest> requests) {
  return select_from(Source<T>{engine, segments, reading}, requests);
}

template <class T>
std::vector<Cut<T>> select_score_cuts(const Engine& engine, std::span<const Segment> segments, Reading reading,
                                      const Score<T>& score, std::span<const RankRequest> requests) {
  return select_from(Source<T>{engine, segments, reading, &score}, requests);
}

#define SOLERA_INSTANTIATE(T)                                                                                          \
  template std::vector<Cut<T>> select_cuts<T>(const Engine&, std::span<const Segment>, Reading,                        \
                                              std::span<const RankRequest>);                                           \
  template std::vector<Cut<T>> select_score_cuts<T>(const Engine&, std::span<const Segment>, Reading, const Score<T>&, \
                                                    std::span<const RankRequest>)
SOLERA_INSTANTIATE(float);
SOLERA_INSTANTIATE(double);
#undef SOLERA_INSTANTIATE

}  // namespace solera::weights
