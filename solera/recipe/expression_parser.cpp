#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/recipe/expression_term.h"

namespace solera::recipe {

namespace {

using Term = Expression::Term;

const std::vector<std::string> kFunctions = {"mean", "sd", "se", "min", "max", "count", "all", "abs", "sqrt"};
const std::vector<std::string> kComparisons = {"<=", ">=", "==", "!=", "<", ">"};
constexpr int kDeepest = 200;
constexpr std::size_t kLongest = 1000;  // bytes: "1+1+1+..." is as deep as it is long

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Term parse() {
    Term term = disjunction();
    if (skip_space(); at_ < text_.size()) fail_at(text_, column(), cat("expected an operator, not ", seen()));
    return term;
  }

 private:
  int column() const { return static_cast<int>(at_) + 1; }

  std::string seen() const {
    if (at_ >= text_.size()) return "the end";
    std::size_t end = at_ + 1;
    while (end < text_.size() && continues_character(text_[end])) ++end;
    return cat('"', text_.substr(at_, end - at_), '"');
  }

  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }

  bool take(std::string_view sign) {
    skip_space();
    if (text_.compare(at_, sign.size(), sign) != 0) return false;
    at_ += sign.size();
    return true;
  }

  bool take_word(std::string_view word) {
    skip_space();
    const std::size_t end = at_ + word.size();
    if (text_.compare(at_, word.size(), word) != 0) return false;
    if (end < text_.size() && (is_letter(text_[end]) || is_digit(text_[end]) || text_[end] == '.')) return false;
    at_ = end;
    return true;
  }

  static Term call(std::string word, int column, std::vector<Term> arguments) {
    return {.kind = Term::Kind::kCall, .word = std::move(word), .arguments = std::move(arguments), .column = column};
  }

  static Term pair(std::string word, int column, Term left, Term right) {
    std::vector<Term> arguments;
    arguments.push_back(std::move(left));
    arguments.push_back(std::move(right));
    return call(std::move(word), column, std::move(arguments));
  }

  Term disjunction() {
    if (++depth_ > kDeepest) fail_at(text_, column(), cat("nested deeper than ", kDeepest));
    Term left = conjunction();
    while (take_word("or")) {
      const int here = column() - 2;
      left = pair("or", here, std::move(left), conjunction());
    }
    --depth_;
    return left;
  }

  Term conjunction() {
    Term left = negation();
    while (take_word("and")) {
      const int here = column() - 3;
      left = pair("and", here, std::move(left), negation());
    }
    return left;
  }

  Term negation() {
    if (++depth_ > kDeepest) fail_at(text_, column(), cat("nested deeper than ", kDeepest));
    std::optional<Term> term;
    if (take_word("not")) {
      const int here = column() - 3;
      std::vector<Term> arguments;
      arguments.push_back(negation());
      term = call("not", here, std::move(arguments));
    }
    --depth_;
    return term ? std::move(*term) : comparison();
  }

  Term comparison() {
    Term chain{.kind = Term::Kind::kCall, .word = "compare"};
    chain.arguments.push_back(sum());
    for (;;) {
      const auto sign = std::find_if(kComparisons.begin(), kComparisons.end(), [&](const auto& s) { return take(s); });
      if (sign == kComparisons.end()) break;
      if (chain.signs.empty()) chain.column = column() - static_cast<int>(sign->size());
      chain.signs.push_back(*sign);
      chain.arguments.push_back(sum());
    }
    if (!chain.signs.empty()) return chain;
    Term only = std::move(chain.arguments.front());
    return only;
  }

  Term sum() {
    Term left = product();
    for (;;) {
      const bool plus = take("+");
      if (!plus && !take("-")) return left;
      const int here = column() - 1;
      left = pair(plus ? "+" : "-", here, std::move(left), product());
    }
  }

  Term product() {
    Term left = sign();
    for (;;) {
      const bool times = take("*");
      if (!times && !take("/")) return left;
      const int here = column() - 1;
      left = pair(times ? "*" : "/", here, std::move(left), sign());
    }
  }

  Term sign() {
    if (++depth_ > kDeepest) fail_at(text_, column(), cat("nested deeper than ", kDeepest));
    std::optional<Term> term;
    if (take("-")) {
      const int here = column() - 1;
      term = pair("-", here, Term{.number = 0, .column = here}, sign());
    }
    --depth_;
    return term ? std::move(*term) : atom();
  }

  Term atom() {
    skip_space();
    const int here = column();
    if (take("(")) {
      Term term = disjunction();
      if (!take(")")) fail_at(text_, column(), cat("expected \")\", not ", seen()));
      return term;
    }
    if (at_ < text_.size() && (is_digit(text_[at_]) || text_[at_] == '.')) return number();
    if (at_ < text_.size() && is_letter(text_[at_])) return name_or_call();
    fail_at(text_, here, cat("expected a value, not ", seen()));
  }

  Term number() {
    const int here = column();
    std::size_t end = at_;
    while (end < text_.size() && (is_digit(text_[end]) || text_[end] == '.')) ++end;
    if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      ++end;
      if (end < text_.size() && (text_[end] == '+' || text_[end] == '-')) ++end;
      while (end < text_.size() && is_digit(text_[end])) ++end;
    }
    while (end < text_.size() && is_letter(text_[end])) ++end;
    const std::string word = text_.substr(at_, end - at_);
    const std::optional<double> value = parse_double(word);
    if (!value || !std::isfinite(*value)) fail_at(text_, here, cat('"', word, "\" is not a number"));
    at_ = end;
    return {.number = *value, .column = here};
  }

  std::string word() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]))) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  std::string part() {
    if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) {
      const std::size_t end = text_.find(text_[at_], at_ + 1);
      if (end == std::string::npos) fail_at(text_, column(), "a quote is not closed");
      std::string quoted = text_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
      return quoted;
    }
    if (at_ < text_.size() && text_[at_] == '*') {
      ++at_;
      return "*";
    }
    std::string plain = word();
    if (plain.empty()) fail_at(text_, column(), cat("expected a name after \".\", not ", seen()));
    return plain;
  }

  Term name_or_call() {
    Term term{.kind = Term::Kind::kName, .column = column()};
    term.parts.push_back(word());
    if (take("(")) return arguments(std::move(term));
    while (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      term.parts.push_back(part());
    }
    return term;
  }

  Term arguments(Term name) {
    const std::string& function = name.parts[0];
    if (std::find(kFunctions.begin(), kFunctions.end(), function) == kFunctions.end())
      fail_at(text_, name.column, cat("unknown function \"", function, '"'), did_you_mean(function, kFunctions));
    std::vector<Term> values;
    do values.push_back(disjunction());
    while (take(","));
    if (!take(")")) fail_at(text_, column(), cat("expected \",\" or \")\", not ", seen()));
    if (values.size() > 1 && function != "min" && function != "max")
      fail_at(text_, name.column, cat(function, "() takes 1 argument, not ", values.size()));
    return call(function, name.column, std::move(values));
  }

  const std::string& text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Term parse_term(const std::string& text) {
  if (text.size() > kLongest)
    throw input_error(cat("an expression of ", text.size(), " bytes, more than ", kLongest), "",
                      "name its parts in steps");
  return Parser(text).parse();
}

void fail_at(const std::string& text, int at, const std::string& what, const std::string& hint) {
  const auto end = text.begin() + std::min(at - 1, static_cast<int>(text.size()));
  const auto column = 1 + (end - text.begin()) - std::count_if(text.begin(), end, continues_character);
  throw input_error(what, cat("column ", column, " of \"", text, "\""), hint);
}

}  // namespace solera::recipe
