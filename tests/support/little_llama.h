// Small decoder models in folders, for tests of conversions: every tensor of the architecture with values of its own.
#pragma once

#include <string>
#include <vector>

#include "tests/support/support.h"

namespace solera::test {

struct LittleLlama {
  std::string model_type = "llama";
  int layers = 2, hidden = 64, heads = 4, key_heads = 2, head_dim = 16, inner = 96, vocabulary = 40;
  bool head = false, biases = false;  // lm_head; of query, key and value
  checkpoint::DType dtype = checkpoint::DType::kF32;
  std::string rope_theta = "500000.0";
  std::string more_config;  // ", \"key\": value"

  std::vector<checkpoint::NamedBytes> tensors() const {
    std::vector<checkpoint::NamedBytes> all;
    int seed = 0;
    const auto add = [&](const std::string& name, checkpoint::Shape shape) {
      std::vector<double> values(static_cast<std::size_t>(checkpoint::element_count(shape)));
      ++seed;
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<double>((i * 7919 + static_cast<std::size_t>(seed) * 104729) % 65521) / 8192 - 4;
      all.push_back(tensor(name, dtype, std::move(shape), values));
    };
    const int query = heads * head_dim, key = key_heads * head_dim;
    add("model.embed_tokens.weight", {vocabulary, hidden});
    for (int i = 0; i < layers; ++i) {
      const std::string at = "model.layers." + std::to_string(i) + ".";
      add(at + "input_layernorm.weight", {hidden});
      add(at + "self_attn.q_proj.weight", {query, hidden});
      add(at + "self_attn.k_proj.weight", {key, hidden});
      add(at + "self_attn.v_proj.weight", {key, hidden});
      add(at + "self_attn.o_proj.weight", {hidden, query});
      if (biases) {
        add(at + "self_attn.q_proj.bias", {query});
        add(at + "self_attn.k_proj.bias", {key});
        add(at + "self_attn.v_proj.bias", {key});
      }
      add(at + "post_attention_layernorm.weight", {hidden});
      add(at + "mlp.gate_proj.weight", {inner, hidden});
      add(at + "mlp.up_proj.weight", {inner, hidden});
      add(at + "mlp.down_proj.weight", {hidden, inner});
    }
    add("model.norm.weight", {hidden});
    if (head) add("lm_head.weight", {vocabulary, hidden});
    return all;
  }

  std::string config() const {
    const auto entry = [](const char* key, int value) { return cat(", \"", key, "\": ", value); };
    return cat("{\"model_type\": \"", model_type, "\"", entry("hidden_size", hidden),
               entry("num_hidden_layers", layers), entry("num_attention_heads", heads),
               entry("num_key_value_heads", key_heads), entry("intermediate_size", inner),
               entry("max_position_embeddings", 128), head_dim * heads == hidden ? "" : entry("head_dim", head_dim),
               ", \"rms_norm_eps\": 1e-05, \"rope_theta\": ", rope_theta, more_config, "}");
  }

  // Returns the folder.
  std::string write(const std::string& folder) const {
    make_folders(folder);
    write_model(join_path(folder, "model.safetensors"), tensors());
    write_atomically(join_path(folder, "config.json"), config());
    return folder;
  }
};

}  // namespace solera::test
