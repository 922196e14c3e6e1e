// Claims as expressions over numbers that steps measured: "mean(soup.*.test) > mean(best.*.test) + 0.01".
//
//   or, and, not          of single truth values
//   < <= > >= == !=       chains as in mathematics: 0.2 < x <= 0.4
//   + - * /               of numbers, and of lists entry by entry (a number meets every entry)
//   mean sd se min max count all abs sqrt        min(a, b) too; all() of a list of comparisons,
//                         mean() of one is how often it holds
//   soup.accuracy         a name: parts joined by dots; `*` is a list over every value there; a part in quotes may hold
//                         anything, and one that begins with / is a JSON pointer: lm."/results/arc_easy/acc,none"
//
// A mean carries its standard error, sd / sqrt(n), which + - * / abs and sqrt pass on as for independent values; mean()
// of differences of two lists is the paired comparison. Every comparison that was made is kept, so that a report can
// show the numbers on both sides; `and` and `or` evaluate both of theirs. Nothing is rounded: == compares exactly.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace solera::recipe {

struct Value {
  std::vector<double> numbers;  // one, or any number of entries of a list; truth values are 0 and 1
  bool is_list = false;
  bool is_truth = false;
  double error = 0;  // standard error of a single number; 0: none known
};

struct Name {
  std::vector<std::string> parts;
  int column = 0;  // in bytes, from 1
};

struct Comparison {
  double left = 0, left_error = 0;
  std::string sign;
  double right = 0, right_error = 0;
  bool holds = false;
};

struct Verdict {
  bool holds = false;
  std::vector<Comparison> comparisons;  // in the order of the text; those of lists are left out
};

class Expression {
 public:
  // Gives the value of a name, or throws Error; the expression adds the place.
  using Lookup = std::function<Value(const Name& name)>;

  // Throws Error (input): `expected a value, not ")" (column 7 of "1 + (2)) < 3")`.
  explicit Expression(std::string text);
  ~Expression();
  Expression(Expression&&) noexcept;
  Expression& operator=(Expression&&) noexcept;

  const std::string& text() const { return text_; }
  std::vector<Name> names() const;  // in the order of the text

  Value value(const Lookup& lookup) const;
  Verdict judge(const Lookup& lookup) const;  // Error (input) if the value is not one truth value

  struct Term;  // in expression_term.h

 private:
  std::string text_;
  std::unique_ptr<Term> root_;
};

}  // namespace solera::recipe
