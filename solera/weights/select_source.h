// Where selection out of core reads its magnitudes: what select.cpp is made of, for nobody else.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "solera/weights/select.h"

namespace solera::weights::detail {

inline std::int64_t elements(const Segment& segment) { return segment.operands.front().tensor->elements(); }

// Where NaN is let through it ranks last, so that counts stay exact.
template <class T>
void settle_nan(const Engine& engine, T* values, std::int64_t n) {
  if (engine.allow_nonfinite) std::replace_if(values, values + n, [](T v) { return std::isnan(v); }, T(0));
}

// Where magnitudes come from: streams of values or changes, or those of a score.
template <class T>
struct Source {
  const Engine& engine;
  std::span<const Segment> segments;
  Reading reading = Reading::kValues;
  const Score<T>* score = nullptr;

  std::size_t streams() const { return score ? score->streams : segments.front().operands.size() - first_row(); }
  std::size_t first_row() const { return !score && reading == Reading::kChanges ? 1 : 0; }

  // The rows of a tile made ready: row(tile, stream) has the magnitudes' values.
  void prepare(std::size_t segment, const Tile<T>& tile) const {
    if (score) score->write(segment, tile.first, tile.count, tile.inputs.first(segments.front().operands.size()));
    for (std::size_t t = 0; t < streams(); ++t) settle_nan(engine, row(tile, t), tile.count);
  }
  T* row(const Tile<T>& tile, std::size_t stream) const { return tile[stream + first_row()]; }
};

// Elements of a segment outside a pass, for samples and small tensors: load(), then values of any stream.
template <class T>
class Range {
 public:
  Range(const Source<T>& source, const Engine& engine, std::int64_t most)
      : source_(source),
        engine_(engine),
        stride_(static_cast<std::size_t>(most)),
        values_(source.segments.front().operands.size() * stride_) {
    for (std::size_t k = 0; k < source.segments.front().operands.size(); ++k)
      rows_.push_back(values_.data() + k * stride_);
  }

  // Elements [first, first + count) of all streams, or of one.
  void load(std::size_t number, std::int64_t first, std::int64_t count, std::optional<std::size_t> stream = {}) {
    const Segment& segment = source_.segments[number];
    const bool changes = source_.reading == Reading::kChanges;
    for (std::size_t k = 0; k < rows_.size(); ++k) {
      const bool wanted = !stream || source_.score || k == *stream + source_.first_row() || (changes && k == 0);
      if (wanted)
        load_range(engine_, segment.operands[k], first, count, rows_[k], changes && k > 0 ? rows_[0] : nullptr);
    }
    if (source_.score) source_.score->write(number, first, count, rows_);
    for (std::size_t t = 0; t < source_.streams(); ++t)
      if (!stream || t == *stream) settle_nan(engine_, rows_[t + source_.first_row()], count);
  }
  const T* values(std::size_t stream) const { return rows_[stream + source_.first_row()]; }

 private:
  const Source<T>& source_;
  const Engine& engine_;
  std::size_t stride_;
  std::vector<T> values_;
  std::vector<T*> rows_;
};

}  // namespace solera::weights::detail
