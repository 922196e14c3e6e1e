#include "solera/recipe/expression.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <optional>
#include <string_view>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::recipe {

struct Expression::Term {
  enum class Kind { kNumber, kName, kCall } kind = Kind::kNumber;
  std::string word;                // of a call: an operator, a function, or "compare"
  std::vector<std::string> signs;  // of "compare": one fewer than arguments
  double number = 0;
  std::vector<std::string> parts;
  std::vector<Term> arguments;
  int column = 0;
};

namespace {

using Term = Expression::Term;

const std::vector<std::string> kFunctions = {"mean", "sd", "se", "min", "max", "count", "all", "abs", "sqrt"};
const std::vector<std::string> kComparisons = {"<=", ">=", "==", "!=", "<", ">"};
constexpr int kDeepest = 200;

[[noreturn]] void fail(const std::string& text, int column, const std::string& what, const std::string& hint = "") {
  throw input_error(what, cat("column ", column, " of \"", text, "\""), hint);
}

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Term parse() {
    Term term = disjunction();
    if (skip_space(); at_ < text_.size()) fail(text_, column(), cat("expected an operator, not ", seen()));
    return term;
  }

 private:
  int column() const { return static_cast<int>(at_) + 1; }

  std::string seen() const { return at_ < text_.size() ? cat('"', text_[at_], '"') : "the end"; }

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
    if (++depth_ > kDeepest) fail(text_, column(), cat("nested deeper than ", kDeepest));
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
    if (++depth_ > kDeepest) fail(text_, column(), cat("nested deeper than ", kDeepest));
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
    Term first = sum();
    Term chain{.kind = Term::Kind::kCall, .word = "compare"};
    for (;;) {
      const auto sign = std::find_if(kComparisons.begin(), kComparisons.end(), [&](const auto& s) { return take(s); });
      if (sign == kComparisons.end()) break;
      if (chain.signs.empty()) {
        chain.column = column() - static_cast<int>(sign->size());
        chain.arguments.push_back(std::move(first));
      }
      chain.signs.push_back(*sign);
      chain.arguments.push_back(sum());
    }
    return chain.signs.empty() ? std::move(first) : std::move(chain);
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
    if (++depth_ > kDeepest) fail(text_, column(), cat("nested deeper than ", kDeepest));
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
      if (!take(")")) fail(text_, column(), cat("expected \")\", not ", seen()));
      return term;
    }
    if (at_ < text_.size() && (is_digit(text_[at_]) || text_[at_] == '.')) return number();
    if (at_ < text_.size() && is_letter(text_[at_])) return name_or_call();
    fail(text_, here, cat("expected a value, not ", seen()));
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
    if (!value || !std::isfinite(*value)) fail(text_, here, cat('"', word, "\" is not a number"));
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
      if (end == std::string::npos) fail(text_, column(), "a quote is not closed");
      std::string quoted = text_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
      return quoted;
    }
    if (at_ < text_.size() && text_[at_] == '*') {
      ++at_;
      return "*";
    }
    std::string plain = word();
    if (plain.empty()) fail(text_, column(), cat("expected a name after \".\", not ", seen()));
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
      fail(text_, name.column, cat("unknown function \"", function, '"'), did_you_mean(function, kFunctions));
    std::vector<Term> values;
    do values.push_back(disjunction());
    while (take(","));
    if (!take(")")) fail(text_, column(), cat("expected \",\" or \")\", not ", seen()));
    if (values.size() > 1 && function != "min" && function != "max")
      fail(text_, name.column, cat(function, "() takes 1 argument, not ", values.size()));
    return call(function, name.column, std::move(values));
  }

  const std::string& text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

Value single(double number, double error = 0) { return {.numbers = {number}, .error = error}; }
Value truth(bool holds) { return {.numbers = {holds ? 1.0 : 0.0}, .is_truth = true}; }

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// The sample standard deviation, of at least two values.
double deviation_of(const std::vector<double>& values) {
  const double mean = mean_of(values);
  double squares = 0;
  for (double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

double apply(char sign, double a, double b) {
  return sign == '+' ? a + b : sign == '-' ? a - b : sign == '*' ? a * b : a / b;
}

double apply_error(char sign, const Value& a, const Value& b) {
  const double x = a.numbers[0], y = b.numbers[0];
  if (sign == '+' || sign == '-') return std::hypot(a.error, b.error);
  if (sign == '*') return std::hypot(a.error * y, b.error * x);
  return std::hypot(a.error / y, b.error * x / (y * y));
}

bool compare(const std::string& sign, double a, double b) {
  if (sign == "<") return a < b;
  if (sign == "<=") return a <= b;
  if (sign == ">") return a > b;
  if (sign == ">=") return a >= b;
  return (a == b) == (sign == "==");
}

class Evaluator {
 public:
  Evaluator(const std::string& text, const Expression::Lookup& lookup, std::vector<Comparison>& comparisons)
      : text_(text), lookup_(lookup), comparisons_(comparisons) {}

  Value of(const Term& term) {
    if (term.kind == Term::Kind::kNumber) return single(term.number);
    if (term.kind == Term::Kind::kName) return named(term);
    std::vector<Value> values;
    for (const Term& argument : term.arguments) values.push_back(of(argument));
    if (term.word == "and") return truth(both(term, values) == 2);
    if (term.word == "or") return truth(both(term, values) > 0);
    if (term.word == "not") return truth(both(term, values) == 0);
    if (term.word == "compare") return comparison(term, values);
    if (!is_letter(term.word[0])) return arithmetic(term, values[0], values[1]);
    if (term.word == "min" || term.word == "max") return extreme(term, values);
    return function(term, values[0]);
  }

 private:
  Value named(const Term& term) {
    try {
      return lookup_({term.parts, term.column});
    } catch (const Error& error) {
      fail(text_, term.column, error.problem(), error.hint());
    }
  }

  double both(const Term& term, const std::vector<Value>& values) {
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (!values[i].is_truth || values[i].is_list)
        fail(text_, term.arguments[i].column, cat('"', term.word, "\" needs a truth value, not a ", kind(values[i])),
             values[i].is_truth ? "use all()" : "");
      sum += values[i].numbers[0];
    }
    return sum;
  }

  static std::string kind(const Value& value) {
    if (!value.is_list) return value.is_truth ? "truth value" : "number";
    return cat("list of ", value.numbers.size(), value.is_truth ? " truth values" : " numbers");
  }

  void need_numbers(const Term& term, const Value& value) const {
    if (value.is_truth) fail(text_, term.column, cat('"', term.word, "\" needs numbers, not a ", kind(value)));
  }

  // How many entries an operator on both has; 0 if neither is a list.
  std::size_t entries(const Term& term, const std::string& sign, const Value& a, const Value& b) const {
    if (a.is_list && b.is_list && a.numbers.size() != b.numbers.size())
      fail(text_, term.column,
           cat("lists of ", a.numbers.size(), " and ", b.numbers.size(), " values do not fit \"", sign, '"'));
    return a.is_list ? a.numbers.size() : b.is_list ? b.numbers.size() : 0;
  }

  static double entry(const Value& value, std::size_t i) { return value.numbers[value.is_list ? i : 0]; }

  Value arithmetic(const Term& term, const Value& a, const Value& b) {
    need_numbers(term, a);
    need_numbers(term, b);
    Value result{.is_list = a.is_list || b.is_list};
    const std::size_t n = result.is_list ? entries(term, term.word, a, b) : 1;
    for (std::size_t i = 0; i < n; ++i) {
      if (term.word == "/" && entry(b, i) == 0) fail(text_, term.column, "division by zero");
      result.numbers.push_back(apply(term.word[0], entry(a, i), entry(b, i)));
    }
    if (!result.is_list) result.error = apply_error(term.word[0], a, b);
    return result;
  }

  Value comparison(const Term& term, const std::vector<Value>& values) {
    Value result = truth(true);
    for (std::size_t k = 0; k + 1 < values.size(); ++k) {
      const Value &a = values[k], &b = values[k + 1];
      const std::string& sign = term.signs[k];
      if (a.is_truth != b.is_truth)
        fail(text_, term.column, cat('"', sign, "\" between a ", kind(a), " and a ", kind(b)));
      Value step{.is_list = a.is_list || b.is_list, .is_truth = true};
      const std::size_t n = step.is_list ? entries(term, sign, a, b) : 1;
      for (std::size_t i = 0; i < n; ++i) step.numbers.push_back(compare(sign, entry(a, i), entry(b, i)));
      if (!step.is_list)
        comparisons_.push_back({a.numbers[0], a.error, sign, b.numbers[0], b.error, step.numbers[0] == 1});
      Value joined{.is_list = result.is_list || step.is_list, .is_truth = true};
      const std::size_t m = joined.is_list ? entries(term, sign, result, step) : 1;
      for (std::size_t i = 0; i < m; ++i) joined.numbers.push_back(entry(result, i) * entry(step, i));
      result = std::move(joined);
    }
    return result;
  }

  Value extreme(const Term& term, const std::vector<Value>& values) {
    std::vector<double> pool;
    const Value* only = nullptr;
    for (const Value& value : values) {
      need_numbers(term, value);
      pool.insert(pool.end(), value.numbers.begin(), value.numbers.end());
    }
    if (pool.empty()) fail(text_, term.column, cat(term.word, "() of no values"));
    const double found =
        term.word == "min" ? *std::min_element(pool.begin(), pool.end()) : *std::max_element(pool.begin(), pool.end());
    for (const Value& value : values)
      if (!value.is_list && value.numbers[0] == found) only = &value;
    return single(found, only ? only->error : 0);
  }

  Value function(const Term& term, const Value& value) {
    const std::vector<double>& numbers = value.numbers;
    const std::string& word = term.word;
    if (word == "all") {
      if (!value.is_truth) fail(text_, term.column, cat("\"all\" needs truth values, not a ", kind(value)));
      return truth(std::all_of(numbers.begin(), numbers.end(), [](double x) { return x == 1; }));
    }
    if (word == "abs" || word == "sqrt") {
      need_numbers(term, value);
      Value result = value;
      for (double& x : result.numbers) {
        if (word == "sqrt" && x < 0) fail(text_, term.column, cat("square root of ", exact_text(x)));
        x = word == "abs" ? std::abs(x) : std::sqrt(x);
      }
      if (word == "sqrt" && value.error > 0)
        result.error = value.error / (2 * std::max(result.numbers[0], std::numeric_limits<double>::min()));
      return result;
    }
    if (!value.is_list) fail(text_, term.column, cat('"', word, "\" needs a list, not a ", kind(value)));
    if (word == "count") return single(static_cast<double>(numbers.size()));
    const std::size_t least = word == "mean" ? 1 : 2;
    if (numbers.size() < least)
      fail(text_, term.column, cat(word, "() of ", numbers.size(), numbers.size() == 1 ? " value" : " values"));
    const double error =
        numbers.size() > 1 ? deviation_of(numbers) / std::sqrt(static_cast<double>(numbers.size())) : 0;
    if (word == "mean") return single(mean_of(numbers), error);
    return single(word == "sd" ? deviation_of(numbers) : error);
  }

  const std::string& text_;
  const Expression::Lookup& lookup_;
  std::vector<Comparison>& comparisons_;
};

void collect(const Term& term, std::vector<Name>& names) {
  if (term.kind == Term::Kind::kName) names.push_back({term.parts, term.column});
  for (const Term& argument : term.arguments) collect(argument, names);
}

}  // namespace

Expression::Expression(std::string text)
    : text_(std::move(text)), root_(std::make_unique<Term>(Parser(text_).parse())) {}
Expression::~Expression() = default;
Expression::Expression(Expression&&) noexcept = default;
Expression& Expression::operator=(Expression&&) noexcept = default;

std::vector<Name> Expression::names() const {
  std::vector<Name> names;
  collect(*root_, names);
  return names;
}

Value Expression::value(const Lookup& lookup) const {
  std::vector<Comparison> comparisons;
  return Evaluator(text_, lookup, comparisons).of(*root_);
}

Verdict Expression::judge(const Lookup& lookup) const {
  Verdict verdict;
  const Value value = Evaluator(text_, lookup, verdict.comparisons).of(*root_);
  if (!value.is_truth) fail(text_, root_->column, "a claim is a comparison, this is a number", "say what it should be");
  if (value.is_list)
    fail(text_, root_->column, cat("a claim is one comparison, this is a list of ", value.numbers.size()), "use all()");
  verdict.holds = value.numbers[0] == 1;
  return verdict;
}

}  // namespace solera::recipe
