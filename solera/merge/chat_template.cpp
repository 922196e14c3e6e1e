#include "solera/merge/chat_template.h"

#include <algorithm>
#include <map>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"

namespace solera::merge {
namespace {

constexpr std::string_view kChatml =
    "{%- for message in messages -%}\n"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    "{{- '<|im_start|>assistant\\n' -}}\n"
    "{%- endif -%}\n";

// Of a model's folder: chat_template.jinja, else the key of tokenizer_config.json; empty if it has neither.
std::string template_of(const checkpoint::Checkpoint& model) {
  if (!model.is_folder()) return "";
  if (const std::string file = join_path(model.folder(), "chat_template.jinja"); exists(file)) return read_file(file);
  const std::string config = join_path(model.folder(), "tokenizer_config.json");
  if (!exists(config)) return "";
  const Node node = read_json(config);
  const Node* text = node.find("chat_template");
  return text && text->is_scalar() ? text->as_text() : "";
}

std::string most_frequent(const Inputs& inputs) {
  std::map<std::string, int> counts;
  std::vector<std::string> order;
  for (const std::size_t i : inputs.taking_part()) {
    std::string text = template_of(*inputs.models[i]);
    if (!text.empty() && counts[text]++ == 0) order.push_back(std::move(text));
  }
  const auto most = std::max_element(order.begin(), order.end(), [&](const std::string& a, const std::string& b) {
    return counts.at(a) < counts.at(b);
  });
  return most == order.end() ? "" : *most;
}

}  // namespace

std::string chosen_chat_template(const ChatTemplateWish& wish, const Inputs& inputs) {
  if (wish.text == "auto") return most_frequent(inputs);
  if (wish.text == "chatml") return std::string(kChatml);
  if (wish.text.find('{') != std::string::npos) return wish.text;
  const std::string near = did_you_mean(wish.text, std::vector<std::string>{"auto", "chatml"});
  throw usage_error(cat("no chat template is called \"", wish.text, "\""), wish.where,
                    near.empty() ? "use auto, chatml, or write the template itself" : near);
}

void write_chat_template(const std::string& text, const std::string& folder) {
  if (text.empty()) return;
  write_atomically(join_path(folder, "chat_template.jinja"), text);
  const std::string config = join_path(folder, "tokenizer_config.json");
  if (!exists(config)) return;
  Node node = read_json(config);
  if (node.erase("chat_template")) write_atomically(config, to_json(node, 2) + "\n");
}

}  // namespace solera::merge
