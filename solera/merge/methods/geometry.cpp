#include "solera/merge/methods/geometry.h"

#include <cmath>

namespace solera::merge {

namespace {

weights::Reading reading_of(const TensorPass& pass) {
  return pass.has_base ? weights::Reading::kChanges : weights::Reading::kValues;
}

// The base, where there is one, counts once.
std::vector<double> factors_of(const Rule& rule, const Gram& gram, bool has_base) {
  std::vector<double> factors = rule(gram);
  if (has_base) factors.insert(factors.begin(), 1.0);
  return factors;
}

template <class T>
void by_tensor(const TensorPass& pass, const Rule& rule) {
  const std::size_t skipped = pass.has_base ? 1 : 0;
  auto gram = weights::reduce<T, Gram>(
      pass.engine, pass.operands,
      [&](const weights::Tile<T>& tile, Gram& state) { state.add(tile.inputs.subspan(skipped), tile.count); },
      reading_of(pass));
  if (gram.size() == 0) gram = Gram(pass.models());  // a tensor of no elements
  const std::vector<double> factors = factors_of(rule, gram, pass.has_base);
  weights::map<T>(
      pass.engine, pass.operands, *pass.sink,
      [&](const weights::Tile<T>& tile, T* out) { combine<T>(factors, tile.inputs, tile.count, out); },
      reading_of(pass));
}

template <class T>
void by_row(const TensorPass& pass, const Rule& rule) {
  const std::size_t skipped = pass.has_base ? 1 : 0;
  weights::for_rows<T>(
      pass.engine, pass.operands, pass.shape.back(), 1,
      [&](const weights::Tile<T>& tile) {
        const std::span<T* const> rows = tile.inputs.first(pass.operands.size());
        Gram gram(pass.models());
        gram.add(rows.subspan(skipped), tile.count);
        T* out = tile.inputs.back();
        combine<T>(factors_of(rule, gram, pass.has_base), rows, tile.count, out);
        pass.sink->write(tile.first, std::span<const T>(out, static_cast<std::size_t>(tile.count)), tile.last);
      },
      reading_of(pass));
}

}  // namespace

double Gram::norm(std::size_t i) const { return std::sqrt(dot(i, i)); }

template <class T>
void combine(std::span<const double> factors, std::span<T* const> rows, std::int64_t n, T* out) {
  const auto zeros = std::count(factors.begin(), factors.end(), 0.0);
  const auto one = std::find(factors.begin(), factors.end(), 1.0);
  if (one != factors.end() && zeros + 1 == static_cast<std::ptrdiff_t>(factors.size()))
    std::copy_n(rows[static_cast<std::size_t>(one - factors.begin())], n, out);
  else
    weights::weighted_mean<T>(factors, 1.0, rows, n, out);
}

void combine_tensors(const TensorPass& pass, const Rule& rule) {
  pass.wide() ? by_tensor<double>(pass, rule) : by_tensor<float>(pass, rule);
}

void combine_rows(const TensorPass& pass, const Rule& rule) {
  if (pass.shape.size() < 2) return combine_tensors(pass, rule);
  pass.wide() ? by_row<double>(pass, rule) : by_row<float>(pass, rule);
}

void combine(std::span<const float> base, std::span<const std::span<const float>> inputs, const Rule& rule,
             std::span<float> out) {
  const auto n = static_cast<std::int64_t>(out.size());
  const std::vector<float> zeros(base.empty() ? out.size() : 0);
  const std::span<const float> origin = base.empty() ? zeros : base;
  const Changes changes(origin, inputs);
  Gram gram(inputs.size());
  gram.add<float>(changes.pointers, n);
  std::vector<float> first(origin.begin(), origin.end());
  std::vector<float*> rows = changes.pointers;
  if (!base.empty()) rows.insert(rows.begin(), first.data());
  combine<float>(factors_of(rule, gram, !base.empty()), rows, n, out.data());
}

template void combine<float>(std::span<const double>, std::span<float* const>, std::int64_t, float*);
template void combine<double>(std::span<const double>, std::span<double* const>, std::int64_t, double*);

}  // namespace solera::merge
