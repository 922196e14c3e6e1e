// How two models differ, tensor by tensor, in one streamed look.
#pragma once

#include <string>
#include <vector>

#include "solera/base/progress.h"
#include "solera/weights/pass.h"

namespace solera::weights {

// Sums over a pair of tensors a, b, or over all pairs; float64.
struct PairSums {
  double aa = 0, bb = 0, ab = 0;  // ||a||^2, ||b||^2, <a, b>
  double dd = 0;                  // ||a - b||^2
  double max_abs = 0;             // largest |a - b|
  double relative_l2() const;     // ||a - b|| / ||a||; 0 for equal zeros, infinite where only a is zero
  double cosine() const;          // 1 for two zeros, 0 where one is zero
  void add(const PairSums& other);
};

PairSums compare(const Engine& engine, const Operand& a, const Operand& b);
bool same_bytes(const Engine& engine, const Operand& a, const Operand& b);  // of equal sizes

struct TensorDifference {
  enum class Kind { kEqual, kValues, kDType, kShape, kOnlyA, kOnlyB } kind = Kind::kEqual;
  std::string name;
  const checkpoint::Tensor* a = nullptr;
  const checkpoint::Tensor* b = nullptr;
  PairSums sums;  // of kValues, and of kDType where both have values
};

// Names of both, sorted; `total` sums all that could be compared, equal tensors included.
struct ModelDifference {
  std::vector<TensorDifference> tensors;
  PairSums total;
  bool equal() const;  // same names, types, shapes and bytes
};

ModelDifference compare_models(const Engine& engine, const checkpoint::Checkpoint& a, const checkpoint::Checkpoint& b,
                               Progress& progress);

}  // namespace solera::weights
