#include "solera/weights/convert.h"

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/checkpoint/npz.h"
#include "solera/checkpoint/torch.h"
#include "solera/checkpoint/writer.h"
#include "solera/weights/convert_gguf.h"
#include "solera/weights/output.h"
#include "solera/weights/staging.h"

namespace solera::weights {

namespace {

using checkpoint::Checkpoint;

DType target_type(const checkpoint::Tensor& tensor, const ConvertOptions& options) {
  return options.dtype && checkpoint::is_float(tensor.dtype) ? *options.dtype : tensor.dtype;
}

Node config_of(const Checkpoint& in, const ConvertOptions& options) {
  Node config = in.config();
  if (!options.dtype) return config;
  for (const char* key : {"torch_dtype", "dtype"})
    if (config.find(key)) config.set(key, Node::text(std::string(checkpoint::torch_name(*options.dtype))));
  return config;
}

// Safetensors in a staging folder, which the caller publishes or reads on.
void write_staging(const Checkpoint& in, const ConvertOptions& options, bool single_file, const std::string& staging,
                   Pool& pool, Progress& progress) {
  std::vector<checkpoint::TensorInfo> infos;
  for (const auto& tensor : in.tensors()) infos.push_back({tensor.name, target_type(tensor, options), tensor.shape});
  const auto layout =
      checkpoint::plan_layout(std::move(infos), {.shard_bytes = options.shard_bytes, .single_file = single_file});
  checkpoint::ShardWriter writer(staging, layout);
  const Engine engine{&pool, {}, true, [&](std::uint64_t bytes) { progress.advance(bytes); }};
  progress.begin("convert", in.tensor_bytes(), "bytes");
  pool.for_each(static_cast<std::int64_t>(layout.tensors.size()), [&](std::int64_t i, int) {
    const auto index = static_cast<std::size_t>(i);
    const checkpoint::Tensor& tensor = in.at(layout.tensors[index].name);
    copy_tensor(engine, {&in, &tensor, {}, in.path()}, layout.tensors[index].dtype, writer, index);
  });
  in.check();
  writer.sync();
  if (!layout.index.empty()) write_atomically(join_path(staging, "model.safetensors.index.json"), layout.index);
  progress.end();
}

}  // namespace

void convert_checkpoint(const Checkpoint& in, const ConvertOptions& options, Pool& pool, Progress& progress) {
  const std::string out = without_slashes(options.out);  // work happens beside the output, not inside it
  checkpoint::require_writable(out, options.force, std::vector<std::string>{in.path()});
  if (options.dtype) checkpoint::require_unquantized(in, "change the type of");
  const bool torch = out.ends_with(".pt") || out.ends_with(".pth") || out.ends_with(".bin"),
             npz = out.ends_with(".npz"), gguf = out.ends_with(".gguf");
  if (options.q8_0 && !gguf) throw usage_error("only GGUF has Q8_0", out, "name the output *.gguf");
  if (options.q8_0) checkpoint::require_unquantized(in, "change the type of");
  for (const std::string& line : in.warnings()) progress.warn(line);
  const auto write_other = [&](const Checkpoint& model) {
    torch ? checkpoint::write_torch(out, model) : checkpoint::write_npz(out, model);
  };
  if ((torch || npz) && !options.dtype) return write_other(in);

  if (npz && (*options.dtype == DType::kBF16 || checkpoint::bits(*options.dtype) == 8))
    throw usage_error(cat("NumPy has no type for ", checkpoint::name(*options.dtype)), out, "--dtype float32");
  in_staging(out, ".converting", [&](const std::string& staging) {
    if (gguf) {
      write_gguf(in, options, staging, pool, progress);
      return checkpoint::publish(staging, out);
    }
    const bool single_file = torch || npz || checkpoint::is_single_file(out);
    write_staging(in, options, single_file, staging, pool, progress);
    if (torch || npz) {
      write_other(checkpoint::open_checkpoint(staging));
      remove_all(staging);
      return;
    }
    if (!single_file) checkpoint::carry_side_files(in, staging, config_of(in, options));
    checkpoint::publish(staging, out);
  });
}

}  // namespace solera::weights
