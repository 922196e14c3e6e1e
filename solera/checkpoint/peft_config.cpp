// adapter_config.json: the settings that matter, and refusals of those that would change what the tensors mean.
#include <algorithm>
#include <cmath>

#include "solera/base/error.h"
#include "solera/base/pattern.h"
#include "solera/base/text.h"
#include "solera/checkpoint/peft.h"

namespace solera::checkpoint {
namespace {

// Does a setting say anything? null, false, "", [] and {} do not.
bool is_active(const Node* node) {
  if (node == nullptr || node->is_null()) return false;
  if (node->is_list()) return !node->items().empty();
  if (node->is_map()) return !node->entries().empty();
  return node->as_text() != "false" && !node->as_text().empty();
}

constexpr const char* kUnsupported[] = {"use_dora",          "use_qalora",        "alora_invocation_tokens",
                                        "kasa_config",       "use_bdlora",        "velora_config",
                                        "monteclora_config", "arrow_config",      "megatron_config",
                                        "layer_replication", "target_parameters", "trainable_token_indices",
                                        "modules_to_save"};

std::int64_t read_rank(const Node& node) {
  const std::int64_t r = node.as_int();
  if (r < 1) throw input_error(cat("a rank is ", r, ", less than 1"), node.where());
  return r;
}

double read_alpha(const Node& node) {
  const double alpha = node.as_double();
  if (!std::isfinite(alpha)) throw input_error("lora_alpha is not finite", node.where());
  return alpha;
}

// PEFT: the key, a regular expression, must match the end of the path, from a dot or the beginning on.
bool pattern_matches(const std::string& key, std::string_view module) {
  return Pattern(cat("re:^(.*\\.)?(", key, ")$")).matches(module);
}

template <class T>
const T* find_pattern(const std::vector<std::pair<std::string, T>>& patterns, std::string_view module) {
  const auto found = std::find_if(patterns.begin(), patterns.end(),
                                  [&](const auto& row) { return pattern_matches(row.first, module); });
  return found == patterns.end() ? nullptr : &found->second;
}

}  // namespace

std::int64_t AdapterConfig::rank_of(std::string_view module) const {
  const std::int64_t* own = find_pattern(rank_pattern, module);
  return own ? *own : r;
}

double AdapterConfig::scale_of(std::string_view module) const {
  const double* own = find_pattern(alpha_pattern, module);
  const auto rank = static_cast<double>(rank_of(module));
  return (own ? *own : alpha) / (use_rslora ? std::sqrt(rank) : rank);
}

bool AdapterConfig::targets(std::string_view module) const {
  if (target_regex) {
    if (*target_regex == "all-linear") return true;
    return Pattern(cat("re:^(", *target_regex, ")$")).matches(module);
  }
  return target_modules.empty() ||
         std::any_of(target_modules.begin(), target_modules.end(),
                     [&](const std::string& entry) { return module == entry || module.ends_with("." + entry); });
}

AdapterConfig parse_adapter_config(const Node& config) {
  const auto problem = [&](const std::string& what, const Node& at, const std::string& hint = "") {
    return input_error(what, at.where(), hint);
  };
  if (!config.is_map()) throw problem("an adapter's configuration is not an object", config);
  const Node* type = config.find("peft_type");
  if (!is_active(type)) throw problem("peft_type is missing", config, "this is no adapter_config.json of PEFT");
  if (type->as_text() != "LORA")
    throw problem(cat("the adapter is ", type->as_text(), ", which is not supported; supported: LORA"), *type);
  for (const char* key : kUnsupported)
    if (const Node* node = config.find(key); is_active(node))
      throw problem(cat("the adapter uses ", key, ", which is not supported"), *node,
                    "merge it into the model with the tool that made it");
  AdapterConfig result;
  if (const Node* bias = config.find("bias"); is_active(bias) && bias->as_text() != "none")
    throw problem(cat("the adapter trains biases (bias: ", bias->as_text(), "), which is not supported"), *bias,
                  "merge it into the model with the tool that made it");
  if (const Node* r = config.find("r"); is_active(r)) result.r = read_rank(*r);
  if (const Node* alpha = config.find("lora_alpha"); is_active(alpha)) result.alpha = read_alpha(*alpha);
  if (const Node* node = config.find("use_rslora"); is_active(node)) result.use_rslora = node->as_bool();
  if (const Node* node = config.find("fan_in_fan_out"); is_active(node)) result.fan_in_fan_out = node->as_bool();
  if (const Node* init = config.find("init_lora_weights"); is_active(init) && !init->try_bool() &&
                                                           init->as_text() != "gaussian" &&
                                                           init->as_text() != "orthogonal" && init->as_text() != "eva")
    result.warnings.push_back(cat("init_lora_weights is ", init->as_text(),
                                  ": such an adapter belongs to the base that its initialization changed"));
  if (const Node* targets = config.find("target_modules"); is_active(targets)) {
    if (targets->is_list()) {
      for (const Node& entry : targets->items()) result.target_modules.push_back(entry.as_text());
    } else {
      result.target_regex = targets->as_text();
    }
  }
  for (const auto& [key, list] : {std::pair{"rank_pattern", true}, std::pair{"alpha_pattern", false}}) {
    const Node* node = config.find(key);
    if (!is_active(node)) continue;
    if (!node->is_map()) throw problem(cat(key, " is not an object"), *node);
    for (const auto& [pattern, value] : node->entries()) {
      (void)pattern_matches(pattern, "");  // a regular expression that can be read
      if (list) {
        result.rank_pattern.emplace_back(pattern, read_rank(value));
      } else {
        result.alpha_pattern.emplace_back(pattern, read_alpha(value));
      }
    }
  }
  return result;
}

std::string adapter_config_text(const std::string& base, std::int64_t r, std::vector<std::string> target_modules,
                                bool fan_in_fan_out) {
  std::sort(target_modules.begin(), target_modules.end());
  Node targets = Node::list();
  for (std::string& entry : target_modules) targets.push(Node::text(std::move(entry)));
  const Node config = Node::map({{"base_model_name_or_path", Node::text(base)},
                                 {"bias", Node::text("none")},
                                 {"fan_in_fan_out", Node::boolean(fan_in_fan_out)},
                                 {"inference_mode", Node::boolean(true)},
                                 {"init_lora_weights", Node::boolean(true)},
                                 {"lora_alpha", Node::integer(r)},
                                 {"lora_dropout", Node::number(0.0)},
                                 {"peft_type", Node::text("LORA")},
                                 {"r", Node::integer(r)},
                                 {"target_modules", std::move(targets)},
                                 {"task_type", Node()},
                                 {"use_rslora", Node::boolean(false)}});
  return to_json(config, 2) + "\n";
}

}  // namespace solera::checkpoint
