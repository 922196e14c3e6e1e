#include "solera/weights/change_size.h"

#include <array>
#include <cmath>

#include "solera/weights/vector.h"

namespace solera::weights {

namespace {

struct Sums {
  LaneSum magnitudes, squares;
  void merge(const Sums& right) {
    magnitudes.merge(right.magnitudes);
    squares.merge(right.squares);
  }
};

}  // namespace

Advice advice_for(double mean_change) {
  if (mean_change <= kSmallChange) return Advice::kRescale;
  return mean_change <= kLargeChange ? Advice::kTryBoth : Advice::kImportance;
}

ChangeSize change_size(const Engine& engine, const checkpoint::Checkpoint& base, const checkpoint::Checkpoint& tuned,
                       std::span<const TensorPair> pairs) {
  ChangeSize size;
  double magnitudes = 0, squares = 0;
  for (const TensorPair& pair : pairs) {
    if (!checkpoint::is_float(pair.base->dtype)) continue;
    const std::array<Operand, 2> operands = {Operand{&base, pair.base, {}, base.path()},
                                             Operand{&tuned, pair.tuned, {}, tuned.path()}};
    const auto sums = reduce<double, Sums>(
        engine, operands,
        [](const Tile<double>& tile, Sums& state) {
          double* d = tile[1];
          for (std::int64_t i = 0; i < tile.count; ++i) d[i] = std::abs(d[i]);
          state.magnitudes.add(d, tile.count);
          state.squares.add_product(d, d, tile.count);
        },
        Reading::kChanges);
    size.entries += pair.base->elements();
    magnitudes += sums.magnitudes.total();
    squares += sums.squares.total();
  }
  if (size.entries == 0) return size;
  size.mean = magnitudes / static_cast<double>(size.entries);
  size.root_mean_square = std::sqrt(squares / static_cast<double>(size.entries));
  return size;
}

}  // namespace solera::weights
