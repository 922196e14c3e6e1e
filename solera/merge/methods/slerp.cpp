#include "solera/merge/methods/slerp.h"

#include <cmath>

#include "solera/weights/vector.h"

namespace solera::merge {

namespace {

struct Products {
  weights::LaneSum aa, bb, ab;
  template <class T>
  void add(const T* a, const T* b, std::int64_t n) {
    aa.add_product(a, a, n);
    bb.add_product(b, b, n);
    ab.add_product(a, b, n);
  }
  void merge(const Products& right) {
    aa.merge(right.aa);
    bb.merge(right.bb);
    ab.merge(right.ab);
  }
  std::pair<double, double> factors(double t) const { return slerp_factors(aa.total(), bb.total(), ab.total(), t); }
};

template <class T>
void run(const TensorPass& pass, const SlerpParams& params) {
  const auto sums = weights::reduce<T, Products>(
      pass.engine, pass.operands,
      [](const weights::Tile<T>& tile, Products& state) { state.add(tile[0], tile[1], tile.count); });
  const auto [of_a, of_b] = sums.factors(params.t);
  weights::map<T>(pass.engine, pass.operands, *pass.sink, [a = of_a, b = of_b](const weights::Tile<T>& tile, T* out) {
    weights::scaled_sum(static_cast<T>(a), tile[0], static_cast<T>(b), tile[1], tile.count, out);
  });
}

void merge(const TensorPass& pass, const SlerpParams& params, std::span<const NoParams>) {
  pass.wide() ? run<double>(pass, params) : run<float>(pass, params);
}

}  // namespace

std::pair<double, double> slerp_factors(double aa, double bb, double ab, double t) {
  constexpr double kTiny = 1e-8, kStraight = 0.9995;
  const double norm_a = std::sqrt(aa), norm_b = std::sqrt(bb);
  const double cosine = ab / ((norm_a > kTiny ? norm_a : 1.0) * (norm_b > kTiny ? norm_b : 1.0));
  if (std::abs(cosine) > kStraight) return {1.0 - t, t};
  const double angle = std::acos(cosine), sine = std::sin(angle);
  return {std::sin((1.0 - t) * angle) / sine, std::sin(t * angle) / sine};
}

void slerp(std::span<const float> a, std::span<const float> b, const SlerpParams& params, std::span<float> out) {
  const auto n = static_cast<std::int64_t>(out.size());
  Products products;
  products.add(a.data(), b.data(), n);
  const auto [of_a, of_b] = products.factors(params.t);
  weights::scaled_sum(static_cast<float>(of_a), a.data(), static_cast<float>(of_b), b.data(), n, out.data());
}

Method slerp_method() {
  return {.name = "slerp",
          .summary = "along the arc from the base to one other model",
          .citation = "Shoemake 1985, SIGGRAPH 19(3)",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .max_models = 1,
          .program = [] { return typed_program<SlerpParams, NoParams>(merge); },
          .parameters = described_fields<SlerpParams>,
          .model_parameters = described_fields<NoParams>};
}

}  // namespace solera::merge
