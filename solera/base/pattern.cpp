#include "solera/base/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <utility>

#include "solera/base/error.h"

namespace solera {
namespace {

constexpr std::string_view kRegexPrefix = "re:";
// Steps of one match. An expression such as (a*)*b takes exponentially many; one that a person means takes thousands.
constexpr std::uint32_t kMostSteps = 1'000'000;

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

// A regular expression in Perl's and Python's syntax, compiled; matching needs no stack and has a limit.
class Regex {
 public:
  explicit Regex(std::string_view expression) : text_(expression) {
    int error = 0;
    PCRE2_SIZE at = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF, &error, &at, nullptr));
    if (!code_)
      throw usage_error(
          cat("pattern 're:", text_, "' is not a regular expression: ", message(error), " (byte ", at, ")"));
    limits_.reset(pcre2_match_context_create(nullptr));
    pcre2_set_match_limit(limits_.get(), kMostSteps);
  }

  bool found_in(std::string_view text) const {
    const std::unique_ptr<pcre2_match_data, Free> match(pcre2_match_data_create(1, nullptr));
    const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0,
                                  match.get(), limits_.get());
    if (found < 0 && found != PCRE2_ERROR_NOMATCH)
      throw usage_error(
          cat("pattern 're:", text_, "' cannot be matched to '", text.substr(0, 80), "': ", message(found)), "",
          "avoid repetitions within repetitions");
    return found >= 0;  // 0: matched, with more groups than asked for
  }

 private:
  struct Free {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
    void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
    void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  };

  static std::string message(int error) {
    std::array<PCRE2_UCHAR, 256> text{};
    pcre2_get_error_message(error, text.data(), text.size());
    return reinterpret_cast<const char*>(text.data());
  }

  std::string text_;
  std::unique_ptr<pcre2_code, Free> code_;
  std::unique_ptr<pcre2_match_context, Free> limits_;
};

}  // namespace

struct Pattern::Compiled {
  std::vector<Token> glob;
  std::unique_ptr<const Regex> regex;
};

Pattern::Pattern(std::string text) : text_(std::move(text)) {
  auto compiled = std::make_shared<Compiled>();
  const std::string_view view = text_;
  if (view.starts_with(kRegexPrefix))
    compiled->regex = std::make_unique<Regex>(view.substr(kRegexPrefix.size()));
  else
    compiled->glob = GlobParser(view).parse();
  compiled_ = std::move(compiled);
}

bool Pattern::matches(std::string_view name) const {
  if (!compiled_->regex) return glob_matches(compiled_->glob, name);
  return compiled_->regex->found_in(name);
}

bool selected(std::string_view name, std::span<const Pattern> include, std::span<const Pattern> exclude) {
  const auto matches = [&](const Pattern& pattern) { return pattern.matches(name); };
  return (include.empty() || std::any_of(include.begin(), include.end(), matches)) &&
         std::none_of(exclude.begin(), exclude.end(), matches);
}

}  // namespace solera
