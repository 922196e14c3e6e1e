// LoRA adapters as PEFT (Hugging Face) keeps them: a folder with adapter_config.json and adapter_model.safetensors.
//
//   y = W x + s B A x          A [r, in], B [out, r];  s = lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora
//
// Hu et al., ICLR 2022, arXiv 2106.09685; rsLoRA: Kalajdzievski 2023, arXiv 2312.03732. Tensors are named
// base_model.model.MODULE.lora_A.weight and .lora_B.weight (.lora_embedding_A and _B for an embedding); r and alpha may
// differ between modules (rank_pattern, alpha_pattern). What else an adapter can be is refused by name: DoRA, trained
// copies of modules or biases, other kinds of adapters, options that change the function. docs/formats/peft.md
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "solera/checkpoint/checkpoint.h"
#include "solera/checkpoint/writer.h"

namespace solera::checkpoint {

// The settings of adapter_config.json that say what the tensors mean.
struct AdapterConfig {
  std::int64_t r = 8;
  double alpha = 8;
  bool use_rslora = false, fan_in_fan_out = false;
  std::vector<std::string> target_modules;  // name parts or whole paths
  std::optional<std::string> target_regex;  // instead of the list
  std::vector<std::pair<std::string, std::int64_t>> rank_pattern;
  std::vector<std::pair<std::string, double>> alpha_pattern;
  std::vector<std::string> warnings;

  std::int64_t rank_of(std::string_view module) const;
  double scale_of(std::string_view module) const;
  bool targets(std::string_view module) const;
};

// Throws Error (input) for settings that are not supported or make no sense, with file and line.
AdapterConfig parse_adapter_config(const Node& config);

struct AdapterModule {
  std::string module;  // its path in the base model: "model.layers.0.self_attn.q_proj"
  const Tensor* a = nullptr;
  const Tensor* b = nullptr;
  const Tensor* bias = nullptr;  // of lora_B (lora_bias), times s; or null
  bool embedding = false;
  std::int64_t rank = 0;
  double scale = 1;  // s
};

class Adapter {
 public:
  // Throws Error (input) where tensors and settings disagree, naming the module and both numbers.
  Adapter(const std::string& folder, const AdapterConfig& config, Checkpoint file);
  const std::string& path() const { return folder_; }
  const AdapterConfig& config() const { return config_; }
  const Checkpoint& file() const { return file_; }
  std::span<const AdapterModule> modules() const { return modules_; }  // sorted by module

 private:
  std::string folder_;
  AdapterConfig config_;
  Checkpoint file_;
  std::vector<AdapterModule> modules_;
};

bool is_adapter(const std::string& path);  // a folder with an adapter_config.json
Adapter open_adapter(const std::string& folder);

// The weight that a module changes, and how: as a matrix, rows x columns, W + s left right, where left is B or, in a
// transposed layout, A^T. Throws Error (input) for a module that the base lacks or whose shape disagrees.
struct AdapterTarget {
  const Tensor* weight = nullptr;
  const Tensor* bias = nullptr;  // null unless the module has one to change
  std::int64_t rows = 0, columns = 0;
  bool transposed = false;
};
AdapterTarget target_of(const Adapter& adapter, const AdapterModule& module, const Checkpoint& base);

// The text of an adapter_config.json that PEFT loads: keys sorted, indent 2. lora_alpha is r.
std::string adapter_config_text(const std::string& base, std::int64_t r, std::vector<std::string> target_modules,
                                bool fan_in_fan_out);
// Names of a module's two tensors in adapter_model.safetensors.
std::string adapter_tensor_name(std::string_view module, bool embedding, char factor);

}  // namespace solera::checkpoint
