#include "solera/recipe/expression.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <string_view>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/recipe/expression_term.h"

namespace solera::recipe {

namespace {

using Term = Expression::Term;

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
    if (std::string_view("+-*/").find(term.word[0]) != std::string_view::npos)
      return arithmetic(term, values[0], values[1]);
    if (term.word == "min" || term.word == "max") return extreme(term, values);
    return function(term, values[0]);
  }

 private:
  Value named(const Term& term) {
    try {
      return lookup_({term.parts, term.column});
    } catch (const Error& error) {
      fail_at(text_, term.column, error.problem(), error.hint());
    }
  }

  double both(const Term& term, const std::vector<Value>& values) {
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (!values[i].is_truth || values[i].is_list)
        fail_at(text_, term.arguments[i].column, cat('"', term.word, "\" needs a truth value, not a ", kind(values[i])),
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
    if (value.is_truth) fail_at(text_, term.column, cat('"', term.word, "\" needs numbers, not a ", kind(value)));
  }

  // How many entries an operator on both has; 0 if neither is a list.
  std::size_t entries(const Term& term, const std::string& sign, const Value& a, const Value& b) const {
    if (a.is_list && b.is_list && a.numbers.size() != b.numbers.size())
      fail_at(text_, term.column,
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
      if (term.word == "/" && entry(b, i) == 0) fail_at(text_, term.column, "division by zero");
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
        fail_at(text_, term.column, cat('"', sign, "\" between a ", kind(a), " and a ", kind(b)));
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
    if (pool.empty()) fail_at(text_, term.column, cat(term.word, "() of no values"));
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
      if (!value.is_truth) fail_at(text_, term.column, cat("\"all\" needs truth values, not a ", kind(value)));
      return truth(std::all_of(numbers.begin(), numbers.end(), [](double x) { return x == 1; }));
    }
    if (word == "abs" || word == "sqrt") {
      need_numbers(term, value);
      Value result = value;
      for (double& x : result.numbers) {
        if (word == "sqrt" && x < 0) fail_at(text_, term.column, cat("square root of ", exact_text(x)));
        x = word == "abs" ? std::abs(x) : std::sqrt(x);
      }
      if (word == "sqrt" && value.error > 0)
        result.error = value.error / (2 * std::max(result.numbers[0], std::numeric_limits<double>::min()));
      return result;
    }
    if (!value.is_list) fail_at(text_, term.column, cat('"', word, "\" needs a list, not a ", kind(value)));
    if (word == "count") return single(static_cast<double>(numbers.size()));
    const std::size_t least = word == "mean" ? 1 : 2;
    if (numbers.size() < least)
      fail_at(text_, term.column, cat(word, "() of ", numbers.size(), numbers.size() == 1 ? " value" : " values"));
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

Expression::Expression(std::string text) : text_(std::move(text)), root_(std::make_unique<Term>(parse_term(text_))) {}
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
  if (!value.is_truth)
    fail_at(text_, root_->column, "a claim is a comparison, this is a number", "say what it should be");
  if (value.is_list)
    fail_at(text_, root_->column, cat("a claim is one comparison, this is a list of ", value.numbers.size()),
            "use all()");
  verdict.holds = value.numbers[0] == 1;
  return verdict;
}

}  // namespace solera::recipe
