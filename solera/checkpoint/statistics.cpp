#include "solera/checkpoint/statistics.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"

namespace solera::checkpoint {
namespace {

constexpr std::string_view kExamples = "n";

std::int64_t examples_of(const Checkpoint& file) {
  const Tensor* n = file.find(kExamples);
  if (!n) throw input_error("no tensor n", file.path(), "a statistics file says how many examples it was measured on");
  if (n->dtype != DType::kI64 || !n->shape.empty())
    throw input_error(cat("n is ", name(n->dtype), " of shape ", shape_text(n->shape), ", not one I64"), file.path());
  std::vector<std::byte> scratch;
  std::int64_t value = 0;
  std::memcpy(&value, file.read(*n, 0, sizeof value, scratch).data(), sizeof value);
  if (value < 1) throw input_error(cat("n is ", value, ": measured on no example"), file.path());
  return value;
}

Shape shape_of(const Tensor& measured, Statistic kind) {
  const std::int64_t in = input_features(measured.shape);
  switch (kind) {
    case Statistic::kFisher:
      return measured.shape;
    case Statistic::kInputMean:
    case Statistic::kInputSq:
      return {in};
    case Statistic::kGram:
      break;
  }
  return {in, in};
}

void require_fitting(const Tensor& tensor, const Checkpoint& file, const Checkpoint& model) {
  const auto dot = tensor.name.rfind('.');
  const std::string_view last = std::string_view(tensor.name).substr(dot == std::string::npos ? 0 : dot + 1);
  const auto kind = std::find_if(kStatistics.begin(), kStatistics.end(), [&](Statistic k) { return name(k) == last; });
  if (dot == std::string::npos || kind == kStatistics.end())
    throw input_error(cat(tensor.name, " is no statistic"), file.path(),
                      "names are n and a tensor's with .fisher, .input_mean, .input_sq or .gram after it");
  const std::string_view measured = std::string_view(tensor.name).substr(0, dot);
  const Tensor* of = model.find(measured);
  if (!of)
    throw input_error(cat(tensor.name, " is of no tensor of ", model.path()), file.path(),
                      "the statistics were measured on another model");
  if (*kind != Statistic::kFisher && input_features(of->shape) == 0)
    throw input_error(cat(tensor.name, ": ", measured, " is ", shape_text(of->shape), ", not a layer's weight"),
                      file.path());
  if (const Shape shape = shape_of(*of, *kind); tensor.shape != shape)
    throw input_error(cat(tensor.name, " is ", shape_text(tensor.shape), ", ", measured, " of ", model.path(),
                          " needs ", shape_text(shape)),
                      file.path());
  if (!is_float(tensor.dtype))
    throw input_error(cat(tensor.name, " is ", name(tensor.dtype), ", no float"), file.path());
}

}  // namespace

std::string_view name(Statistic kind) {
  constexpr std::string_view kNames[] = {"fisher", "input_mean", "input_sq", "gram"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string statistic_name(std::string_view tensor, Statistic kind) { return cat(tensor, ".", name(kind)); }

std::int64_t input_features(std::span<const std::int64_t> shape) {
  return shape.size() < 2 ? 0 : element_count(shape.subspan(1));
}

std::string model_fingerprint(const Checkpoint& model) {
  Hasher hasher;
  hasher.add("solera model fingerprint 1");
  std::vector<std::byte> scratch;
  for (const Tensor& tensor : model.tensors()) {
    const auto bytes = model.read(tensor, 0, std::min<std::uint64_t>(tensor.bytes(), 4096), scratch);
    hasher.add(tensor.name).add(name(tensor.dtype)).add(shape_text(tensor.shape));
    hasher.add(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  return hasher.hex();
}

Statistics::Statistics(Checkpoint file, const Checkpoint& model) : file_(std::move(file)) {
  examples_ = examples_of(file_);
  for (const Tensor& tensor : file_.tensors())
    if (tensor.name != kExamples) require_fitting(tensor, file_, model);
  const auto stored = file_.metadata().find(kFingerprintKey);
  if (stored != file_.metadata().end() && stored->second != model_fingerprint(model))
    throw input_error(cat("measured on another checkpoint than ", model.path()), file_.path(),
                      "measure this one, or name the file of the checkpoint that it was measured on");
}

bool Statistics::holds(Statistic kind) const {
  return std::any_of(file_.tensors().begin(), file_.tensors().end(),
                     [&](const Tensor& tensor) { return tensor.name.ends_with(cat(".", name(kind))); });
}

Statistics open_statistics(const std::string& path, const Checkpoint& model) {
  return Statistics(open_checkpoint(path), model);
}

}  // namespace solera::checkpoint
