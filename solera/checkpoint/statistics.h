// What was measured of a model on data, in a file beside it: safetensors whose tensors are named after the model's.
//
//   NAME.fisher       diagonal Fisher information of the parameter NAME, of its shape, non-negative
//   NAME.input_mean   mean, and
//   NAME.input_sq     mean square of each input feature of the layer whose weight is NAME: [in]
//   NAME.gram         mean of x x^T over the layer's inputs x: [in, in], symmetric, its diagonal is input_sq
//   n                 how many examples were measured: one I64
//
// A weight is [out, ...]: `in` is the product of all but its first dimension, in the weight's own order, so that row o
// of the weight times x is output o. Byte by byte: docs/formats/statistics.md.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "solera/checkpoint/checkpoint.h"

namespace solera::checkpoint {

enum class Statistic { kFisher, kInputMean, kInputSq, kGram };
inline constexpr std::array<Statistic, 4> kStatistics = {Statistic::kFisher, Statistic::kInputMean, Statistic::kInputSq,
                                                         Statistic::kGram};

// "fisher", "input_mean", ...: the last part of a statistic's name.
std::string_view name(Statistic kind);
std::string statistic_name(std::string_view tensor, Statistic kind);  // "conv1.weight.gram"

// The input features of a weight; 0 for tensors of fewer than two dimensions, which have none.
std::int64_t input_features(std::span<const std::int64_t> shape);

// Tells fine-tunes of one architecture apart at the cost of reading 4 KiB a tensor: a hash over every tensor's name,
// type, shape and first 4096 bytes. Metadata of a statistics file under this key.
inline constexpr const char* kFingerprintKey = "solera.model";
std::string model_fingerprint(const Checkpoint& model);

class Statistics {
 public:
  // Of an open file, for this model. Throws Error (input) naming file and tensor: no n, none measured, a name that is
  // no statistic or of no tensor of the model, a wrong shape or type, another model's fingerprint.
  Statistics(Checkpoint file, const Checkpoint& model);

  const Checkpoint& file() const { return file_; }
  std::int64_t examples() const { return examples_; }
  const Tensor* find(std::string_view tensor, Statistic kind) const { return file_.find(statistic_name(tensor, kind)); }
  bool holds(Statistic kind) const;  // of any tensor

 private:
  Checkpoint file_;
  std::int64_t examples_ = 0;
};

Statistics open_statistics(const std::string& path, const Checkpoint& model);

}  // namespace solera::checkpoint
