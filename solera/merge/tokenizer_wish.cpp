#include "solera/merge/tokenizer_wish.h"

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::merge {
namespace {

const Node* present(const Node& map, std::string_view key) {
  const Node* node = map.find(key);
  return node && !node->is_null() ? node : nullptr;
}

void require_keys(const Node& node, const std::vector<std::string>& known, std::string_view what) {
  if (!node.is_map()) throw usage_error(cat(what, " is not a map of keys and values"), node.where());
  require_known_keys(node, known, cat("in ", what));
}

std::string text_of(const Node& node, std::string_view what) {
  if (!node.is_scalar() || node.as_text().empty()) throw usage_error(cat(what, " is not a text"), node.where());
  return node.as_text();
}

// The word `source` of a token: a model, {kind: zero}, or {kind: model_token, model: ..., token: ... | token_id: ...}.
void read_source(const Node& node, TokenWish& wish) {
  wish.where = node.where();
  if (node.is_scalar()) {
    wish.kind = TokenWish::Kind::kRow;
    wish.model = text_of(node, "a token's source");
    return;
  }
  require_keys(node, {"kind", "model", "token", "token_id"}, "a token's source");
  const std::string kind = text_of(node.at("kind"), "\"kind\"");
  if (kind == "zero") {
    wish.kind = TokenWish::Kind::kZero;
    return;
  }
  if (kind != "model_token")
    throw usage_error(cat("\"kind\" is \"", kind, "\", neither zero nor model_token"), node.at("kind").where());
  wish.kind = TokenWish::Kind::kRow;
  wish.model = text_of(node.at("model"), "\"model\"");
  const Node *token = present(node, "token"), *id = present(node, "token_id");
  if (!token == !id) throw usage_error("a model_token needs exactly one of \"token\" and \"token_id\"", node.where());
  if (token) wish.source_token = text_of(*token, "\"token\"");
  if (id) wish.token_id = id->as_int();
}

}  // namespace

std::optional<TokenizerWish> parse_tokenizer(const Node& document) {
  const Node *source = present(document, "tokenizer_source"), *form = present(document, "tokenizer");
  if (source && form)
    throw usage_error("\"tokenizer_source\" and \"tokenizer\" are both given", form->where(), "keep one of them");
  if (!source && !form) return std::nullopt;
  TokenizerWish wish;
  wish.node = source ? *source : *form;
  if (source) {
    wish.source = text_of(*source, "\"tokenizer_source\"");
    wish.where = source->where();
    return wish;
  }
  require_keys(*form, {"source", "tokens", "pad_to_multiple_of"}, "\"tokenizer\"");
  const Node* from = present(*form, "source");
  wish.source = from ? text_of(*from, "\"source\"") : "union";
  wish.where = from ? from->where() : form->where();
  if (const Node* multiple = present(*form, "pad_to_multiple_of")) {
    wish.pad_to_multiple_of = multiple->as_int();
    if (wish.pad_to_multiple_of < 1)
      throw usage_error(cat("\"pad_to_multiple_of\" is ", wish.pad_to_multiple_of, ", less than 1"), multiple->where());
  }
  const Node* tokens = present(*form, "tokens");
  if (!tokens) return wish;
  if (!tokens->is_map()) throw usage_error("\"tokens\" is not a map from tokens to their sources", tokens->where());
  for (const auto& [token, node] : tokens->entries()) {
    TokenWish one;
    one.token = token;
    one.where = node.key_where();
    if (!node.is_null()) {
      require_keys(node, {"source", "force"}, cat("the token \"", token, "\""));
      if (const Node* where = present(node, "source")) read_source(*where, one);
      if (const Node* force = present(node, "force")) one.force = force->as_bool();
    }
    wish.tokens.push_back(std::move(one));
  }
  return wish;
}

std::optional<ChatTemplateWish> parse_chat_template(const Node& document) {
  const Node* node = present(document, "chat_template");
  if (!node) return std::nullopt;
  return ChatTemplateWish{text_of(*node, "\"chat_template\""), node->where()};
}

}  // namespace solera::merge
