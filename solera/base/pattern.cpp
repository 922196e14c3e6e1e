#include "solera/base/pattern.h"

#include <algorithm>
#include <optional>
#include <regex>
#include <utility>

#include "solera/base/error.h"

namespace solera {
namespace {

constexpr std::string_view kRegexPrefix = "re:";
// std::regex recurses for each character of the name; names from a hostile file must not use up the stack.
constexpr std::size_t kLongestForRegex = 4096;
// std::regex adds up the digits of a group's or a count's number without looking for overflow.
constexpr std::size_t kLongestNumber = 5;

// Bytes of the UTF-8 character at `i`; 1 where there is none.
std::size_t width_at(std::string_view text, std::size_t i) {
  const auto lead = static_cast<unsigned char>(text[i]);
  const std::size_t width = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF8 ? 4 : 1;
  if (i + width > text.size()) return 1;
  for (std::size_t k = 1; k < width; ++k) {
    if ((static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) return 1;
  }
  return width;
}

// The bytes of a character as a number; in the order of code points, which is all that sets need.
std::uint32_t value_of(std::string_view character) {
  std::uint32_t value = 0;
  for (const char c : character) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

struct Token {
  enum class Kind { kLiteral, kAny, kRun, kSet };
  Kind kind = Kind::kLiteral;
  std::uint32_t literal = 0;
  bool negated = false;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> ranges;

  bool accepts(std::uint32_t value) const {
    if (kind == Kind::kLiteral) return value == literal;
    if (kind == Kind::kAny) return true;
    const bool inside =
        std::any_of(ranges.begin(), ranges.end(), [&](auto& r) { return r.first <= value && value <= r.second; });
    return inside != negated;
  }
};

class GlobParser {
 public:
  explicit GlobParser(std::string_view text) : text_(text) {}

  std::vector<Token> parse() {
    std::vector<Token> tokens;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      Token token;
      if (c == '*') {
        ++at_;
        token.kind = Token::Kind::kRun;
        if (!tokens.empty() && tokens.back().kind == Token::Kind::kRun) continue;
      } else if (c == '?') {
        ++at_;
        token.kind = Token::Kind::kAny;
      } else if (c == '[') {
        token = set();
      } else {
        token.literal = character();
      }
      tokens.push_back(std::move(token));
    }
    return tokens;
  }

 private:
  Error refuse(std::string_view why, std::string hint) const {
    return usage_error(cat("pattern '", text_, "' ", why), "", std::move(hint));
  }

  std::uint32_t character() {
    if (text_[at_] == '\\' && ++at_ == text_.size()) throw refuse("ends in a backslash", "write \\\\ for a backslash");
    const std::size_t width = width_at(text_, at_);
    at_ += width;
    return value_of(text_.substr(at_ - width, width));
  }

  Token set() {
    Token token;
    token.kind = Token::Kind::kSet;
    ++at_;
    if (at_ < text_.size() && text_[at_] == '!') {
      token.negated = true;
      ++at_;
    }
    for (bool first = true;; first = false) {
      if (at_ >= text_.size()) throw refuse("has a set without ']'", "write \\[ for the character itself");
      if (text_[at_] == ']' && !first) break;
      const std::size_t start = at_;
      const std::uint32_t low = character();
      std::uint32_t high = low;
      if (at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']') {
        ++at_;
        high = character();
      }
      if (high < low) throw refuse(cat("has the range '", text_.substr(start, at_ - start), "' backwards"), "");
      token.ranges.emplace_back(low, high);
    }
    ++at_;
    return token;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

// Only the last run needs to be lengthened: what earlier runs matched stays matched. At most |tokens| x |name| steps.
bool glob_matches(const std::vector<Token>& tokens, std::string_view name) {
  constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  std::size_t t = 0, i = 0, run = kNone, run_end = 0;
  while (i < name.size()) {
    if (t < tokens.size() && tokens[t].kind == Token::Kind::kRun) {
      run = t++;
      run_end = i;
      continue;
    }
    const std::size_t width = width_at(name, i);
    if (t < tokens.size() && tokens[t].accepts(value_of(name.substr(i, width)))) {
      ++t;
      i += width;
    } else if (run != kNone) {
      run_end += width_at(name, run_end);
      i = run_end;
      t = run + 1;
    } else {
      return false;
    }
  }
  while (t < tokens.size() && tokens[t].kind == Token::Kind::kRun) ++t;
  return t == tokens.size();
}

// The standard library's own texts differ between versions.
const char* regex_problem(std::regex_constants::error_type code) {
  using namespace std::regex_constants;
  // libstdc++ reports a star at the start as a parenthesis.
  if (code == error_paren) return "an unbalanced parenthesis or nothing to repeat";
  if (code == error_brack) return "unbalanced brackets";
  if (code == error_brace || code == error_badbrace) return "a bad repeat count in braces";
  if (code == error_badrepeat) return "nothing to repeat";
  if (code == error_escape) return "a bad escape";
  if (code == error_backref) return "a reference to a group that is not there";
  if (code == error_range) return "a range backwards";
  if (code == error_ctype || code == error_collate) return "an unknown character class";
  return "too complex";
}

bool has_long_number(std::string_view expression) {
  for (std::size_t i = 0; i < expression.size(); ++i) {
    const char c = expression[i];
    if (c != '\\' && c != '{' && c != ',') continue;
    const std::size_t end = std::min(expression.find_first_not_of("0123456789", i + 1), expression.size());
    if (end - i - 1 > kLongestNumber) return true;
    if (c == '\\') i = std::max(i + 1, end - 1);  // what it quotes begins nothing
  }
  return false;
}

}  // namespace

struct Pattern::Compiled {
  std::vector<Token> glob;
  std::optional<std::regex> regex;
};

Pattern::Pattern(std::string text) : text_(std::move(text)) {
  auto compiled = std::make_shared<Compiled>();
  const std::string_view view = text_;
  if (view.starts_with(kRegexPrefix)) {
    const std::string_view body = view.substr(kRegexPrefix.size());
    if (has_long_number(body))
      throw usage_error(
          cat("pattern '", text_, "' has a group or a repeat count of more than ", kLongestNumber, " digits"));
    try {
      compiled->regex.emplace(body.begin(), body.end(), std::regex::ECMAScript | std::regex::optimize);
    } catch (const std::regex_error& error) {
      throw usage_error(cat("pattern '", text_, "' is not a regular expression: ", regex_problem(error.code())));
    }
  } else {
    compiled->glob = GlobParser(view).parse();
  }
  compiled_ = std::move(compiled);
}

bool Pattern::matches(std::string_view name) const {
  if (!compiled_->regex) return glob_matches(compiled_->glob, name);
  if (name.size() > kLongestForRegex) {
    throw input_error(cat("a name of ", name.size(), " bytes is too long for the regular expression '", text_, "'"), "",
                      cat("names of up to ", kLongestForRegex, " bytes can be matched; a glob has no limit"));
  }
  try {
    return std::regex_search(name.begin(), name.end(), *compiled_->regex);
  } catch (const std::regex_error& error) {
    throw usage_error(cat("pattern '", text_, "' cannot be matched: ", regex_problem(error.code())));
  }
}

bool selected(std::string_view name, std::span<const Pattern> include, std::span<const Pattern> exclude) {
  const auto matches = [&](const Pattern& pattern) { return pattern.matches(name); };
  return (include.empty() || std::any_of(include.begin(), include.end(), matches)) &&
         std::none_of(exclude.begin(), exclude.end(), matches);
}

}  // namespace solera
