// The one pattern language for tensor and module names.
//
// A glob by default: `*` is any run of characters (dots included), `?` one character, `[a-c]` and `[!a-c]` sets,
// `\` quotes the next character; the whole name must match. `re:EXPR` is a regular expression in the syntax of
// Perl and Python (PCRE2) that must match somewhere in the name.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace solera {

class Pattern {
 public:
  explicit Pattern(std::string text);         // throws Error (usage): an unclosed set, a bad regular expression
  bool matches(std::string_view name) const;  // throws Error (usage) where an expression takes millions of steps
  const std::string& text() const { return text_; }

 private:
  struct Compiled;
  std::string text_;
  std::shared_ptr<const Compiled> compiled_;
};

// True if `include` is empty or one of it matches, and none of `exclude` does.
bool selected(std::string_view name, std::span<const Pattern> include, std::span<const Pattern> exclude);

}  // namespace solera
