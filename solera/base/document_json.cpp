#include <simdjson.h>

#include "solera/base/document.h"
#include "solera/base/document_builder.h"
#include "solera/base/error.h"
#include "solera/base/files.h"

namespace solera {
namespace {

namespace ondemand = simdjson::ondemand;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

const char* problem_text(simdjson::error_code code) {
  switch (code) {
    case simdjson::EMPTY:
      return "the text is empty";
    case simdjson::UNCLOSED_STRING:
      return "a string is not closed";
    case simdjson::UNESCAPED_CHARS:
      return "a control character in a string";
    case simdjson::STRING_ERROR:
      return "a bad escape in a string";
    case simdjson::INCOMPLETE_ARRAY_OR_OBJECT:
      return "a bracket is not closed";
    case simdjson::TRAILING_CONTENT:
      return "text after the end";
    case simdjson::TAPE_ERROR:
      return "a comma, colon or bracket is missing or too many";
    default:
      return simdjson::error_message(code);
  }
}

// The offset of the control character in a string, or of the quote that opens a string without end; simdjson's first
// stage does not say where it stopped.
std::size_t broken_string(std::string_view text) {
  std::size_t i = 0;
  for (; i < text.size(); ++i) {
    if (text[i] != '"') continue;
    const std::size_t opening = i;
    for (++i; i < text.size() && text[i] != '"'; ++i) {
      if (static_cast<unsigned char>(text[i]) < 32) return i;
      if (text[i] == '\\') ++i;
    }
    if (i >= text.size()) return opening;
  }
  return text.size();
}

// The offset of what follows the first balanced value; the text's size if nothing does.
std::size_t behind_value(std::string_view text) {
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\') ++i;
      }
    }
    if (i >= text.size()) break;
    if (text[i] == '[' || text[i] == '{') ++depth;
    if ((text[i] == ']' || text[i] == '}') && --depth == 0) {
      for (++i; i < text.size() && is_space(text[i]);) ++i;
      return i;
    }
  }
  return text.size();
}

class JsonReader {
 public:
  JsonReader(std::string_view text, const DocumentBuilder& builder)
      : builder_(builder), padded_(text), counted_(padded_.data()) {}

  Node read() {
    simdjson::error_code code = parser_.iterate(padded_).get(document_);
    if (code == simdjson::UNCLOSED_STRING || code == simdjson::UNESCAPED_CHARS) {
      throw refuse(code, padded_.data() + broken_string(view()));
    }
    std::string_view token;
    if (!code) code = document_.raw_json_token().get(token);
    if (code) throw refuse(code, end());
    Node root;
    builder_.place(root, position(token.data()));
    if (token[0] == '{') {
      read_map(checked(document_.get_object()), root, 1);
    } else if (token[0] == '[') {
      read_list(checked(document_.get_array()), root, 1);
    } else if (token[0] == '"') {
      DocumentBuilder::make_scalar(root, std::string(checked(document_.get_string())), true);
    } else {
      read_word(whole_token(token), root);
      return root;
    }
    const char* rest = nullptr;
    if (!document_.current_location().get(rest)) throw refuse(simdjson::TRAILING_CONTENT, rest);
    return root;
  }

 private:
  std::string_view view() const { return {padded_.data(), padded_.size()}; }
  const char* end() const { return padded_.data() + padded_.size(); }

  // A root scalar's token is all text from it on: what follows the word is trailing text.
  std::string_view whole_token(std::string_view token) const {
    std::size_t size = 0;
    const std::string_view text = view().substr(static_cast<std::size_t>(token.data() - padded_.data()));
    while (size < text.size() && !is_space(text[size])) ++size;
    std::size_t rest = size;
    while (rest < text.size() && is_space(text[rest])) ++rest;
    if (rest < text.size()) throw refuse(simdjson::TRAILING_CONTENT, text.data() + rest);
    return text.substr(0, size);
  }

  Error refuse(simdjson::error_code code, const char* at) const {
    return builder_.error(cat("not valid JSON: ", problem_text(code)), absolute(at));
  }

  template <class Value>
  Value checked(simdjson::simdjson_result<Value>&& result) {
    Value value;
    if (const auto code = std::move(result).get(value)) throw failure(code);
    return value;
  }

  Error failure(simdjson::error_code code) {
    if (code == simdjson::STRING_ERROR) return builder_.error(cat("not valid JSON: ", problem_text(code)), here_);
    const char* at = nullptr;
    if (code == simdjson::INCOMPLETE_ARRAY_OR_OBJECT) {
      // simdjson only sees that the text does not end in the root's bracket.
      const std::size_t rest = behind_value(view());
      return refuse(rest < padded_.size() ? simdjson::TRAILING_CONTENT : code, padded_.data() + rest);
    }
    if (document_.current_location().get(at)) at = end();
    return refuse(code, at);
  }

  DocumentBuilder::Position absolute(const char* at) const {
    const auto offset = static_cast<std::size_t>(at - padded_.data());
    return DocumentBuilder::position_of(view(), std::min(offset, padded_.size()));
  }

  // Positions are asked for in order, so that counting lines and columns costs one pass over the text.
  DocumentBuilder::Position position(const char* at) {
    for (; counted_ < at; ++counted_) {
      if (*counted_ == '\n') {
        ++here_.line;
        here_.column = 1;
      } else {
        here_.column += (static_cast<unsigned char>(*counted_) & 0xC0) != 0x80;
      }
    }
    return here_;
  }

  void read_word(std::string_view word, Node& node) {
    if (word == "null") return;
    if (word != "true" && word != "false" && !DocumentBuilder::is_json_number(word)) {
      constexpr std::size_t kMost = 40;
      const std::string shown(word.substr(0, kMost));
      throw builder_.error(cat("not valid JSON: ", to_json(Node::text(shown)), " is not a value"), here_);
    }
    DocumentBuilder::make_scalar(node, std::string(word), false);
  }

  void read_value(ondemand::value value, Node& node, int depth) {
    std::string_view token = value.raw_json_token();
    const auto at = position(token.data());
    builder_.place(node, at);
    if (token[0] == '{' || token[0] == '[') {
      if (depth > DocumentBuilder::kDeepest) throw builder_.too_deep(at);
      if (token[0] == '{') {
        read_map(checked(value.get_object()), node, depth);
      } else {
        read_list(checked(value.get_array()), node, depth);
      }
    } else if (token[0] == '"') {
      DocumentBuilder::make_scalar(node, std::string(checked(value.get_string())), true);
    } else {
      while (!token.empty() && is_space(token.back())) token.remove_suffix(1);
      read_word(token, node);
    }
  }

  void read_map(ondemand::object object, Node& node, int depth) {
    DocumentBuilder::make_map(node);
    for (auto next : object) {
      ondemand::field field = checked(std::move(next));
      const auto at = position(field.key().raw() - 1);  // raw() is behind the quote
      const std::string_view key = checked(field.unescaped_key());
      read_value(field.value(), builder_.add_entry(node, std::string(key), at), depth + 1);
    }
  }

  void read_list(ondemand::array array, Node& node, int depth) {
    DocumentBuilder::make_list(node);
    // simdjson's results are read from rvalues only. NOLINTNEXTLINE(performance-move-const-arg)
    for (auto next : array) read_value(checked(std::move(next)), DocumentBuilder::add_item(node), depth + 1);
  }

  const DocumentBuilder& builder_;
  simdjson::padded_string padded_;
  ondemand::parser parser_;
  ondemand::document document_;
  const char* counted_;
  DocumentBuilder::Position here_{1, 1};
};

}  // namespace

bool DocumentBuilder::is_json_number(std::string_view text) {
  std::size_t i = 0;
  const auto digits = [&] {
    const std::size_t first = i;
    while (i < text.size() && text[i] >= '0' && text[i] <= '9') ++i;
    return i - first;
  };
  if (i < text.size() && text[i] == '-') ++i;
  const bool zero = i < text.size() && text[i] == '0';
  if (const std::size_t whole = digits(); whole == 0 || (zero && whole > 1)) return false;
  if (i < text.size() && text[i] == '.') {
    ++i;
    if (digits() == 0) return false;
  }
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (digits() == 0) return false;
  }
  return i == text.size();
}

Node parse_json(std::string_view text, const std::string& file) {
  const DocumentBuilder builder(file);
  builder.require_text(text, false);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  return JsonReader(text, builder).read();
}

Node read_json(const std::string& path) { return parse_json(read_file(path), path); }

}  // namespace solera
