// What tokenizer.json says of a vocabulary: tokens and their ids, and the tokens that were added to the model's own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "solera/base/document.h"
#include "solera/checkpoint/checkpoint.h"

namespace solera::merge {

struct Vocabulary {
  std::vector<std::string> tokens;                    // in the order of their ids
  std::unordered_map<std::string, std::int64_t> ids;  // of all tokens
  std::unordered_map<std::string, Node> added;        // entries of added_tokens, by content
  Node json;                                          // the file as it was
  std::vector<Node> appended;                         // entries of added_tokens that came later

  std::optional<std::int64_t> id(const std::string& token) const;
};

// tokenizer.json of the Hugging Face tokenizers: the model's vocab (a map to ids, or Unigram's list of pairs) and
// added_tokens. Throws Error (input) for ids that are negative or given twice.
Vocabulary parse_vocabulary(Node json);
// Of a model's folder. Throws Error (input) where it has none.
Vocabulary read_vocabulary(const checkpoint::Checkpoint& model, const std::string& label);

// Appends a token with the next free id; `like` is the entry of added_tokens that another model has for it, or null.
void append_token(Vocabulary& vocabulary, const std::string& token, const Node& like);

// The file with all that was appended.
Node tokenizer_json(const Vocabulary& vocabulary);

}  // namespace solera::merge
