#include "solera/weights/make_adapter.h"

#include <algorithm>
#include <array>
#include <set>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/checkpoint/writer.h"
#include "solera/weights/compare.h"
#include "solera/weights/make_delta.h"
#include "solera/weights/staging.h"

namespace solera::weights {

namespace {

using checkpoint::Checkpoint;
using checkpoint::NamedBytes;
using checkpoint::Tensor;

constexpr std::string_view kWeight = ".weight";

// A weight that LoRA can change.
bool is_matrix(const Tensor& tensor) {
  return tensor.shape.size() >= 2 && tensor.elements() > 0 && tensor.name.ends_with(kWeight) &&
         tensor.name.size() > kWeight.size();
}

std::string module_of(const Tensor& tensor) { return tensor.name.substr(0, tensor.name.size() - kWeight.size()); }

// The shortest list that names these modules and no other matrix: last parts of names where that is enough.
std::vector<std::string> target_modules(const std::set<std::string>& adapted, const Checkpoint& base) {
  std::set<std::string> ambiguous, targets;
  const auto last_part = [](const std::string& module) { return module.substr(module.rfind('.') + 1); };
  for (const Tensor& tensor : base.tensors())
    if (tensor.name.ends_with(kWeight) && !adapted.contains(module_of(tensor)))
      ambiguous.insert(last_part(module_of(tensor)));
  for (const std::string& module : adapted) {
    const std::string part = last_part(module);  // a number alone would name other layers too
    targets.insert(ambiguous.contains(part) || parse_int(part) ? module : part);
  }
  return {targets.begin(), targets.end()};
}

NamedBytes factor(const std::string& name, checkpoint::Shape shape, const std::vector<double>& values) {
  NamedBytes result{{name, DType::kF32, std::move(shape)}, {}};
  result.bytes.resize(result.info.bytes());
  store(DType::kF32, values.data(), static_cast<std::int64_t>(values.size()), result.bytes.data());
  return result;
}

// The two tensors of a module. PEFT's A takes the input, B gives the output; where the weight is stored the other way
// round, dW = (B A)^T, so that A is left^T and B is right^T.
std::array<NamedBytes, 2> factors_for(const Tensor& tensor, const LowRank& factors, bool embedding, bool turned) {
  const std::string module = module_of(tensor);
  const std::string a = checkpoint::adapter_tensor_name(module, embedding, 'A'),
                    b = checkpoint::adapter_tensor_name(module, embedding, 'B');
  const std::int64_t r = factors.rank;
  if (embedding || turned)
    return {factor(a, {r, factors.rows}, transposed(factors.left, factors.rows, r)),
            factor(b, {factors.columns, r}, transposed(factors.right, r, factors.columns))};
  checkpoint::Shape a_shape = tensor.shape, b_shape(tensor.shape.size(), 1);  // a convolution keeps its kernel in A
  a_shape[0] = r;
  b_shape[0] = factors.rows;
  b_shape[1] = r;
  return {factor(a, a_shape, factors.right), factor(b, b_shape, factors.left)};
}

}  // namespace

AdapterReport make_adapter(const Checkpoint& base, const Checkpoint& tuned, const AdapterOptions& options, Pool& pool,
                           Progress& progress) {
  const std::string out = without_slashes(options.out);
  if (options.rank.rank < 1) throw usage_error(cat("the rank is ", options.rank.rank, ", less than 1"));
  if (checkpoint::is_single_file(out))
    throw usage_error(cat("an adapter is a folder, not ", out), "", "leave .safetensors out of the name");
  const std::array<std::string, 2> inputs = {base.path(), tuned.path()};
  checkpoint::require_writable(out, options.force, inputs);
  for (const Checkpoint* model : {&base, &tuned}) checkpoint::require_unquantized(*model, "subtract");
  const auto pairs = match_pairs(base, tuned, options.include, options.exclude, false);
  const Engine engine{&pool, {}, false, [&](std::uint64_t bytes) { progress.advance(bytes); }};

  std::uint64_t total = 0;
  for (const TensorPair& pair : pairs) total += pair.base->bytes() + pair.tuned->bytes();
  progress.begin("lowrank", total, "bytes");
  std::vector<BestFactors> found(pairs.size());
  std::vector<double> others(pairs.size());  // squared norms of changes that are no matrices
  pool.for_each(static_cast<std::int64_t>(pairs.size()), [&](std::int64_t index, int) {
    const auto i = static_cast<std::size_t>(index);
    const Operand a{&base, pairs[i].base, {}, base.path()}, b{&tuned, pairs[i].tuned, {}, tuned.path()};
    if (checkpoint::is_float(a.tensor->dtype) && is_matrix(*a.tensor)) {
      found[i] = best_factors(engine, a, b, options.rank);
      progress.advance(a.tensor->bytes() + b.tensor->bytes());
    } else {
      others[i] = compare(engine, a, b).dd;
    }
  });
  base.check();
  tuned.check();
  progress.end();

  AdapterReport report;
  std::set<std::string> adapted;
  std::vector<NamedBytes> tensors;
  double all = 0, kept = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    all += found[i].squared_norm + others[i];
    kept += found[i].kept;
    report.left_out += others[i] > 0;
    if (found[i].squared_norm == 0) continue;
    const Tensor& tensor = *pairs[i].base;
    const bool embedding = tensor.shape.size() == 2 && options.is_embedding && options.is_embedding(tensor.name);
    const bool turned = options.fan_in_fan_out && tensor.shape.size() == 2;
    for (NamedBytes& one : factors_for(tensor, found[i].factors, embedding, turned)) tensors.push_back(std::move(one));
    adapted.insert(module_of(tensor));
  }
  if (adapted.empty())
    throw input_error("no matrix changes, so there is nothing to store as low-rank factors", tuned.path());
  if (report.left_out > 0)
    report.warnings.push_back(cat(report.left_out, report.left_out == 1 ? " tensor changes" : " tensors change",
                                  " but ", report.left_out == 1 ? "is no matrix" : "are no matrices",
                                  ", and LoRA cannot say so: left out"));
  report.matrices = adapted.size();
  report.kept = kept / all;
  in_staging(out, ".making", [&](const std::string& staging) {
    const std::string weights = join_path(staging, "adapter_model.safetensors");
    checkpoint::write_safetensors(weights, tensors);
    write_atomically(join_path(staging, "adapter_config.json"),
                     checkpoint::adapter_config_text(base.path(), options.rank.rank, target_modules(adapted, base),
                                                     options.fan_in_fan_out));
    report.bytes = file_size(weights);
    checkpoint::publish(staging, out);
  });
  return report;
}

}  // namespace solera::weights
