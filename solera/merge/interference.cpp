#include "solera/merge/interference.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/merge/names.h"
#include "solera/weights/vector.h"

namespace solera::merge {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Tensor;

// Sums over pairs i <= j of models, row by row of the upper triangle.
struct Sums {
  std::int64_t elements = 0, touched = 0, conflicting = 0;
  weights::LaneSum base;
  std::vector<weights::LaneSum> products;
  std::vector<std::int64_t> both, opposed;

  template <class T>
  void add(const weights::Tile<T>& tile) {
    const std::span<T* const> changes = tile.inputs.subspan(1);
    resize(changes.size());
    elements += tile.count;
    base.add_product(tile[0], tile[0], tile.count);
    std::size_t pair = 0;
    for (std::size_t i = 0; i < changes.size(); ++i)
      for (std::size_t j = i; j < changes.size(); ++j, ++pair) {
        products[pair].add_product(changes[i], changes[j], tile.count);
        if (i == j) continue;
        const std::vector<T*> two = {changes[i], changes[j]};
        const weights::SignCount count = weights::count_signs<T>(two, tile.count);
        both[pair] += count.all;
        opposed[pair] += count.mixed;
      }
    const weights::SignCount count = weights::count_signs<T>(changes, tile.count);
    touched += count.any;
    conflicting += count.mixed;
  }

  void merge(const Sums& right) {
    if (right.products.empty()) return;
    resize(models_of(right.products.size()));
    elements += right.elements;
    touched += right.touched;
    conflicting += right.conflicting;
    base.merge(right.base);
    for (std::size_t k = 0; k < products.size(); ++k) {
      products[k].merge(right.products[k]);
      both[k] += right.both[k];
      opposed[k] += right.opposed[k];
    }
  }

 private:
  static std::size_t models_of(std::size_t pairs) {
    std::size_t n = 0;
    while (n * (n + 1) / 2 < pairs) ++n;
    return n;
  }
  void resize(std::size_t models) {
    const std::size_t pairs = models * (models + 1) / 2;
    products.resize(pairs);
    both.resize(pairs);
    opposed.resize(pairs);
  }
};

Interference settled(std::string name, const Sums& sums, std::size_t models) {
  Interference result{
      std::move(name), sums.elements, sums.touched, sums.conflicting, std::sqrt(sums.base.total()), {}, {}, {}};
  const auto square = [&] { return std::vector(models, std::vector<double>(models)); };
  result.cosines = square();
  result.opposed = square();
  result.norms.resize(models);
  std::size_t pair = 0;
  for (std::size_t i = 0; i < models; ++i)
    for (std::size_t j = i; j < models; ++j, ++pair) {
      const double product = sums.products.empty() ? 0 : sums.products[pair].total();
      if (i == j) result.norms[i] = std::sqrt(product);
      result.cosines[i][j] = result.cosines[j][i] = product;
      if (i != j && sums.both[pair] > 0)
        result.opposed[i][j] = result.opposed[j][i] =
            static_cast<double>(sums.opposed[pair]) / static_cast<double>(sums.both[pair]);
    }
  for (std::size_t i = 0; i < models; ++i)
    for (std::size_t j = 0; j < models; ++j) {
      const double lengths = result.norms[i] * result.norms[j];
      result.cosines[i][j] = lengths == 0 ? 0 : std::clamp(result.cosines[i][j] / lengths, -1.0, 1.0);
    }
  return result;
}

// Layers by stack and number; what lies outside them behind.
using GroupKey = std::tuple<int, std::string, int>;
GroupKey group_of(const std::string& name) {
  const NameFacts facts = name_facts(name);
  if (facts.layer) return {0, facts.stack, *facts.layer};
  if (facts.role == Role::kEmbedding) return {1, "embeddings", 0};
  if (facts.role == Role::kHead) return {2, "head", 0};
  std::vector<std::string> parts = split(name, '.');
  parts.pop_back();
  if (parts.size() > 2) parts.resize(2);
  return {3, parts.empty() ? name : join(parts, "."), 0};
}
std::string group_name(const GroupKey& key) {
  const auto& [kind, name, number] = key;
  return kind == 0 ? cat(name, ".", number) : name;
}

// Of batch normalization: nothing that was trained, and many times longer than what was.
bool is_running_statistic(std::string_view name) {
  return name.ends_with("running_mean") || name.ends_with("running_var");
}

std::vector<weights::Operand> operands_of(const Checkpoint& base, const std::vector<Checkpoint>& models,
                                          const Tensor& tensor) {
  std::vector<weights::Operand> operands = {{&base, &tensor, {}, base.path()}};
  if (!checkpoint::is_float(tensor.dtype) || is_running_statistic(tensor.name)) return {};
  for (const Checkpoint& model : models) {
    const Tensor* other = model.find(tensor.name);
    if (!other || other->shape != tensor.shape || !checkpoint::is_float(other->dtype)) return {};
    operands.push_back({&model, other, {}, model.path()});
  }
  return operands;
}

}  // namespace

InterferenceReport measure_interference(const weights::Engine& engine, const Checkpoint& base,
                                        const std::vector<Checkpoint>& models, Progress& progress) {
  InterferenceReport report;
  for (const Checkpoint& model : models) {
    std::string name = file_name(model.path());
    if (name.ends_with(".safetensors")) name.resize(name.rfind('.'));
    report.models.push_back(std::move(name));
  }
  std::map<GroupKey, Sums> groups;
  Sums total;
  progress.begin("changes", base.tensor_bytes(), "bytes");
  for (const Tensor& tensor : base.tensors()) {
    const auto operands = operands_of(base, models, tensor);
    if (operands.empty()) {
      report.left_out.push_back(tensor.name);
    } else {
      const auto sums = weights::reduce<double, Sums>(
          engine, operands, [](const weights::Tile<double>& tile, Sums& state) { state.add(tile); },
          weights::Reading::kChanges);
      groups[group_of(tensor.name)].merge(sums);
      total.merge(sums);
    }
    progress.advance(tensor.bytes());
  }
  progress.end();
  for (const auto& [key, sums] : groups) report.layers.push_back(settled(group_name(key), sums, models.size()));
  report.total = settled("total", total, models.size());
  return report;
}

Plot interference_plot(const InterferenceReport& report) {
  Plot plot;
  std::vector<std::string> names;
  for (const Interference& layer : report.layers) names.push_back(layer.name);
  plot.height = std::max(plot.height, 120 + 18 * static_cast<int>(names.size()));
  if (report.models.size() < 2) {
    plot.title = "Length of the change, relative to the base";
    Series series;
    series.name = report.models.empty() ? "" : report.models.front();
    for (const Interference& layer : report.layers)
      series.y.push_back(layer.base == 0 || layer.norms.empty() ? 0 : layer.norms[0] / layer.base);
    plot.bars(std::move(names), std::move(series));
    return plot;
  }
  plot.title = "Changes to opposite sides, pair by pair";
  constexpr std::size_t kFits = 7;
  bool fits = true;
  for (const std::string& name : report.models) fits = fits && name.size() <= kFits;
  const auto label = [&](std::size_t i) { return fits ? report.models[i] : std::to_string(i + 1); };
  std::vector<std::string> pairs;
  for (std::size_t i = 0; i < report.models.size(); ++i)
    for (std::size_t j = i + 1; j < report.models.size(); ++j) pairs.push_back(cat(label(i), ", ", label(j)));
  plot.width = std::max(plot.width, 160 + 72 * static_cast<int>(pairs.size()));
  if (!fits) plot.x_label = "models, numbered as they were given";
  std::vector<std::vector<double>> values;
  for (const Interference& layer : report.layers) {
    std::vector<double>& row = values.emplace_back();
    for (std::size_t i = 0; i < report.models.size(); ++i)
      for (std::size_t j = i + 1; j < report.models.size(); ++j) row.push_back(layer.opposed[i][j]);
  }
  plot.heat_map(std::move(pairs), std::move(names), std::move(values));
  return plot;
}

}  // namespace solera::merge
