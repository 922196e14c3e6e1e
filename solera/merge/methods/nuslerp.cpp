#include "solera/merge/methods/nuslerp.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "solera/merge/methods/geometry.h"
#include "solera/weights/columns.h"
#include "solera/weights/mixing.h"

namespace solera::merge {

namespace {

Rule rule_of(std::span<const NuslerpModel> models) {
  return [t = nuslerp_position(models)](const Gram& vectors) -> std::vector<double> {
    const auto [a, b] = nuslerp_factors(vectors.dot(0, 0), vectors.dot(1, 1), vectors.dot(0, 1), t);
    return {a, b};
  };
}

template <class T>
void by_column(const TensorPass& pass, double t) {
  const auto reading = pass.has_base ? weights::Reading::kChanges : weights::Reading::kValues;
  const std::size_t first = pass.has_base ? 1 : 0;
  weights::ColumnProducts sums =
      weights::column_products<T>(pass.engine, pass.operands, pass.shape.front(), reading, first, first + 1);
  std::vector<double>&of_a = sums.aa, &of_b = sums.bb;
  for (std::size_t j = 0; j < sums.ab.size(); ++j)
    std::tie(of_a[j], of_b[j]) = nuslerp_factors(sums.aa[j], sums.bb[j], sums.ab[j], t);
  weights::map<T>(
      pass.engine, pass.operands, *pass.sink,
      [&](const weights::Tile<T>& tile, T* out) {
        weights::for_row_pieces(tile.first, tile.count, static_cast<std::int64_t>(of_a.size()),
                                [&](std::int64_t at, std::int64_t column, std::int64_t n) {
                                  weights::add_scaled_by<T>(pass.has_base ? tile[0] + at : nullptr,
                                                            of_a.data() + column, tile[first] + at,
                                                            of_b.data() + column, tile[first + 1] + at, n, out + at);
                                });
      },
      reading);
}

class NuslerpProgram final : public TypedProgram<NuslerpParams, NuslerpModel> {
 public:
  NuslerpProgram() : TypedProgram(nullptr) {}

  void bind(std::size_t index, const Binding& binding) override {
    TypedProgram::bind(index, binding);
    const bool columns = by_columns(index, binding.shape);
    memory_.push_back(columns ? weights::column_memory(binding.shape) : 0);
  }
  std::uint64_t extra_memory(std::size_t index) const override { return memory_[index]; }

  void merge(std::size_t index, const TensorPass& pass) override {
    if (by_columns(index, pass.shape)) {
      const double t = nuslerp_position(models(index));
      return pass.wide() ? by_column<double>(pass, t) : by_column<float>(pass, t);
    }
    params(index).flatten ? combine_tensors(pass, rule_of(models(index))) : combine_rows(pass, rule_of(models(index)));
  }

 private:
  bool by_columns(std::size_t index, std::span<const std::int64_t> shape) const {
    return !params(index).flatten && params(index).row_wise && shape.size() >= 2;
  }

  std::vector<std::uint64_t> memory_;
};

}  // namespace

double nuslerp_position(std::span<const NuslerpModel> models) {
  const double sum = models[0].weight + models[1].weight;
  return std::abs(sum) < 1e-6 ? 0.5 : models[1].weight / sum;
}

std::pair<double, double> nuslerp_factors(double aa, double bb, double ab, double t) {
  constexpr double kTiny = 1e-7, kStraight = 1e-12;
  const double cosine = std::clamp(ab / (std::max(std::sqrt(aa), kTiny) * std::max(std::sqrt(bb), kTiny)), -1.0, 1.0);
  if (1 - cosine * cosine <= kStraight) return {1 - t, t};
  const double angle = std::acos(cosine), sine = std::sin(angle);
  return {std::sin((1 - t) * angle) / sine, std::sin(t * angle) / sine};
}

void nuslerp(std::span<const float> base, std::span<const std::span<const float>> inputs,
             std::span<const NuslerpModel> models, std::span<float> out) {
  combine(base, inputs, rule_of(models), out);
}

Method nuslerp_method() {
  return {.name = "nuslerp",
          .summary = "along the arc between two weighted models or their changes",
          .citation = "Shoemake 1985, SIGGRAPH 19(3)",
          .base = BasePolicy::kOptional,
          .min_models = 2,
          .max_models = 2,
          .program = []() -> std::unique_ptr<Program> { return std::make_unique<NuslerpProgram>(); },
          .parameters = described_fields<NuslerpParams>,
          .model_parameters = described_fields<NuslerpModel>};
}

}  // namespace solera::merge
