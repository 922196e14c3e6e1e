// What a configuration asks of the output's tokenizer: the keys tokenizer_source, tokenizer and chat_template.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "solera/base/document.h"

namespace solera::merge {

// Where the row of one token comes from, in the models that lack it or, if forced, in all.
struct TokenWish {
  enum class Kind { kDefault, kZero, kRow };
  std::string token;
  Kind kind = Kind::kDefault;
  std::string model;                     // of a row
  std::string source_token;              // its token there; empty for the same
  std::optional<std::int64_t> token_id;  // or its number
  bool force = false;
  std::string where;
};

struct TokenizerWish {
  std::string source;  // "union", "base" or a model
  std::string where;
  std::vector<TokenWish> tokens;
  std::int64_t pad_to_multiple_of = 0;
  Node node;  // as the file writes it
};

struct ChatTemplateWish {
  std::string text;  // "auto", a known name, or the template itself
  std::string where;
};

// Throws Error (usage) for unknown keys, both forms at once, a source that is none.
std::optional<TokenizerWish> parse_tokenizer(const Node& document);
std::optional<ChatTemplateWish> parse_chat_template(const Node& document);

}  // namespace solera::merge
