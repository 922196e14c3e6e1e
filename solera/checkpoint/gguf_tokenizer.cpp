#include "solera/checkpoint/gguf_tokenizer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/files.h"

namespace solera::checkpoint {
namespace {

// token_type
constexpr std::int32_t kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6;

// How text is cut before BPE, by the regular expression that says so; GGUF knows these by name.
struct Cut {
  std::string_view expression, name;
};
constexpr std::array kCuts = {
    Cut{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
        "llama-bpe"},
    Cut{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
        "qwen2"},
};

const Node* find_map(const Node& node, std::string_view key) {
  const Node* found = node.is_map() ? node.find(key) : nullptr;
  return found != nullptr && found->is_map() ? found : nullptr;
}
const Node* find_list(const Node& node, std::string_view key) {
  const Node* found = node.is_map() ? node.find(key) : nullptr;
  return found != nullptr && found->is_list() ? found : nullptr;
}
std::string text_at(const Node& node, std::string_view key) {
  const Node* found = node.is_map() ? node.find(key) : nullptr;
  return found != nullptr && found->is_scalar() ? found->as_text() : "";
}
bool is_true(const Node& node, std::string_view key, bool otherwise = false) {
  const Node* found = node.is_map() ? node.find(key) : nullptr;
  return found != nullptr && found->is_scalar() ? found->try_bool().value_or(otherwise) : otherwise;
}

// The pre-tokenizers of a tokenizer.json, a sequence laid flat.
std::vector<const Node*> pre_tokenizers(const Node& root) {
  const Node* one = find_map(root, "pre_tokenizer");
  if (one == nullptr) return {};
  const Node* sequence = text_at(*one, "type") == "Sequence" ? find_list(*one, "pretokenizers") : nullptr;
  if (sequence == nullptr) return {one};
  std::vector<const Node*> all;
  for (const Node& node : sequence->items()) all.push_back(&node);
  return all;
}

bool is_byte_level(const Node& root) {
  const auto all = pre_tokenizers(root);
  return std::any_of(all.begin(), all.end(), [](const Node* node) { return text_at(*node, "type") == "ByteLevel"; });
}

// tokenizer.ggml.pre; empty if no name of GGUF's is known to be this one.
std::string cut_name(const Node& root) {
  bool digits = false, gpt2 = false;
  std::string expression;
  for (const Node* node : pre_tokenizers(root)) {
    const std::string type = text_at(*node, "type");
    if (type == "Digits") {
      digits = is_true(*node, "individual_digits");
    } else if (type == "ByteLevel") {
      gpt2 = is_true(*node, "use_regex", true);
    } else if (const Node* pattern = type == "Split" ? find_map(*node, "pattern") : nullptr) {
      if (!expression.empty()) return "";
      expression = text_at(*pattern, "Regex");
    } else {
      return "";
    }
  }
  if (expression.empty()) return !gpt2 ? "" : digits ? "smollm" : "gpt-2";
  const auto cut =
      std::find_if(kCuts.begin(), kCuts.end(), [&](const Cut& row) { return row.expression == expression; });
  return cut == kCuts.end() || digits || gpt2 ? "" : std::string(cut->name);
}

bool is_byte_token(std::string_view text) {
  return text.size() == 6 && text.starts_with("<0x") && text.ends_with('>') &&
         text.substr(3, 2).find_first_not_of("0123456789abcdefABCDEF") == text.npos;
}

struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;  // 0: no token has this number yet
  std::unordered_map<std::string, std::int64_t> numbers;

  // False for a number that is not among the embedding's rows.
  bool add(std::string text, std::int64_t number, std::int32_t type) {
    if (number < 0 || number >= static_cast<std::int64_t>(tokens.size())) return false;
    const auto at = static_cast<std::size_t>(number);
    numbers[text] = number;
    tokens[at] = std::move(text);
    types[at] = type;
    return true;
  }
};

// Empty, with a line, where the tokens do not fit the embedding.
std::optional<Vocabulary> vocabulary_of(const Node& root, std::int64_t rows, std::vector<std::string>& warnings) {
  Vocabulary all;
  all.tokens.resize(static_cast<std::size_t>(rows));
  all.types.resize(static_cast<std::size_t>(rows));
  const Node& model = *find_map(root, "model");
  const std::string unknown = text_at(model, "unk_token");
  bool fits = true;
  for (const auto& [text, number] : find_map(model, "vocab")->entries())
    fits = all.add(text, number.as_int(), text == unknown ? kUnknown : is_byte_token(text) ? kByte : kNormal) && fits;
  if (const Node* added = find_list(root, "added_tokens")) {
    for (const Node& token : added->items()) {
      const std::string text = token.at("content").as_text();
      const std::int32_t type = text == unknown ? kUnknown : is_true(token, "special") ? kControl : kUserDefined;
      fits = all.add(text, token.at("id").as_int(), type) && fits;
    }
  }
  if (!fits) {
    warnings.push_back(
        cat("tokenizer.json has tokens beyond the ", rows, " rows of the embedding: the tokenizer is left out"));
    return std::nullopt;
  }
  for (std::size_t i = 0; i < all.tokens.size(); ++i) {
    if (all.types[i] != 0) continue;
    all.tokens[i] = cat("[PAD", i, "]");
    all.types[i] = kUnused;
  }
  return all;
}

// The two sides of each merge: "a b" in older files, ["a", "b"] in newer ones.
std::vector<std::array<std::string, 2>> merges_of(const Node& model) {
  std::vector<std::array<std::string, 2>> merges;
  const Node* list = find_list(model, "merges");
  if (list == nullptr) return merges;
  for (const Node& merge : list->items()) {
    if (merge.is_list() && merge.items().size() == 2) {
      merges.push_back({merge.items()[0].as_text(), merge.items()[1].as_text()});
      continue;
    }
    const std::string& text = merge.as_text();
    const std::size_t space = text.find(' ', 1);
    if (space == text.npos) throw input_error("a merge is not two tokens", merge.where());
    merges.push_back({text.substr(0, space), text.substr(space + 1)});
  }
  return merges;
}

void add_merges(const Node& model, GgufMetadata& metadata) {
  std::vector<std::string> lines;
  for (const auto& [left, right] : merges_of(model)) lines.push_back(left + " " + right);
  metadata.texts("tokenizer.ggml.merges", lines);
}

// Negated as an integer, so that rank 0 is no minus zero.
float score_of(std::size_t rank) { return static_cast<float>(-static_cast<std::int64_t>(rank)); }

void add_scores(const Node& model, const Vocabulary& all, GgufMetadata& metadata) {
  const auto merges = merges_of(model);
  std::vector<float> scores(all.tokens.size(), score_of(merges.size()));
  for (std::size_t rank = merges.size(); rank-- > 0;) {
    const auto made = all.numbers.find(merges[rank][0] + merges[rank][1]);
    if (made != all.numbers.end()) scores[static_cast<std::size_t>(made->second)] = score_of(rank);
  }
  metadata.f32s("tokenizer.ggml.scores", scores);
}

// bos, eos, unknown and padding, by tokenizer_config.json's text, else by config.json's number.
void add_special(const Node& settings, const Node& config, const Vocabulary& all, GgufMetadata& metadata) {
  struct Special {
    const char *text, *number, *key;
  };
  for (const Special& one :
       {Special{"bos_token", "bos_token_id", "bos_token_id"}, Special{"eos_token", "eos_token_id", "eos_token_id"},
        Special{"unk_token", "unk_token_id", "unknown_token_id"},
        Special{"pad_token", "pad_token_id", "padding_token_id"}}) {
    std::int64_t number = -1;
    const Node* named = find_map(settings, one.text);  // a token with flags, or its text alone
    const auto found = all.numbers.find(named != nullptr ? text_at(*named, "content") : text_at(settings, one.text));
    if (found != all.numbers.end()) {
      number = found->second;
    } else if (const Node* node = config.find(one.number); node != nullptr) {
      if (node->is_list() && !node->items().empty()) node = &node->items()[0];
      if (node->is_scalar()) number = node->as_int();
    }
    if (number >= 0 && number < static_cast<std::int64_t>(all.tokens.size()))
      metadata.u32(cat("tokenizer.ggml.", one.key), static_cast<std::uint32_t>(number));
  }
  for (const char* key : {"add_bos_token", "add_eos_token"})
    if (const Node* node = settings.find(key); node != nullptr && node->is_scalar())
      metadata.boolean(cat("tokenizer.ggml.", key), node->as_bool());
}

void add_template(const std::string& folder, const Node& settings, GgufMetadata& metadata) {
  std::string text = text_at(settings, "chat_template");
  const std::string file = join_path(folder, "chat_template.jinja");
  if (text.empty() && exists(file)) text = read_file(file);
  if (!text.empty()) metadata.text("tokenizer.chat_template", text);
}

}  // namespace

void add_tokenizer(const Checkpoint& model, std::int64_t rows, GgufMetadata& metadata,
                   std::vector<std::string>& warnings) {
  const std::string path = join_path(model.folder(), "tokenizer.json");
  if (!model.is_folder() || !exists(path)) {
    warnings.push_back("no tokenizer.json: the file has no tokenizer");
    return;
  }
  const Node root = read_json(path);
  const Node* inner = find_map(root, "model");
  const bool bpe = inner != nullptr && find_map(*inner, "vocab") != nullptr && find_list(*inner, "merges") != nullptr;
  const bool bytes = bpe && is_byte_level(root), pieces = bpe && !bytes && is_true(*inner, "byte_fallback");
  if (!bytes && !pieces) {
    const std::string type = inner != nullptr ? text_at(*inner, "type") : "";
    warnings.push_back(cat("a tokenizer of type ", type.empty() ? "unknown" : type, bpe ? " without bytes" : "",
                           " cannot be written to GGUF: the tokenizer is left out"));
    return;
  }
  const auto all = vocabulary_of(root, rows, warnings);
  if (!all) return;
  std::string cut = pieces ? "default" : cut_name(root);
  if (cut.empty()) {
    cut = "default";
    warnings.push_back("GGUF's name of this tokenizer's way to cut text is not known: tokenizer.ggml.pre is default");
  }
  const std::string settings_path = join_path(model.folder(), "tokenizer_config.json");
  const Node settings = exists(settings_path) ? read_json(settings_path) : Node::map();
  metadata.text("tokenizer.ggml.model", bytes ? "gpt2" : "llama");
  metadata.text("tokenizer.ggml.pre", cut);
  metadata.texts("tokenizer.ggml.tokens", all->tokens);
  metadata.i32s("tokenizer.ggml.token_type", all->types);
  bytes ? add_merges(*inner, metadata) : add_scores(*inner, *all, metadata);
  add_special(settings, model.config(), *all, metadata);
  add_template(model.folder(), settings, metadata);
}

}  // namespace solera::checkpoint
