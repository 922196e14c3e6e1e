#include "solera/weights/convert_gguf.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "solera/base/error.h"
#include "solera/checkpoint/gguf_model.h"
#include "solera/weights/output.h"

namespace solera::weights {

namespace {

using checkpoint::GgufTensor;
using checkpoint::GgufType;
using checkpoint::Tensor;

const GgufType& plain_type(const Tensor& tensor, DType dtype) {
  if (dtype != DType::kF32 && dtype != DType::kF16 && dtype != DType::kBF16) {
    throw usage_error(cat("models of GGUF have no ", checkpoint::name(dtype)), tensor.name,
                      "--dtype f32, f16, bf16 or q8_0");
  }
  return checkpoint::gguf_type(checkpoint::name(dtype));
}

bool is_small(const Tensor& tensor) { return tensor.shape.size() <= 1 || tensor.name.ends_with("_norm.weight"); }

// general.file_type, after the type of most of the values.
std::uint32_t file_type(const std::vector<GgufTensor>& tensors) {
  constexpr std::pair<std::string_view, std::uint32_t> kNumbers[] = {{"F32", 0}, {"F16", 1}, {"Q8_0", 7}, {"BF16", 32}};
  std::int64_t most = -1;
  std::uint32_t result = 0;
  for (const auto& [name, number] : kNumbers) {
    std::int64_t elements = 0;
    for (const GgufTensor& tensor : tensors)
      if (tensor.type->name == name) elements += checkpoint::element_count(tensor.shape);
    if (elements > most) {
      most = elements;
      result = number;
    }
  }
  return result;
}

}  // namespace

void write_gguf(const checkpoint::Checkpoint& in, const ConvertOptions& options, const std::string& staging, Pool& pool,
                Progress& progress) {
  checkpoint::GgufModel model = checkpoint::to_gguf(in);
  std::vector<GgufTensor> infos;
  std::size_t halves = 0;
  for (const Tensor& tensor : model.tensors) {
    const GgufType* type = nullptr;
    if (is_small(tensor)) {
      type = &checkpoint::gguf_type("F32");
    } else if (!options.q8_0) {
      type = &plain_type(tensor, options.dtype.value_or(tensor.dtype));
    } else {
      type = &checkpoint::gguf_type("Q8_0");
      if (tensor.shape.back() % type->block != 0) {
        type = &checkpoint::gguf_type("F16");
        ++halves;
      }
    }
    if (!checkpoint::is_float(tensor.dtype))
      throw input_error(cat(tensor.name, " is ", checkpoint::name(tensor.dtype), ", not numbers of a model"),
                        in.path());
    infos.push_back({tensor.name, tensor.shape, type});
  }
  if (halves > 0)
    model.warnings.push_back(cat(halves, halves == 1 ? " tensor" : " tensors",
                                 " with rows that are no whole blocks of 32 become F16, not Q8_0"));
  for (const std::string& line : model.warnings) progress.warn(line);
  model.metadata.u32("general.file_type", file_type(infos));
  if (options.q8_0) model.metadata.u32("general.quantization_version", 2);

  const checkpoint::Layout layout = checkpoint::plan_gguf(infos, model.metadata);
  checkpoint::ShardWriter writer(staging, layout);
  checkpoint::Checkpoint::Parts parts;
  parts.path = in.path();
  parts.tensors = model.tensors;
  const checkpoint::Checkpoint view(std::move(parts));
  const Engine engine{&pool, {}, true, [&](std::uint64_t bytes) { progress.advance(bytes); }};
  progress.begin("convert", view.tensor_bytes(), "bytes");
  pool.for_each(static_cast<std::int64_t>(infos.size()), [&](std::int64_t i, int) {
    const auto index = static_cast<std::size_t>(i);
    const Operand operand{&view, &view.at(infos[index].name), {}, in.path()};
    if (const auto plain = infos[index].type->plain)
      copy_tensor(engine, operand, *plain, writer, index);
    else
      quantize_tensor(engine, operand, writer, index);
  });
  in.check();
  writer.sync();
  progress.end();
}

}  // namespace solera::weights
