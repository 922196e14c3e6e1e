#include "solera/weights/keep_rule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <variant>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/random.h"
#include "solera/base/text.h"
#include "solera/weights/elements.h"
#include "solera/weights/overlap.h"
#include "solera/weights/wanda.h"

namespace solera::weights {

namespace {

// Those after `upper` and before `lower`, of one group.
template <class T>
struct Ranks {
  Cut<T> upper, lower;
};

template <class T>
bool is_before(const Cut<T>& cut, T magnitude, std::int64_t index, std::int64_t ties_end) {
  return magnitude > cut.value || (magnitude == cut.value && index < ties_end);
}

struct RankRange {
  std::int64_t first = 0, last = 0;
};

std::int64_t columns_of(const Segment& segment) {
  return checkpoint::input_features(segment.operands[0].tensor->shape);
}

RankRange range_of(const Sparsity& sparsity, std::int64_t n) {
  const std::int64_t k = sparsity.count.value_or(floor_count(sparsity.density, n));
  const std::int64_t r = sparsity.how == Sparsify::kOutliers ? floor_count(sparsity.remove, n) : 0;
  if (sparsity.count && k > n - r)
    throw usage_error(cat(k, " changes are to be kept, but there are ", n - r, " entries to choose from"));
  return {r, r + k};
}

template <class T>
std::vector<Ranks<T>> find_ranks(const Engine& engine, std::span<const Segment> segments, const Sparsity& sparsity) {
  std::vector<Ranks<T>> found;
  const auto add = [&](std::span<const Segment> group) {
    std::int64_t n = 0;
    for (const Segment& segment : group) n += segment.operands.front().tensor->elements();
    const RankRange range = range_of(sparsity, n);
    const std::array<RankRequest, 2> requests = {RankRequest{0, range.first}, RankRequest{0, range.last}};
    const auto cuts = select_cuts<T>(engine, group, Reading::kChanges, requests);
    found.push_back({cuts[0], cuts[1]});
  };
  if (sparsity.whole_model) {
    add(segments);
  } else {
    for (const Segment& segment : segments) {
      if (sparsity.how == Sparsify::kWanda && columns_of(segment) > 0) {
        found.emplace_back();  // its rows have cuts of their own
      } else {
        add(std::span(&segment, 1));
      }
    }
  }
  return found;
}

template <class Bits>
void mark_changed(const std::byte* base, const std::byte* tuned, std::int64_t count, std::uint8_t* mask) {
  for (std::int64_t first = 0; first < count; first += 8) {
    std::uint8_t byte = 0;
    const std::int64_t n = std::min<std::int64_t>(8, count - first);
    for (std::int64_t i = 0; i < n; ++i) {
      Bits a, b;
      std::memcpy(&a, base + (first + i) * static_cast<std::int64_t>(sizeof(Bits)), sizeof(Bits));
      std::memcpy(&b, tuned + (first + i) * static_cast<std::int64_t>(sizeof(Bits)), sizeof(Bits));
      byte = static_cast<std::uint8_t>(byte | (a != b) << i);
    }
    mask[first / 8] = byte;
  }
}

void mark(std::uint8_t* mask, std::int64_t i, bool kept) {
  mask[i / 8] = static_cast<std::uint8_t>(mask[i / 8] | static_cast<unsigned>(kept) << (i % 8));
}

}  // namespace

double Sparsity::scale(const std::string& tensor) const {
  if (how == Sparsify::kRandom) return 1 / density;
  if (!divides()) return 1;
  const auto own = divisors.find(tensor);
  return 1 / (own == divisors.end() ? q : own->second);
}

std::string Sparsity::describe() const {
  static constexpr const char* kNames[] = {"changed", "magnitude", "random", "outliers",
                                           "q",       "region",    "wanda",  "columns"};
  std::string text = kNames[static_cast<int>(how)];
  if (how == Sparsify::kChanged || how == Sparsify::kRegion) return text;
  text += count ? cat(", count ", *count) : cat(", density ", exact_text(density));
  if (how == Sparsify::kOutliers) text += cat(", remove ", exact_text(remove));
  if (divides()) text += cat(", q ", exact_text(q));
  if (!divisors.empty()) {
    const auto [least, most] = std::minmax_element(divisors.begin(), divisors.end(),
                                                   [](const auto& a, const auto& b) { return a.second < b.second; });
    text += cat(" (", exact_text(least->second), " to ", exact_text(most->second), " by tensor)");
  }
  return text + (random() ? cat(", seed ", seed) : whole_model ? ", of the whole model" : ", of each tensor");
}

void Sparsity::check() const {
  if (how == Sparsify::kChanged || how == Sparsify::kRegion) return;
  if (!(density > 0 && density <= 1)) throw usage_error(cat("density is ", exact_text(density), ", outside (0, 1]"));
  if (count && *count < 1) throw usage_error(cat("count is ", *count, ", less than 1"));
  if (count && (random() || !whole_model))
    throw usage_error("a count is one of the whole model's ranks", "",
                      random() ? "give --density" : "add --granularity model");
  if (how == Sparsify::kOutliers && !(remove >= 0 && remove < 1))
    throw usage_error(cat("remove is ", exact_text(remove), ", outside [0, 1)"));
  if (how == Sparsify::kOutliers && !count && density + remove > 1)
    throw usage_error(cat("density + remove is ", number_text(density + remove), ", more than 1"), "",
                      "lower density or remove");
  if (how == Sparsify::kWanda && whole_model)
    throw usage_error("wanda ranks within the rows of each tensor, not over the whole model");
  if (how == Sparsify::kWanda && !inputs)
    throw usage_error("wanda needs the size of the inputs", "", "add --statistics FILE, measured on the tuned model");
  if (!divides()) return;
  const auto check_divisor = [&](double value, const std::string& of) {
    if (!(value > 0 && std::isfinite(value)))
      throw usage_error(cat("the divisor q", of, " is ", exact_text(value), ", not above 0"), "",
                        cat("q = ", exact_text(density), " is DARE, a larger q shrinks the changes"));
  };
  check_divisor(q, "");
  for (const auto& [tensor, value] : divisors) check_divisor(value, cat(" of ", tensor));
}

struct KeepRule::Impl {
  std::vector<Segment> segments;
  Sparsity sparsity;
  std::variant<std::vector<Ranks<float>>, std::vector<Ranks<double>>> ranks;
  std::vector<std::optional<RowCuts>> rows;  // of kWanda, one a segment
  std::vector<std::vector<bool>> columns;    // of kColumns, one a segment; empty: entry by entry

  // Entry after entry of the pair's changes as T: f(index in the chunk, change).
  template <class T, class F>
  void each_change(std::size_t s, std::int64_t first, std::int64_t count, const std::byte* base, const std::byte* tuned,
                   F f) const {
    const Operand &from = segments[s].operands[0], &to = segments[s].operands[1];
    const std::int64_t from_width = checkpoint::bits(from.tensor->dtype) / 8,
                       to_width = checkpoint::bits(to.tensor->dtype) / 8;
    std::array<T, kTile> b, d;
    for (std::int64_t at = 0; at < count; at += kTile) {
      const std::int64_t n = std::min(kTile, count - at);
      const bool finite = load(from.tensor->dtype, base + at * from_width, n, b.data()) &&
                          load_change(to.tensor->dtype, tuned + at * to_width, b.data(), n, d.data());
      if (!finite)
        throw input_error(cat(to.tensor->name, " holds a value that is not finite among entries ", first + at, " to ",
                              first + at + n - 1),
                          to.label, "such a model has no largest changes");
      for (std::int64_t i = 0; i < n; ++i) f(at + i, d[static_cast<std::size_t>(i)]);
    }
  }

  template <class T>
  void mark_ranks(const std::vector<Ranks<T>>& found, std::size_t s, std::int64_t first, std::int64_t count,
                  const std::byte* base, const std::byte* tuned, std::uint8_t* mask) const {
    const Ranks<T>& ranks_of = found[sparsity.whole_model ? 0 : s];
    const std::size_t number = sparsity.whole_model ? s : 0;
    const std::int64_t upper_end = ranks_of.upper.ties_end(number), lower_end = ranks_of.lower.ties_end(number);
    each_change<T>(s, first, count, base, tuned, [&](std::int64_t i, T change) {
      const T magnitude = std::abs(change);
      mark(mask, i,
           is_before(ranks_of.lower, magnitude, first + i, lower_end) &&
               !is_before(ranks_of.upper, magnitude, first + i, upper_end));
    });
  }

  void mark_rows(std::size_t s, std::int64_t first, std::int64_t count, const std::byte* base, const std::byte* tuned,
                 std::uint8_t* mask) const {
    each_change<double>(s, first, count, base, tuned,
                        [&](std::int64_t i, double d) { mark(mask, i, rows[s]->keeps(first + i, d)); });
  }

  void mark_columns(std::size_t s, std::int64_t first, std::int64_t count, std::uint8_t* mask) const {
    const std::vector<bool>& kept = columns[s];
    const auto n = static_cast<std::int64_t>(kept.size());
    std::int64_t column = first % n;
    for (std::int64_t i = 0; i < count; ++i) {
      mark(mask, i, kept[static_cast<std::size_t>(column)]);
      column = column + 1 == n ? 0 : column + 1;
    }
  }

  void mark_regions(std::size_t s, std::int64_t first, std::int64_t count, std::uint8_t* mask) const {
    const checkpoint::Tensor& tensor = *segments[s].operands[0].tensor;
    static thread_local std::vector<std::byte> region;
    region.resize(static_cast<std::size_t>((count + 7) / 8));
    for (const checkpoint::Delta& delta : sparsity.regions) {
      const checkpoint::DeltaEntry* entry = delta.find(tensor.name);
      if (entry && entry->base.shape != tensor.shape)
        throw input_error(cat(tensor.name, " is ", shape_text(tensor.shape), " in the base and ",
                              shape_text(entry->base.shape), " in ", delta.path()),
                          "", "the delta was made for another base");
      read_region(delta, tensor.name, tensor.elements(), first / 8, region);
      for (std::size_t i = 0; i < region.size(); ++i)
        mask[i] = static_cast<std::uint8_t>(mask[i] | static_cast<std::uint8_t>(region[i]));
    }
  }

  void mark_random(std::size_t s, std::int64_t first, std::int64_t count, std::uint8_t* mask) const {
    const RandomStream stream({sparsity.seed, "delta", 0, segments[s].operands[0].tensor->name});
    const auto threshold = static_cast<std::uint64_t>(sparsity.density * 0x1p32);
    std::array<std::uint32_t, kTile> draws;
    for (std::int64_t at = 0; at < count; at += kTile) {
      const std::int64_t n = std::min(kTile, count - at);
      stream.fill_u32(static_cast<std::uint64_t>(first + at), {draws.data(), static_cast<std::size_t>(n)});
      for (std::int64_t i = 0; i < n; ++i) mark(mask, at + i, draws[static_cast<std::size_t>(i)] < threshold);
    }
  }
};

KeepRule::KeepRule(const Engine& engine, std::span<const Segment> segments, const Sparsity& sparsity) {
  auto impl = std::make_unique<Impl>();
  impl->segments.assign(segments.begin(), segments.end());
  impl->sparsity = sparsity;
  sparsity.check();
  const bool by_rows = sparsity.how == Sparsify::kWanda;
  if (by_rows || sparsity.how == Sparsify::kColumns)
    for (const Segment& segment : segments) {
      const std::int64_t columns = columns_of(segment);
      if (by_rows && columns > 0) {
        impl->rows.emplace_back(std::in_place, engine, segment.operands, *sparsity.inputs, sparsity.density);
      } else if (by_rows) {
        impl->rows.emplace_back();
      } else {
        const std::string& name = segment.operands[0].tensor->name;
        impl->columns.push_back(columns > 0 ? random_columns(sparsity.seed, name, columns, sparsity.density)
                                            : std::vector<bool>());
      }
    }
  if ((sparsity.how == Sparsify::kMagnitude || sparsity.how == Sparsify::kOutliers || by_rows) && !segments.empty()) {
    std::int64_t n = 0, kept = 0;
    for (const Segment& segment : segments) {
      const std::int64_t here = segment.operands[0].tensor->elements(), columns = columns_of(segment);
      n += here;
      if (by_rows && columns > 0)
        kept += columns_kept(sparsity.density, columns) * (here / columns);
      else if (!sparsity.whole_model)
        kept += floor_count(sparsity.density, here);
    }
    if (sparsity.whole_model) kept = sparsity.count.value_or(floor_count(sparsity.density, n));
    if (kept < 1)
      throw usage_error(cat("a density of ", exact_text(sparsity.density), " keeps none of ", n, " entries"), "",
                        "raise --density");
    const bool wide = std::any_of(segments.begin(), segments.end(),
                                  [](const Segment& segment) { return needs_double(segment.operands); });
    Engine lenient = engine;  // values that are not finite are found by mask(), which everybody calls
    lenient.allow_nonfinite = true;
    if (wide) {
      impl->ranks = find_ranks<double>(lenient, segments, sparsity);
    } else {
      impl->ranks = find_ranks<float>(lenient, segments, sparsity);
    }
  }
  impl_ = std::move(impl);
}

KeepRule::~KeepRule() = default;
KeepRule::KeepRule(KeepRule&&) noexcept = default;

void KeepRule::mask(std::size_t s, std::int64_t first, std::int64_t count, const std::byte* base,
                    const std::byte* tuned, std::uint8_t* mask) const {
  std::fill_n(mask, (count + 7) / 8, std::uint8_t{0});
  if (impl_->sparsity.how == Sparsify::kColumns && !impl_->columns[s].empty())
    return impl_->mark_columns(s, first, count, mask);
  if (impl_->sparsity.random()) return impl_->mark_random(s, first, count, mask);
  if (impl_->sparsity.how == Sparsify::kWanda && impl_->rows[s])
    return impl_->mark_rows(s, first, count, base, tuned, mask);
  if (impl_->sparsity.how == Sparsify::kRegion) return impl_->mark_regions(s, first, count, mask);
  if (impl_->sparsity.how != Sparsify::kChanged) {
    std::visit([&](const auto& ranks) { impl_->mark_ranks(ranks, s, first, count, base, tuned, mask); }, impl_->ranks);
    return;
  }
  const std::span<const Operand> pair = impl_->segments[s].operands;
  if (pair[0].tensor->dtype != pair[1].tensor->dtype) {  // no common bits: everything
    for (std::int64_t i = 0; i < count; ++i) mark(mask, i, true);
    return;
  }
  switch (checkpoint::bits(pair[0].tensor->dtype)) {
    case 8:
      return mark_changed<std::uint8_t>(base, tuned, count, mask);
    case 16:
      return mark_changed<std::uint16_t>(base, tuned, count, mask);
    case 32:
      return mark_changed<std::uint32_t>(base, tuned, count, mask);
    default:
      return mark_changed<std::uint64_t>(base, tuned, count, mask);
  }
}

}  // namespace solera::weights
