#include "solera/merge/output_files.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/merge/chat_template.h"
#include "solera/merge/names.h"

namespace solera::merge {
namespace {

using checkpoint::Checkpoint;
using checkpoint::DType;

// The type that most of the output's numbers have.
std::optional<DType> main_type(const Plan& plan) {
  std::map<DType, std::uint64_t> elements;
  for (const TensorPlan& tensor : plan.tensors)
    if (checkpoint::is_float(tensor.out.dtype))
      elements[tensor.out.dtype] += static_cast<std::uint64_t>(tensor.out.elements());
  const auto most = std::max_element(elements.begin(), elements.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == elements.end() ? std::nullopt : std::optional(most->first);
}

// config.json, and inside it text_config: each with its own keys.
struct Section {
  const Plan& plan;
  std::string name;  // "" or "text_config"
  Node& map;

  const Checkpoint& donor() const { return *plan.models[static_cast<std::size_t>(plan.donor)]; }

  // The same section of another model's config.json; null if it has none.
  const Node* of(const Checkpoint& model) const { return name.empty() ? &model.config() : model.config().find(name); }
};

bool set_type(Section& section, DType type) {
  bool found = false;
  for (const std::string_view key : {"torch_dtype", "dtype"})
    if (section.map.find(key)) {
      section.map.set(std::string(key), Node::text(std::string(checkpoint::torch_name(type))));
      found = true;
    }
  return found;
}

// Lists such as layer_types hold an entry for each layer of the model.
bool is_layer_list(const std::string& key, const Node& value, int layers) {
  static const std::set<std::string> kOthers = {"intermediate_size", "num_attention_heads", "num_key_value_heads",
                                                "num_query_heads",   "num_kv_heads",        "ffn_multipliers"};
  return value.is_list() && static_cast<int>(value.items().size()) == layers &&
         (key.find("layer") != std::string::npos || key.find("block") != std::string::npos || kOthers.contains(key));
}

// Each output layer's entry, taken from the first of its sources; from the donor's list where that model has no such
// list.
Node stacked_list(const Section& section, const std::string& key, const Node& donors) {
  Node list = Node::list();
  for (const LayerRun& run : section.plan.layers) {
    const LayerRun::From& from = run.from.front();
    const Checkpoint& model = *section.plan.models[from.model];
    const Node* map = section.of(model);
    const Node* own = map ? map->find(key) : nullptr;
    const Node& entries = own && own->is_list() ? *own : donors;
    const int count = static_cast<int>(entries.items().size());
    for (int layer = from.first; layer < from.first + run.end - run.first && count > 0; ++layer)
      list.push(entries.items()[static_cast<std::size_t>(std::min(layer, count - 1))]);
  }
  return list;
}

void set_vocabulary(Section& section) {
  const Plan& plan = section.plan;
  const std::optional<std::int64_t> rows = plan.tokenizer ? plan.tokenizer->rows : plan.truncated.rows;
  if (rows && section.map.find("vocab_size")) section.map.set("vocab_size", Node::integer(*rows));
}

void set_layers(Section& section) {
  if (section.plan.layers.empty()) return;
  const int before = layer_count(section.donor()), after = section.plan.layers.back().end;
  for (const std::string_view key : layer_count_keys())
    if (section.map.find(key)) section.map.set(std::string(key), Node::integer(after));
  const Node old = section.map;
  for (const auto& [key, value] : old.entries())
    if (is_layer_list(key, value, before)) section.map.set(key, stacked_list(section, key, value));
}

// Loading would put the embedding in the place of a head that is not tied any more.
bool has_head_of_its_own(const Plan& plan) {
  const Checkpoint& donor = *plan.models[static_cast<std::size_t>(plan.donor)];
  return std::any_of(plan.tensors.begin(), plan.tensors.end(), [&](const TensorPlan& tensor) {
    return is_tied_head(tensor.out.name) && !donor.find(tensor.out.name) && tied_partner(tensor.out.name, donor);
  });
}

std::string range_text(int first, int end) { return first + 1 == end ? cat(first) : cat(first, "-", end - 1); }

// A fence that the text does not hold.
std::string fenced(const std::string& text) {
  std::string fence = "```";
  while (text.find(fence) != std::string::npos) fence += '`';
  return cat(fence, "yaml\n", text, text.ends_with('\n') ? "" : "\n", fence, "\n");
}

}  // namespace

Node output_config(const Plan& plan) {
  Node config = plan.models[static_cast<std::size_t>(plan.donor)]->config();
  const auto type = main_type(plan);
  if (!config.is_map() || !type) return config;
  Section whole{plan, "", config};
  const bool found = set_type(whole, *type);
  set_layers(whole);
  set_vocabulary(whole);
  if (has_head_of_its_own(plan)) config.set("tie_word_embeddings", Node::boolean(false));
  if (const Node* text = config.find("text_config"); text && text->is_map()) {
    Node inner = *text;
    Section section{plan, "text_config", inner};
    set_type(section, *type);
    set_layers(section);
    set_vocabulary(section);
    if (inner.find("tie_word_embeddings") && has_head_of_its_own(plan))
      inner.set("tie_word_embeddings", Node::boolean(false));
    config.set("text_config", std::move(inner));
  }
  if (!found) config.set("torch_dtype", Node::text(std::string(checkpoint::torch_name(*type))));
  return config;
}

Table layer_table(const Plan& plan) {
  Table table{{"layers", "from"}, {}};
  for (const LayerRun& run : plan.layers) {
    std::vector<std::string> sources;
    for (const LayerRun::From& from : run.from)
      sources.push_back(cat(plan.labels[from.model], " ", range_text(from.first, from.first + run.end - run.first)));
    table.rows.push_back({range_text(run.first, run.end), join(sources, ", ")});
  }
  return table;
}

std::string model_card(const Plan& plan, const std::string& name) {
  std::set<std::string> hub(plan.hub_names.begin(), plan.hub_names.end());
  hub.erase("");
  std::string card = "---\nlibrary_name: transformers\n";
  if (!hub.empty()) card += "base_model:\n";
  for (const std::string& one : hub) card += cat("- ", one, "\n");
  card += cat("tags:\n- merge\n- solera\n---\n\n# ", name, "\n\n");
  card += cat("The weights of this model were not trained: Solera made them of ", plan.models.size(),
              plan.models.size() == 1 ? " model" : " models", " by the method `", plan.method->name, "`, ",
              plan.method->summary, " (", plan.method->citation, ")",
              plan.config.rules == Rules::kPaper ? ", under the rules of its paper" : "", ".\n\n## Models\n\n");
  for (const std::string& label : plan.labels)
    card += cat("- ", label, label == plan.config.base_model ? " (base)" : "", "\n");
  if (!plan.layers.empty()) card += cat("\n## Layers\n\n", table_markdown(layer_table(plan)));
  return cat(card, "\n## Configuration\n\n`solera merge mergekit_config.yml -o OUT",
             plan.method->random ? cat(" --seed ", plan.config.seed) : "", "` makes it again.\n\n",
             fenced(plan.config.text));
}

void write_model_card(const Plan& plan, const std::string& folder, const std::string& name) {
  if (plan.config.text.empty()) return;
  write_atomically(join_path(folder, "README.md"), model_card(plan, name));
  write_atomically(join_path(folder, "mergekit_config.yml"), plan.config.text);
}

void write_side_files(const Plan& plan, const std::string& folder, const std::optional<std::string>& card_title) {
  if (!plan.layout.index.empty())
    write_atomically(join_path(folder, "model.safetensors.index.json"), plan.layout.index);
  const Checkpoint& donor = *plan.models[static_cast<std::size_t>(plan.donor)];
  if (donor.is_folder() || !donor.config().is_null())  // a GGUF file has a config, too
    checkpoint::carry_side_files(donor, folder, output_config(plan));
  if (plan.tokenizer) write_tokenizer(*plan.tokenizer, *plan.models[plan.tokenizer->donor], folder);
  write_chat_template(plan.chat_template, folder);
  if (card_title) write_model_card(plan, folder, *card_title);
}

}  // namespace solera::merge
