// What an expression is made of, between its parser and its evaluation; claims use expression.h alone.
#pragma once

#include <string>
#include <vector>

#include "solera/recipe/expression.h"

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

// Throws Error (input) at the first thing that is not an expression.
Expression::Term parse_term(const std::string& text);

// Throws Error (input) with the place in the text; `at` counts bytes from 1, the message counts characters.
[[noreturn]] void fail_at(const std::string& text, int at, const std::string& what, const std::string& hint = "");

}  // namespace solera::recipe
