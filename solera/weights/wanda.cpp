#include "solera/weights/wanda.h"

#include <algorithm>
#include <cmath>

#include "solera/base/error.h"
#include "solera/base/random.h"
#include "solera/base/text.h"

namespace solera::weights {

std::int64_t columns_kept(double density, std::int64_t n) {
  return std::max<std::int64_t>(1, (floor_count(density, 2 * n) + 1) / 2);
}

RowCuts::RowCuts(const Engine& engine, std::span<const Operand> pair, const checkpoint::Statistics& inputs,
                 double density)
    : columns_(checkpoint::input_features(pair[0].tensor->shape)) {
  const std::string& file = inputs.file().path();
  const std::string statistic = checkpoint::statistic_name(pair[0].tensor->name, checkpoint::Statistic::kInputSq);
  const checkpoint::Tensor* squares = inputs.find(pair[0].tensor->name, checkpoint::Statistic::kInputSq);
  if (!squares)
    throw input_error(cat("no ", statistic), file,
                      cat("measure it, or leave the tensor out with --exclude '", pair[0].tensor->name,
                          "', or keep its whole change with --whole"));
  norms_.resize(static_cast<std::size_t>(columns_));
  load_range<double>(engine, {&inputs.file(), squares, {}, file}, 0, columns_, norms_.data());
  if (std::any_of(norms_.begin(), norms_.end(), [](double v) { return !(v >= 0 && std::isfinite(v)); }))
    throw input_error(cat(statistic, " holds a value that is below 0 or not finite, and a mean square is neither"),
                      file);
  if (std::all_of(norms_.begin(), norms_.end(), [](double v) { return v == 0; }))
    throw input_error(cat(statistic, " is all 0: the layer never ran on the data"), file,
                      "measure on data that reach it, or leave it out with --exclude");
  for (double& value : norms_) value = std::sqrt(value);
  const std::int64_t kept = columns_kept(density, columns_);
  cuts_.resize(static_cast<std::size_t>(pair[0].tensor->shape.front()));
  for_rows<double>(
      engine, pair, columns_, 0,
      [&](const Tile<double>& tile) {
        double* d = tile[1];
        for (std::int64_t j = 0; j < tile.count; ++j) d[j] = std::isfinite(d[j]) ? score_of(d[j], j) : 0;
        cuts_[static_cast<std::size_t>(tile.first / columns_)] =
            select_cut<double>(std::span<const double>(d, static_cast<std::size_t>(tile.count)), kept);
      },
      Reading::kChanges);
}

std::vector<bool> random_columns(std::uint64_t seed, const std::string& tensor, std::int64_t n, double density) {
  std::vector<bool> kept(static_cast<std::size_t>(n), false);
  const auto order = RandomStream({.seed = seed, .purpose = "delta columns", .name = tensor}).permutation(n);
  for (std::int64_t i = 0; i < columns_kept(density, n); ++i)
    kept[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] = true;
  return kept;
}

}  // namespace solera::weights
