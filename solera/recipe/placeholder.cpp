#include "solera/recipe/placeholder.h"

#include <utility>

#include "solera/base/text.h"

namespace solera::recipe {

namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n'; }

// Which quotes a shell would be in after the characters so far.
class Quotes {
 public:
  char now() const { return in_comment_ ? 0 : quote_; }

  void see(char c) {
    const char before = last_;
    last_ = c;
    if (in_comment_) {
      in_comment_ = c != '\n';
    } else if (escaped_) {
      escaped_ = false;
    } else if (c == '\\' && quote_ != '\'') {
      escaped_ = true;
    } else if (quote_ != 0) {
      if (c == quote_) quote_ = 0;
    } else if (c == '\'' || c == '"') {
      quote_ = c;
    } else if (c == '#' && is_space(before)) {
      in_comment_ = true;
    }
  }

 private:
  char quote_ = 0, last_ = ' ';
  bool escaped_ = false, in_comment_ = false;
};

}  // namespace

std::vector<Piece> pieces_of(const std::string& text) {
  std::vector<Piece> pieces;
  std::string plain;
  Quotes quotes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool doubled = (text[i] == '{' || text[i] == '}') && i + 1 < text.size() && text[i + 1] == text[i];
    const std::size_t end = text[i] == '{' && !doubled ? text.find('}', i) : std::string::npos;
    if (end == std::string::npos) {
      plain += text[i];
      quotes.see(text[i]);
      i += doubled;
      continue;
    }
    if (!plain.empty()) pieces.push_back({.text = std::exchange(plain, "")});
    pieces.push_back({.is_name = true, .text = text.substr(i + 1, end - i - 1), .quote = quotes.now()});
    quotes.see('x');  // a value is a part of a word
    i = end;
  }
  if (!plain.empty()) pieces.push_back({.text = plain});
  return pieces;
}

std::vector<std::string> placeholders(const std::string& text) {
  std::vector<std::string> names;
  for (Piece& piece : pieces_of(text))
    if (piece.is_name) names.push_back(std::move(piece.text));
  return names;
}

std::optional<Reference> reference_of(const std::string& name) {
  const std::vector<std::string> parts = split(name, '.');
  if (parts.size() == 2) return Reference{parts[0], parts[1], false};
  if (parts.size() == 3 && parts[1] == "*") return Reference{parts[0], parts[2], true};
  return std::nullopt;
}

}  // namespace solera::recipe
