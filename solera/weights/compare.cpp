#include "solera/weights/compare.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "solera/base/files.h"
#include "solera/weights/vector.h"

namespace solera::weights {

namespace {

struct LaneSums {
  LaneSum aa, bb, ab, dd;
  double max_abs = 0;

  template <class T>
  void add(const Tile<T>& tile) {
    T *a = tile[0], *b = tile[1];
    aa.add_product(a, a, tile.count);
    bb.add_product(b, b, tile.count);
    ab.add_product(a, b, tile.count);
    difference(a, b, tile.count, a);
    dd.add_product(a, a, tile.count);
    for (std::int64_t i = 0; i < tile.count; ++i) max_abs = std::max(max_abs, static_cast<double>(std::abs(a[i])));
  }
  void merge(const LaneSums& right) {
    aa.merge(right.aa);
    bb.merge(right.bb);
    ab.merge(right.ab);
    dd.merge(right.dd);
    max_abs = std::max(max_abs, right.max_abs);
  }
};

template <class T>
PairSums compare_as(const Engine& engine, std::span<const Operand> pair) {
  const auto sums = reduce<T, LaneSums>(engine, pair, [](const Tile<T>& tile, LaneSums& state) { state.add(tile); });
  return {sums.aa.total(), sums.bb.total(), sums.ab.total(), sums.dd.total(), sums.max_abs};
}

bool has_values(DType dtype) { return dtype != DType::kF8E8M0 && dtype != DType::kF4; }

}  // namespace

double PairSums::relative_l2() const {
  if (dd == 0) return 0;
  return aa == 0 ? std::numeric_limits<double>::infinity() : std::sqrt(dd / aa);
}

double PairSums::cosine() const {
  if (aa == 0 && bb == 0) return 1;
  if (aa == 0 || bb == 0) return 0;
  return std::clamp(ab / (std::sqrt(aa) * std::sqrt(bb)), -1.0, 1.0);
}

void PairSums::add(const PairSums& other) {
  aa += other.aa;
  bb += other.bb;
  ab += other.ab;
  dd += other.dd;
  max_abs = std::max(max_abs, other.max_abs);
}

PairSums compare(const Engine& engine, const Operand& a, const Operand& b) {
  Engine lenient = engine;
  lenient.allow_nonfinite = true;
  const Operand pair[] = {a, b};
  const bool wide = needs_double(pair) || checkpoint::is_integer(a.tensor->dtype);
  return wide ? compare_as<double>(lenient, pair) : compare_as<float>(lenient, pair);
}

bool same_bytes(const Engine& engine, const Operand& a, const Operand& b) {
  constexpr std::uint64_t kPiece = 1 << 20;
  const std::uint64_t total = a.tensor->bytes();
  std::atomic<bool> same = true;
  engine.pool->for_each(static_cast<std::int64_t>((total + kPiece - 1) / kPiece), [&](std::int64_t piece, int) {
    throw_if_stopped();
    if (!same) return;
    static thread_local std::vector<std::byte> of_a, of_b;
    const std::uint64_t first = static_cast<std::uint64_t>(piece) * kPiece, count = std::min(kPiece, total - first);
    const auto left = a.model->read(*a.tensor, first, count, of_a),
               right = b.model->read(*b.tensor, first, count, of_b);
    if (std::memcmp(left.data(), right.data(), count) != 0) same = false;
  });
  return same;
}

bool ModelDifference::equal() const {
  return std::all_of(tensors.begin(), tensors.end(),
                     [](const TensorDifference& t) { return t.kind == TensorDifference::Kind::kEqual; });
}

ModelDifference compare_models(const Engine& engine, const checkpoint::Checkpoint& a, const checkpoint::Checkpoint& b,
                               Progress& progress) {
  using Kind = TensorDifference::Kind;
  std::map<std::string, TensorDifference> by_name;
  for (const auto& tensor : a.tensors()) by_name[tensor.name].a = &tensor;
  for (const auto& tensor : b.tensors()) by_name[tensor.name].b = &tensor;
  ModelDifference result;
  progress.begin("diff", a.tensor_bytes(), "bytes");
  for (auto& [name, t] : by_name) {
    t.name = name;
    if (!t.b) {
      t.kind = Kind::kOnlyA;
    } else if (!t.a) {
      t.kind = Kind::kOnlyB;
    } else if (t.a->shape != t.b->shape) {
      t.kind = Kind::kShape;
    } else {
      const Operand left{&a, t.a, {}, a.path()}, right{&b, t.b, {}, b.path()};
      if (t.a->dtype != t.b->dtype)
        t.kind = Kind::kDType;
      else
        t.kind = same_bytes(engine, left, right) ? Kind::kEqual : Kind::kValues;
      if (has_values(t.a->dtype) && has_values(t.b->dtype)) {
        PairSums sums = compare(engine, left, right);
        if (t.kind == Kind::kEqual)
          sums.dd = sums.max_abs = 0;  // also where NaN equals NaN and infinity infinity, bit for bit
        else
          t.sums = sums;
        result.total.add(sums);
      }
    }
    if (t.a) progress.advance(t.a->bytes());
    result.tensors.push_back(std::move(t));
  }
  progress.end();
  return result;
}

}  // namespace solera::weights
