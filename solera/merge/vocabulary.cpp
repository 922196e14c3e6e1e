#include "solera/merge/vocabulary.h"

#include <algorithm>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"

namespace solera::merge {
namespace {

constexpr std::string_view kFile = "tokenizer.json";

void add(std::vector<std::pair<std::int64_t, std::string>>& order, std::string token, const Node& id) {
  const std::int64_t number = id.as_int();
  if (number < 0) throw input_error(cat("the token \"", token, "\" has the id ", number), id.where());
  order.emplace_back(number, std::move(token));
}

// Pairs of id and token from the vocab of the model, then from added_tokens, which may repeat it.
std::vector<std::pair<std::int64_t, std::string>> pairs_of(const Node& json) {
  std::vector<std::pair<std::int64_t, std::string>> order;
  const Node& vocab = json.at("model").at("vocab");
  if (vocab.is_list()) {
    for (const Node& pair : vocab.items()) {
      if (!pair.is_list() || pair.items().empty())
        throw input_error("an entry of the vocabulary is no pair of token and score", pair.where());
      order.emplace_back(static_cast<std::int64_t>(order.size()), pair.items()[0].as_text());
    }
  } else {
    for (const auto& [token, id] : vocab.entries()) add(order, token, id);
  }
  if (const Node* added = json.find("added_tokens"))
    for (const Node& entry : added->items()) add(order, entry.at("content").as_text(), entry.at("id"));
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return order;
}

}  // namespace

std::optional<std::int64_t> Vocabulary::id(const std::string& token) const {
  const auto found = ids.find(token);
  return found == ids.end() ? std::nullopt : std::optional(found->second);
}

Vocabulary parse_vocabulary(Node json) {
  Vocabulary vocabulary;
  std::int64_t last = -1;
  for (auto& [id, token] : pairs_of(json)) {
    const auto [place, fresh] = vocabulary.ids.emplace(token, id);
    if (!fresh && place->second == id) continue;
    if (!fresh)
      throw input_error(cat("the token \"", token, "\" has the ids ", place->second, " and ", id), json.where());
    if (id == last)
      throw input_error(cat("\"", vocabulary.tokens.back(), "\" and \"", token, "\" both have the id ", id),
                        json.where());
    last = id;
    vocabulary.tokens.push_back(std::move(token));
  }
  if (const Node* added = json.find("added_tokens"))
    for (const Node& entry : added->items()) vocabulary.added.emplace(entry.at("content").as_text(), entry);
  vocabulary.json = std::move(json);
  return vocabulary;
}

Vocabulary read_vocabulary(const checkpoint::Checkpoint& model, const std::string& label) {
  const std::string path = join_path(model.folder(), std::string(kFile));
  if (!model.is_folder() || !exists(path))
    throw input_error(cat(label, " has no ", kFile, ", so that its vocabulary is not known"), model.path(),
                      "save its tokenizer as a fast one, or merge without tokenizer_source");
  return parse_vocabulary(read_json(path));
}

void append_token(Vocabulary& vocabulary, const std::string& token, const Node& like) {
  const std::int64_t id = vocabulary.tokens.empty() ? 0 : vocabulary.ids.at(vocabulary.tokens.back()) + 1;
  Node entry = Node::map({{"id", Node::integer(id)}, {"content", Node::text(token)}});
  for (const std::string_view key : {"single_word", "lstrip", "rstrip", "normalized", "special"}) {
    const Node* flag = like.is_map() ? like.find(key) : nullptr;
    entry.set(std::string(key), flag ? *flag : Node::boolean(false));
  }
  vocabulary.appended.push_back(entry);
  vocabulary.added.emplace(token, std::move(entry));
  vocabulary.ids.emplace(token, id);
  vocabulary.tokens.push_back(token);
}

Node tokenizer_json(const Vocabulary& vocabulary) {
  Node json = vocabulary.json;
  const Node* before = json.find("added_tokens");
  std::vector<Node> list;
  if (before) list.assign(before->items().begin(), before->items().end());
  list.insert(list.end(), vocabulary.appended.begin(), vocabulary.appended.end());
  json.set("added_tokens", Node::list(std::move(list)));
  return json;
}

}  // namespace solera::merge
