#include "solera/weights/rescale.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/weights/dense.h"
#include "solera/weights/vector.h"

namespace solera::weights {

namespace {

using checkpoint::Statistic;

constexpr double kGridUnit = 1e12;  // decimal places that grids keep
constexpr double kTailStep = 0.001, kTailEnd = 0.998;
constexpr std::int64_t kRowsAtOnce = 64;  // of a weight, in products with a Gram matrix

std::vector<double> read_statistic(const Engine& engine, const checkpoint::Statistics& inputs,
                                   const std::string& weight, Statistic kind) {
  const checkpoint::Tensor* tensor = inputs.find(weight, kind);
  if (!tensor)
    throw input_error(cat("no ", checkpoint::statistic_name(weight, kind)), inputs.file().path(),
                      "this choice of q needs it");
  std::vector<double> values(static_cast<std::size_t>(tensor->elements()));
  load_range<double>(engine, {&inputs.file(), tensor, {}, inputs.file().path()}, 0, tensor->elements(), values.data());
  return values;
}

// "fc1.bias" of "fc1.weight", if it is compared and has an entry for each row.
const TensorPair* bias_of(std::span<const TensorPair> pairs, const std::string& weight, std::int64_t rows) {
  constexpr std::string_view kWeight = "weight";
  if (!weight.ends_with(kWeight)) return nullptr;
  const std::string name = weight.substr(0, weight.size() - kWeight.size()) + "bias";
  for (const TensorPair& pair : pairs)
    if (pair.base->name == name && pair.base->elements() == rows) return &pair;
  return nullptr;
}

class Measure {
 public:
  Measure(const Engine& engine, const checkpoint::Checkpoint& base, const checkpoint::Checkpoint& tuned,
          std::span<const TensorPair> pairs, const checkpoint::Statistics& inputs, InputUse use)
      : engine_(engine), base_(base), tuned_(tuned), pairs_(pairs), inputs_(inputs), use_(use) {}

  LayerChange layer(const TensorPair& pair) const {
    const std::string& name = pair.base->name;
    const std::int64_t columns = checkpoint::input_features(pair.base->shape), rows = pair.base->shape.front();
    LayerChange layer{.weight = name};
    const TensorPair* bias = bias_of(pairs_, name, rows);
    std::vector<double> offsets(static_cast<std::size_t>(rows), 0.0);
    if (bias) {
      layer.bias = bias->base->name;
      changes(*bias, 0, rows, offsets.data());
    }
    if (use_ == InputUse::kMeans) {
      by_means(pair, rows, columns, offsets, layer);
    } else {
      by_grams(pair, rows, columns, offsets, bias != nullptr, layer);
    }
    return layer;
  }

 private:
  std::array<Operand, 2> operands(const TensorPair& pair) const {
    return {Operand{&base_, pair.base, {}, base_.path()}, Operand{&tuned_, pair.tuned, {}, tuned_.path()}};
  }

  void changes(const TensorPair& pair, std::int64_t first, std::int64_t count, double* out) const {
    const auto both = operands(pair);
    std::vector<double> from(static_cast<std::size_t>(count));
    load_range<double>(engine_, both[0], first, count, from.data());
    load_range<double>(engine_, both[1], first, count, out, from.data());
  }

  std::vector<double> nonzero(const std::string& weight, Statistic kind) const {
    std::vector<double> values = read_statistic(engine_, inputs_, weight, kind);
    if (std::all_of(values.begin(), values.end(), [](double v) { return v == 0; }))
      throw input_error(cat(checkpoint::statistic_name(weight, kind), " is all 0: the layer never ran on the data"),
                        inputs_.file().path(), "measure on data that reach it, or leave it out with --exclude");
    return values;
  }

  void by_means(const TensorPair& pair, std::int64_t rows, std::int64_t columns, std::span<const double> offsets,
                LayerChange& layer) const {
    const std::vector<double> mean = nonzero(layer.weight, Statistic::kInputMean);
    layer.s.resize(static_cast<std::size_t>(rows));
    layer.square_sums.resize(static_cast<std::size_t>(rows));
    for_rows<double>(
        engine_, operands(pair), columns, 0,
        [&](const Tile<double>& tile) {
          LaneSum sum, squares;
          double* c = tile[1];
          for (std::int64_t j = 0; j < tile.count; ++j) c[j] *= mean[static_cast<std::size_t>(j)];
          sum.add(c, tile.count);
          squares.add_product(c, c, tile.count);
          const auto row = static_cast<std::size_t>(tile.first / columns);
          layer.s[row] = sum.total() + offsets[row];
          layer.square_sums[row] = squares.total() + offsets[row] * offsets[row];
        },
        Reading::kChanges);
  }

  // The mean of S^2 is d G d + 2 b d m + b^2, of Q the same with the diagonal of G alone.
  void by_grams(const TensorPair& pair, std::int64_t rows, std::int64_t columns, std::span<const double> offsets,
                bool has_bias, LayerChange& layer) const {
    const std::vector<double> gram = nonzero(layer.weight, Statistic::kGram);
    const auto n = static_cast<std::size_t>(columns);
    std::vector<double> mean(n, 0.0);
    if (has_bias) mean = read_statistic(engine_, inputs_, layer.weight, Statistic::kInputMean);
    for (std::int64_t first = 0; first < rows; first += kRowsAtOnce) {
      const std::int64_t count = std::min(kRowsAtOnce, rows - first);
      std::vector<double> d(static_cast<std::size_t>(count) * n), products(d.size(), 0.0);
      changes(pair, first * columns, count * columns, d.data());
      add_product(*engine_.pool, {.m = count,
                                  .n = columns,
                                  .depth = columns,
                                  .a = d.data(),
                                  .a_row = columns,
                                  .b = gram.data(),
                                  .b_row = columns,
                                  .c = products.data(),
                                  .c_row = columns});
      for (std::int64_t r = 0; r < count; ++r) {
        const double* row = d.data() + static_cast<std::size_t>(r) * n;
        const double* product = products.data() + static_cast<std::size_t>(r) * n;
        const double b = offsets[static_cast<std::size_t>(first + r)];
        double s_squared = b * b, squares = b * b, linear = 0;
        for (std::size_t j = 0; j < n; ++j) {
          s_squared += row[j] * product[j];
          squares += row[j] * row[j] * gram[j * (n + 1)];
          linear += row[j] * mean[j];
        }
        layer.total_s_squared += s_squared + 2 * b * linear;
        layer.total_squares += squares;
      }
    }
  }

  const Engine& engine_;
  const checkpoint::Checkpoint &base_, &tuned_;
  std::span<const TensorPair> pairs_;
  const checkpoint::Statistics& inputs_;
  InputUse use_;
};

template <class Rule>
Divisors each_layer(std::span<const LayerChange> layers, Rule rule) {
  Divisors result;
  double sum = 0;
  for (const LayerChange& layer : layers) {
    const double q = rule(layer);
    result.of_tensor[layer.weight] = q;
    if (!layer.bias.empty()) result.of_tensor[layer.bias] = q;
    sum += q;
  }
  result.of_others = sum / static_cast<double>(layers.size());
  return result;
}

}  // namespace

double sub_gaussian_factor(double p) {
  if (p <= 0 || p >= 1) return 0;
  const double odds = std::log1p(-p) - std::log(p);
  // (1 - 2p) / ln((1-p)/p) = (1/2) tanh(odds/2) / (odds/2)
  return std::abs(odds) < 1e-4 ? 0.5 - odds * odds / 24 : (1 - 2 * p) / odds;
}

double mean_square_error(double s, double square_sum, double density, double q) {
  const double bias = (1 - density / q) * s;
  return bias * bias + density * (1 - density) * square_sum / (q * q);
}

double error_bound(double square_sum, double density, double q, double g) {
  return std::sqrt(sub_gaussian_factor(1 - density) * std::log(2 / g) * square_sum) / q;
}

double grid_value(double from, double step, std::int64_t i) {
  return (std::nearbyint(from * kGridUnit) + static_cast<double>(i) * std::nearbyint(step * kGridUnit)) / kGridUnit;
}

double tail_bound_divisor(std::span<const double> s, std::span<const double> square_sums, double density,
                          const TailBound& bound) {
  if (!(bound.eta > 0 && std::isfinite(bound.eta)))
    throw usage_error(cat("eta is ", exact_text(bound.eta), ", not above 0"));
  const double phi = sub_gaussian_factor(1 - density), tail = std::log(2 / (1 - bound.gamma));
  const std::size_t rows = s.size();
  std::vector<double> least(rows, std::numeric_limits<double>::infinity()), chosen(rows, density);
  for (std::int64_t i = 0;; ++i) {
    const double q = grid_value(density, kTailStep, i);
    if (i > 0 && q > kTailEnd + 1e-9) break;
    const double shrink = bound.eta * (1 - density / q), spread = bound.eta * bound.eta * phi / (4 * q * q);
    std::size_t stopped = 0;
    for (std::size_t row = 0; row < rows; ++row) {
      const double exponent = std::abs(shrink * s[row] + spread * square_sums[row] + tail);
      const bool better = exponent <= least[row];
      least[row] = better ? exponent : least[row];
      chosen[row] = better ? q : chosen[row];
      stopped += better ? 0 : 1;
    }
    if (static_cast<double>(stopped) >= bound.stop_share * static_cast<double>(rows)) break;
  }
  return std::accumulate(chosen.begin(), chosen.end(), 0.0) / static_cast<double>(rows);
}

double least_error_divisor(double square_sum, double s_squared, double density, const std::string& layer) {
  if (square_sum == 0) return density;
  if (!(s_squared > 0))
    throw input_error(cat("the change of ", layer, " has no effect on any of the inputs measured"), "",
                      "measure on more data, or leave it out with --exclude");
  return density + (1 - density) * square_sum / s_squared;
}

std::vector<LayerChange> measure_layers(const Engine& engine, const checkpoint::Checkpoint& base,
                                        const checkpoint::Checkpoint& tuned, std::span<const TensorPair> pairs,
                                        const checkpoint::Statistics& inputs, InputUse use) {
  const Statistic needed = use == InputUse::kMeans ? Statistic::kInputMean : Statistic::kGram;
  const Measure measure(engine, base, tuned, pairs, inputs, use);
  std::vector<LayerChange> layers;
  for (const TensorPair& pair : pairs)
    if (inputs.find(pair.base->name, needed)) layers.push_back(measure.layer(pair));
  if (layers.empty())
    throw input_error(cat("no ", checkpoint::name(needed), " of any tensor that is compared"), inputs.file().path(),
                      "docs/formats/statistics.md says what a q for each layer needs");
  return layers;
}

Divisors divisors_by_tail(std::span<const LayerChange> layers, double density, const TailBound& bound) {
  return each_layer(
      layers, [&](const LayerChange& layer) { return tail_bound_divisor(layer.s, layer.square_sums, density, bound); });
}

Divisors divisors_by_error(std::span<const LayerChange> layers, double density) {
  return each_layer(layers, [&](const LayerChange& layer) {
    return least_error_divisor(layer.total_squares, layer.total_s_squared, density, layer.weight);
  });
}

}  // namespace solera::weights
