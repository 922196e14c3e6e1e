#include "solera/checkpoint/gguf_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numbers>
#include <optional>
#include <tuple>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/checkpoint/gguf_names.h"
#include "solera/checkpoint/gguf_tokenizer.h"
#include "solera/checkpoint/remote.h"

namespace solera::checkpoint {
namespace {

constexpr std::string_view kRopeFactors = "rope_freqs.weight";

// From GGUF
// --------------------------------------------------------------------------------------------------------------

class Reader {
 public:
  Reader(const GgufFile& file, const std::string& path) : file_(file), path_(path) {
    const GgufValue* name = file.find("general.architecture");
    if (name == nullptr || name->kind != GgufKind::kText) throw input_error("no general.architecture", path);
    family_ = find_family(name->text);
    if (family_ == nullptr) {
      throw input_error(cat("the architecture is ", name->summary(), ", whose tensors have no names here"), path,
                        cat("known are ", known_architectures()));
    }
    if (const auto parts = whole("split.count"); parts && *parts > 1) {
      throw input_error(cat("the file is one of ", *parts, " parts of a model"), path,
                        "join them with llama-gguf-split --merge");
    }
  }
  const GgufFamily& family() const { return *family_; }

  std::optional<std::int64_t> whole(std::string_view key) const {
    const GgufValue* value = file_.find(key);
    return value != nullptr ? value->integer() : std::nullopt;
  }
  std::string own(std::string_view key) const { return cat(family_->architecture, ".", key); }
  std::int64_t required(std::string_view key) const {
    const std::string full = own(key);
    const auto value = whole(full);
    if (!value || *value <= 0 || *value > INT32_MAX) {
      const GgufValue* there = file_.find(full);
      throw input_error(there == nullptr ? cat("no ", full) : cat(full, " is ", there->summary(), ", not a count"),
                        path_);
    }
    return *value;
  }
  Heads heads() const {
    const std::int64_t query = required("attention.head_count");
    const bool grouped = file_.find(own("attention.head_count_kv")) != nullptr;
    const bool sized = file_.find(own("attention.key_length")) != nullptr;
    return {query, grouped ? required("attention.head_count_kv") : query,
            sized ? required("attention.key_length") : required("embedding_length") / query};
  }

  void copy_whole(std::string_view key, const char* to, Node& config) const {
    if (const auto value = whole(key)) config.set(to, Node::integer(*value));
  }
  void copy_number(std::string_view key, const char* to, Node& config) const {
    const GgufValue* value = file_.find(key);
    if (value == nullptr || !value->number()) return;
    config.set(to, Node::number(*value->number()));
  }

 private:
  const GgufFile& file_;
  const std::string& path_;
  const GgufFamily* family_ = nullptr;
};

// The type of most of the values.
DType main_type(const std::vector<Tensor>& tensors) {
  std::map<DType, std::int64_t> counts;
  for (const Tensor& tensor : tensors)
    if (is_float(tensor.dtype)) counts[tensor.dtype] += tensor.elements();
  const auto most =
      std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == counts.end() ? DType::kF32 : most->first;
}

void set_rope_scaling(const GgufFile& file, const Reader& reader, HuggingFaceModel& model) {
  const GgufValue* type = file.find(reader.own("rope.scaling.type"));
  if (type == nullptr || type->text == "none" || type->text.empty()) return;
  if (type->text != "linear" && type->text != "yarn") {
    model.warnings.push_back(cat("rope.scaling.type ", type->summary(), " is left out of config.json"));
    return;
  }
  Node scaling = Node::map({{"rope_type", Node::text(type->text)}});
  reader.copy_number(reader.own("rope.scaling.factor"), "factor", scaling);
  reader.copy_whole(reader.own("rope.scaling.original_context_length"), "original_max_position_embeddings", scaling);
  model.config.set("rope_scaling", std::move(scaling));
}

void make_config(const GgufFile& file, const Reader& reader, HuggingFaceModel& model) {
  const auto has = [&](std::string_view name) {
    return std::any_of(model.tensors.begin(), model.tensors.end(), [&](const Tensor& t) { return t.name == name; });
  };
  const std::string architecture(reader.family().architecture);
  const Heads heads = reader.heads();
  const std::int64_t hidden = reader.required("embedding_length");
  Node& config = model.config;
  config.set("architectures", Node::list({Node::text(std::string(reader.family().model_class))}));
  config.set("model_type", Node::text(architecture));
  config.set("hidden_act", Node::text("silu"));
  config.set("hidden_size", Node::integer(hidden));
  config.set("intermediate_size", Node::integer(reader.required("feed_forward_length")));
  config.set("num_hidden_layers", Node::integer(reader.required("block_count")));
  config.set("num_attention_heads", Node::integer(heads.query));
  config.set("num_key_value_heads", Node::integer(heads.key));
  if (heads.size != hidden / heads.query) config.set("head_dim", Node::integer(heads.size));
  reader.copy_whole(reader.own("context_length"), "max_position_embeddings", config);
  reader.copy_number(reader.own("attention.layer_norm_rms_epsilon"), "rms_norm_eps", config);
  reader.copy_number(reader.own("rope.freq_base"), "rope_theta", config);
  set_rope_scaling(file, reader, model);
  for (const Tensor& tensor : model.tensors)
    if (tensor.name == "model.embed_tokens.weight" && tensor.shape.size() == 2)
      config.set("vocab_size", Node::integer(tensor.shape[0]));
  config.set("tie_word_embeddings", Node::boolean(!has("lm_head.weight")));
  if (architecture == "llama") {
    config.set("attention_bias", Node::boolean(has("model.layers.0.self_attn.q_proj.bias")));
    config.set("mlp_bias", Node::boolean(has("model.layers.0.mlp.up_proj.bias")));
  }
  reader.copy_whole("tokenizer.ggml.bos_token_id", "bos_token_id", config);
  reader.copy_whole("tokenizer.ggml.eos_token_id", "eos_token_id", config);
  config.set("torch_dtype", Node::text(std::string(torch_name(main_type(model.tensors)))));
}

// To GGUF
// ----------------------------------------------------------------------------------------------------------------

// config.json with its defaults.
class Config {
 public:
  Config(const Node& root, std::string where) : root_(root), where_(std::move(where)) {}

  const Node* find(std::string_view key) const {
    const Node* node = root_.find(key);
    return node == nullptr || node->is_null() ? nullptr : node;
  }
  std::uint32_t count(std::string_view key, std::optional<std::uint32_t> otherwise = std::nullopt) const {
    const Node* node = find(key);
    if (node == nullptr && otherwise) return *otherwise;
    if (node == nullptr) throw input_error(cat("no ", key), where_);
    const std::int64_t value = node->as_int();
    if (value <= 0 || value > INT32_MAX) throw input_error(cat(key, " is ", value, ", not a count"), where_);
    return static_cast<std::uint32_t>(value);
  }
  // rope_theta and rope_scaling have moved to rope_parameters in newer files.
  double rope_theta() const {
    if (const Node* node = find("rope_theta")) return node->as_double();
    const Node* more = find("rope_parameters");
    const Node* node = more != nullptr && more->is_map() ? more->find("rope_theta") : nullptr;
    return node != nullptr ? node->as_double() : 10000.0;
  }
  const Node* rope_scaling() const {
    for (const char* key : {"rope_scaling", "rope_parameters"})
      if (const Node* node = find(key); node != nullptr && node->is_map()) return node;
    return nullptr;
  }

 private:
  const Node& root_;
  std::string where_;
};

// What llama3's scaling divides each frequency by: 1 for the fast ones, `factor` for the slow, between them a blend.
Tensor rope_factors(const Node& scaling, double theta, std::int64_t size, const std::string& where) {
  const double factor = scaling.at("factor").as_double(), low = scaling.at("low_freq_factor").as_double(),
               high = scaling.at("high_freq_factor").as_double(),
               context = scaling.at("original_max_position_embeddings").as_double();
  if (!(factor > 0 && low > 0 && high > low && context > 0))
    throw input_error("rope_scaling of type llama3 is no scaling", where);
  std::vector<std::byte> bytes(static_cast<std::size_t>(size / 2) * 4);
  for (std::int64_t i = 0; i < size / 2; ++i) {
    const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(size));
    const double turns = context * frequency / (2 * std::numbers::pi);
    const double blend = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    const auto value = static_cast<float>(1.0 / ((1.0 - blend) / factor + blend));
    std::memcpy(bytes.data() + i * 4, &value, 4);
  }
  Tensor tensor{{std::string(kRopeFactors), DType::kF32, {size / 2}}, nullptr, 0, {}};
  tensor.source = memory_source(where, std::move(bytes));
  return tensor;
}

void add_rope(const Config& config, const std::string& prefix, std::uint32_t size, const std::string& where,
              GgufModel& model) {
  model.metadata.u32(prefix + "rope.dimension_count", size);
  model.metadata.f32(prefix + "rope.freq_base", static_cast<float>(config.rope_theta()));
  const Node* scaling = config.rope_scaling();
  if (scaling == nullptr) return;
  const Node* type = scaling->find("rope_type");
  if (type == nullptr) type = scaling->find("type");
  const std::string name = type == nullptr ? "default" : type->as_text();
  if (name == "llama3") {
    model.tensors.push_back(rope_factors(*scaling, config.rope_theta(), size, where));
  } else if (name == "linear" || name == "yarn") {
    model.metadata.text(prefix + "rope.scaling.type", name);
    model.metadata.f32(prefix + "rope.scaling.factor", static_cast<float>(scaling->at("factor").as_double()));
    if (const Node* original = scaling->find("original_max_position_embeddings"))
      model.metadata.u32(prefix + "rope.scaling.original_context_length",
                         static_cast<std::uint32_t>(original->as_uint()));
  } else if (name != "default") {
    model.warnings.push_back(cat("rope_scaling of type ", name, " is left out"));
  }
}

// The order of the file: embedding, blocks by number, the rest.
std::tuple<int, std::int64_t, std::string_view> place_of(const Tensor& tensor) {
  const std::string_view name = tensor.name;
  if (name.starts_with("token_embd")) return {0, 0, name};
  if (!name.starts_with("blk.")) return {2, 0, name};
  return {1, parse_int(name.substr(4, name.find('.', 4) - 4)).value_or(0), name};
}

std::string name_of(const Checkpoint& model) {
  std::string name = file_name(is_remote(model.path()) ? model.path() : canonical(model.path()));
  return name.empty() ? "model" : name;
}

}  // namespace

HuggingFaceModel to_hugging_face(GgufFile file, const std::string& path) {
  const Reader reader(file, path);
  HuggingFaceModel model;
  const Heads heads = reader.heads();
  for (Tensor& tensor : file.tensors) {
    if (tensor.name == kRopeFactors) {
      model.warnings.push_back(
          cat(kRopeFactors, " is left out: give config.json the rope_scaling of the original model"));
      continue;
    }
    std::optional<std::string> name = hugging_face_name(tensor.name);
    if (!name) throw input_error(cat(tensor.name, " has no Hugging Face name in ", reader.family().architecture), path);
    const std::string stored = std::exchange(tensor.name, std::move(*name));
    model.tensors.push_back(reader.family().paired_rows ? in_order(std::move(tensor), stored, heads, RowOrder::kHalves)
                                                        : std::move(tensor));
  }
  make_config(file, reader, model);
  if (file.find("tokenizer.ggml.tokens") != nullptr)
    model.warnings.push_back("the tokenizer is left out: take tokenizer.json from the original model");
  return model;
}

GgufModel to_gguf(const Checkpoint& from) {
  const std::string where = from.is_folder() ? join_path(from.folder(), "config.json") : from.path();
  if (!from.config().is_map())
    throw input_error(cat(from.path(), " has no config.json, which GGUF's metadata is made from"), "",
                      "give the model's folder");
  const GgufFamily& family = family_of(from.config(), where);
  const Config config(from.config(), where);
  const std::string prefix = cat(family.architecture, ".");
  const std::uint32_t hidden = config.count("hidden_size"), query = config.count("num_attention_heads"),
                      key = config.count("num_key_value_heads", query), size = config.count("head_dim", hidden / query);
  if (size == 0) throw input_error(cat("hidden_size is ", hidden, ", too little for ", query, " heads"), where);
  GgufModel model;
  for (const Tensor& tensor : from.tensors()) {
    if (tensor.name.ends_with(".rotary_emb.inv_freq")) continue;  // of old files; made anew by every reader
    const std::optional<std::string> name = gguf_name(tensor.name);
    if (!name) throw input_error(cat(tensor.name, " has no GGUF name in ", family.architecture), from.path());
    Tensor one = family.paired_rows ? in_order(tensor, *name, {query, key, size}, RowOrder::kPairs) : tensor;
    one.name = *name;
    model.tensors.push_back(std::move(one));
  }
  const Tensor* embedding = from.find("model.embed_tokens.weight");
  if (embedding == nullptr) throw input_error("no model.embed_tokens.weight", from.path());
  if (embedding->shape.size() != 2 || embedding->shape[1] != hidden) {
    throw input_error(
        cat("model.embed_tokens.weight is ", shape_text(embedding->shape), ", but hidden_size is ", hidden), where);
  }

  GgufMetadata& metadata = model.metadata;
  metadata.text("general.architecture", family.architecture);
  metadata.text("general.type", "model");
  metadata.text("general.name", name_of(from));
  if (config.find("max_position_embeddings"))
    metadata.u32(prefix + "context_length", config.count("max_position_embeddings"));
  else
    model.warnings.push_back("config.json has no max_position_embeddings: the file has no context_length");
  metadata.u32(prefix + "embedding_length", hidden);
  metadata.u32(prefix + "block_count", config.count("num_hidden_layers"));
  metadata.u32(prefix + "feed_forward_length", config.count("intermediate_size"));
  metadata.u32(prefix + "attention.head_count", query);
  metadata.u32(prefix + "attention.head_count_kv", key);
  const Node* epsilon = config.find("rms_norm_eps");
  metadata.f32(prefix + "attention.layer_norm_rms_epsilon",
               static_cast<float>(epsilon != nullptr ? epsilon->as_double() : 1e-6));
  if (size != hidden / query) {
    metadata.u32(prefix + "attention.key_length", size);
    metadata.u32(prefix + "attention.value_length", size);
  }
  add_rope(config, prefix, size, where, model);
  metadata.u32(prefix + "vocab_size", static_cast<std::uint32_t>(embedding->shape[0]));
  add_tokenizer(from, embedding->shape[0], metadata, model.warnings);
  std::sort(model.tensors.begin(), model.tensors.end(),
            [](const Tensor& a, const Tensor& b) { return place_of(a) < place_of(b); });
  return model;
}

}  // namespace solera::checkpoint
