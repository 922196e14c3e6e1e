// Expressions against values worked out by hand, and every message with its column.
#include "solera/recipe/expression.h"

#include <cmath>
#include <map>

#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera::recipe {
namespace {

using test::message_of;

Value value_of_name(const Name& name) {
  static const std::map<std::string, Value> known = {
      {"one", {.numbers = {1}}},
      {"a.x", {.numbers = {3}, .error = 0.3}},
      {"b.x", {.numbers = {4}, .error = 0.4}},
      {"zero.x", {.numbers = {0}}},
      {"list.*", {.numbers = {1, 2, 3, 6}, .is_list = true}},
      {"other.*", {.numbers = {0, 2, 5, 1}, .is_list = true}},
      {"pair.*", {.numbers = {1, 2}, .is_list = true}},
      {"single.*", {.numbers = {7}, .is_list = true}},
      {"empty.*", {.is_list = true}},
      {"lm./results/arc_easy/acc,none", {.numbers = {0.5}}},
      {"s.0.1.it's", {.numbers = {9}}},
  };
  const auto found = known.find(join(name.parts, "."));
  if (found == known.end()) throw input_error(cat("no ", join(name.parts, "|")), "", "look");
  return found->second;
}

Value value(const std::string& text) { return Expression(text).value(value_of_name); }
double number(const std::string& text) {
  const Value v = value(text);
  EXPECT_EQ(v.numbers.size(), 1u) << text;
  EXPECT_FALSE(v.is_list || v.is_truth) << text;
  return v.numbers.at(0);
}
bool holds(const std::string& text) { return Expression(text).judge(value_of_name).holds; }
std::string failure(const std::string& text) {
  return message_of([&] { Expression(text).judge(value_of_name); });
}

TEST(ExpressionValue, FollowsPrecedence) {
  for (const auto& [text, expected] : std::map<std::string, double>{
           {"1 + 2 * 3", 7}, {"(1 + 2) * 3", 9}, {"10 - 4 - 3", 3},   {"24 / 4 / 3", 2},    {"2 * 3 / 4", 1.5},
           {"-2 * 3", -6},   {"2 - -3", 5},      {"--2", 2},          {"-(1 + 2)", -3},     {"1e-3", 0.001},
           {".5 + 1.", 1.5}, {"2E+2", 200},      {"one", 1},          {"a.x * b.x", 12},    {" 1+2 ", 3},
           {"abs(-2)", 2},   {"sqrt(9)", 3},     {"min(3, 1, 2)", 1}, {"max (3, 1, 2)", 3}, {"count(empty.*)", 0}})
    EXPECT_DOUBLE_EQ(number(text), expected) << text;
}

TEST(ExpressionValue, JudgesLikeMathematics) {
  for (const char* text :
       {"1 < 2", "2 <= 2", "3 > 2", "2 >= 2", "2 == 2", "1 != 2", "1 < 2 <= 2 < 3", "1 < 2 and 2 < 3", "1 > 2 or 2 < 3",
        "not 1 > 2", "not not 1 < 2", "1 < 2 or 1 < 2 and 1 > 2", "not 1 > 2 and 1 < 2", "(1 < 2) == (3 < 4)",
        "1 + 1 < 2 * 2", "all(list.* > 0)", "all(0 < list.* < 7)", "all(1 < 2)", "all(empty.* > 3)"})
    EXPECT_TRUE(holds(text)) << text;
  for (const char* text : {"2 < 2", "2 <= 1", "2 > 2", "1 >= 2", "0.1 + 0.2 == 0.3", "2 != 2", "1 < 2 < 2", "3 > 2 > 2",
                           "1 < 2 and 2 > 3", "1 > 2 or 2 > 3", "not 1 < 2", "(1 < 2 or 1 < 2) and 1 > 2",
                           "all(list.* > 1)", "all(0 < list.* < 6)", "(1 < 2) == (3 > 4)"})
    EXPECT_FALSE(holds(text)) << text;
}

TEST(ExpressionValue, WorksEntryByEntry) {
  EXPECT_EQ(value("list.* - other.*").numbers, (std::vector<double>{1, 0, -2, 5}));
  EXPECT_EQ(value("2 * list.*").numbers, (std::vector<double>{2, 4, 6, 12}));
  EXPECT_EQ(value("12 / list.*").numbers, (std::vector<double>{12, 6, 4, 2}));
  EXPECT_EQ(value("abs(1 - list.*)").numbers, (std::vector<double>{0, 1, 2, 5}));
  EXPECT_EQ(value("sqrt(list.* * list.*)").numbers, (std::vector<double>{1, 2, 3, 6}));
  const Value truths = value("1 < list.* <= 3");
  EXPECT_TRUE(truths.is_list && truths.is_truth);
  EXPECT_EQ(truths.numbers, (std::vector<double>{0, 1, 1, 0}));
}

// Of 1, 2, 3, 6: mean 3, squares 4 + 1 + 0 + 9 = 14, sd sqrt(14 / 3), se sd / 2.
TEST(ExpressionValue, HasTheStatisticsOfAList) {
  EXPECT_DOUBLE_EQ(number("mean(list.*)"), 3);
  EXPECT_DOUBLE_EQ(number("sd(list.*)"), std::sqrt(14. / 3));
  EXPECT_DOUBLE_EQ(number("se(list.*)"), std::sqrt(14. / 3) / 2);
  EXPECT_DOUBLE_EQ(number("count(list.*)"), 4);
  EXPECT_DOUBLE_EQ(number("min(list.*, 0.5)"), 0.5);
  EXPECT_DOUBLE_EQ(number("max(list.*)"), 6);
  EXPECT_DOUBLE_EQ(number("mean(single.*)"), 7);
  EXPECT_DOUBLE_EQ(number("mean(list.* > 1)"), 0.75);  // how often
}

TEST(ExpressionError, IsThatOfIndependentValues) {
  EXPECT_DOUBLE_EQ(value("mean(list.*)").error, std::sqrt(14. / 3) / 2);
  EXPECT_DOUBLE_EQ(value("mean(single.*)").error, 0);
  EXPECT_DOUBLE_EQ(value("a.x + b.x").error, 0.5);
  EXPECT_DOUBLE_EQ(value("a.x - b.x").error, 0.5);
  EXPECT_DOUBLE_EQ(value("a.x * b.x").error, std::hypot(0.3 * 4, 0.4 * 3));
  EXPECT_DOUBLE_EQ(value("a.x / b.x").error, std::hypot(0.3 / 4, 0.4 * 3 / 16));
  EXPECT_DOUBLE_EQ(value("-a.x").error, 0.3);
  EXPECT_DOUBLE_EQ(value("abs(a.x - b.x)").error, 0.5);
  EXPECT_DOUBLE_EQ(value("sqrt(b.x)").error, 0.4 / 4);
  EXPECT_DOUBLE_EQ(value("max(a.x, b.x)").error, 0.4);
  EXPECT_DOUBLE_EQ(value("min(a.x, b.x)").error, 0.3);
  // The paired comparison: differences 1, 0, -2, 5 have mean 1 and squares 0 + 1 + 9 + 16 = 26.
  EXPECT_DOUBLE_EQ(value("mean(list.* - other.*)").error, std::sqrt(26. / 3) / 2);
}

TEST(ExpressionVerdict, KeepsBothSidesOfEveryComparison) {
  const Verdict verdict = Expression("2 < a.x <= b.x and all(list.* > 0) or 5 == 6").judge(value_of_name);
  EXPECT_TRUE(verdict.holds);
  ASSERT_EQ(verdict.comparisons.size(), 3u);
  EXPECT_EQ(verdict.comparisons[0].sign, "<");
  EXPECT_DOUBLE_EQ(verdict.comparisons[1].left, 3);
  EXPECT_DOUBLE_EQ(verdict.comparisons[1].left_error, 0.3);
  EXPECT_EQ(verdict.comparisons[1].sign, "<=");
  EXPECT_DOUBLE_EQ(verdict.comparisons[1].right, 4);
  EXPECT_DOUBLE_EQ(verdict.comparisons[1].right_error, 0.4);
  EXPECT_TRUE(verdict.comparisons[1].holds);
  EXPECT_FALSE(verdict.comparisons[2].holds);
}

TEST(ExpressionNames, HavePartsOfEveryKind) {
  const auto names =
      Expression("lm.\"/results/arc_easy/acc,none\" + s.\"0.1\".\"it's\" < order.x_1.*.3 + s.'a \"b\"'").names();
  ASSERT_EQ(names.size(), 4u);
  EXPECT_EQ(names[0].parts, (std::vector<std::string>{"lm", "/results/arc_easy/acc,none"}));
  EXPECT_EQ(names[1].parts, (std::vector<std::string>{"s", "0.1", "it's"}));
  EXPECT_EQ(names[1].column, 35);
  EXPECT_EQ(names[2].parts, (std::vector<std::string>{"order", "x_1", "*", "3"}));
  EXPECT_EQ(names[3].parts, (std::vector<std::string>{"s", "a \"b\""}));
  EXPECT_TRUE(holds("lm.\"/results/arc_easy/acc,none\" == 0.5"));
}

TEST(ExpressionText, IsRefusedWithItsColumn) {
  const std::map<std::string, std::string> messages = {
      {"", "expected a value, not the end (column 1 of \"\")"},
      {"1 <", "expected a value, not the end (column 4 of \"1 <\")"},
      {"1 + (2)) < 3", "expected an operator, not \")\" (column 8 of \"1 + (2)) < 3\")"},
      {"(1 < 2", "expected \")\", not the end (column 7 of \"(1 < 2\")"},
      {"1 = 2", "expected an operator, not \"=\" (column 3 of \"1 = 2\")"},
      {"1 < * 2", "expected a value, not \"*\" (column 5 of \"1 < * 2\")"},
      {"1 ≤ 2", "expected an operator, not \"≤\" (column 3 of \"1 ≤ 2\")"},
      {"s.'é' + ? < 1", "expected a value, not \"?\" (column 9 of \"s.'é' + ? < 1\")"},
      {"a. < 1", "expected a name after \".\", not \" \" (column 3 of \"a. < 1\")"},
      {"a.\"b < 1", "a quote is not closed (column 3 of \"a.\"b < 1\")"},
      {"1.2.3 < 1", "\"1.2.3\" is not a number (column 1 of \"1.2.3 < 1\")"},
      {"1 < 2x", "\"2x\" is not a number (column 5 of \"1 < 2x\")"},
      {"1e999 < 1", "\"1e999\" is not a number (column 1 of \"1e999 < 1\")"},
      {"1 < maen(a.x)", "unknown function \"maen\" (column 5 of \"1 < maen(a.x)\"); did you mean mean?"},
      {"mean(a.x, 2) < 1", "mean() takes 1 argument, not 2 (column 1 of \"mean(a.x, 2) < 1\")"},
      {"mean(a.x < 1", "expected \",\" or \")\", not the end (column 13 of \"mean(a.x < 1\")"},
      {"1 < nix.*", "no nix|* (column 5 of \"1 < nix.*\"); look"},
      {"1 + 2", "a claim is a comparison, this is a number (column 3 of \"1 + 2\"); say what it should be"},
      {"list.* > 1", "a claim is one comparison, this is a list of 4 (column 8 of \"list.* > 1\"); use all()"},
      {"1 < 2 and 3", "\"and\" needs a truth value, not a number (column 11 of \"1 < 2 and 3\")"},
      {"not list.* > 1",
       "\"not\" needs a truth value, not a list of 4 truth values (column 12 of \"not list.* > 1\"); use all()"},
      {"1 + (1 < 2) > 0", "\"+\" needs numbers, not a truth value (column 3 of \"1 + (1 < 2) > 0\")"},
      {"(1 < 2) > 0", "\">\" between a truth value and a number (column 9 of \"(1 < 2) > 0\")"},
      {"all(list.* < pair.*)", "lists of 4 and 2 values do not fit \"<\" (column 12 of \"all(list.* < pair.*)\")"},
      {"mean(list.* + pair.*) < 1",
       "lists of 4 and 2 values do not fit \"+\" (column 13 of \"mean(list.* + pair.*) < 1\")"},
      {"1 / zero.x < 1", "division by zero (column 3 of \"1 / zero.x < 1\")"},
      {"sqrt(-4) < 1", "square root of -4 (column 1 of \"sqrt(-4) < 1\")"},
      {"mean(a.x) < 1", "\"mean\" needs a list, not a number (column 1 of \"mean(a.x) < 1\")"},
      {"mean(empty.*) < 1", "mean() of 0 values (column 1 of \"mean(empty.*) < 1\")"},
      {"sd(single.*) < 1", "sd() of 1 value (column 1 of \"sd(single.*) < 1\")"},
      {"max(empty.*) < 1", "max() of no values (column 1 of \"max(empty.*) < 1\")"},
      {"min(1 < 2) < 1", "\"min\" needs numbers, not a truth value (column 1 of \"min(1 < 2) < 1\")"},
      {"all(list.*)", "\"all\" needs truth values, not a list of 4 numbers (column 1 of \"all(list.*)\")"},
  };
  for (const auto& [text, message] : messages) EXPECT_EQ(failure(text), message) << text;
}

TEST(ExpressionText, HasALimitInDepthAndLength) {
  EXPECT_NE(failure(std::string(1000, '(')).find("nested deeper than 200"), std::string::npos);
  EXPECT_NE(failure(std::string(1000, '-')).find("nested deeper than 200"), std::string::npos);
  std::string sum = "0";
  while (sum.size() < 990) sum += "+1";
  EXPECT_TRUE(holds(sum + ">9"));
  EXPECT_EQ(failure(sum + sum), "an expression of 1982 bytes, more than 1000; name its parts in steps");
}

}  // namespace
}  // namespace solera::recipe
