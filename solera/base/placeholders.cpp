#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/process.h"
#include "solera/base/text.h"

namespace solera {

namespace {

// Where in a shell line we are: plain words, 'single' or "double" quotes, a comment, `backquotes`; $( ) and ( ) open
// plain words anew, also inside double quotes.
class ShellPlace {
 public:
  void pass(char c) {
    const char before = std::exchange(before_, c);
    if (escaped_) {
      escaped_ = false;
    } else if (here() == '#') {
      if (c == '\n') inside_.pop_back();
    } else if (here() == '\'') {
      if (c == '\'') inside_.pop_back();
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"' || c == '`') {
      if (here() == c) {
        inside_.pop_back();
      } else {
        inside_.push_back(c);
      }
    } else if (c == '(' && (before == '$' || here() != '"')) {
      inside_.push_back('(');
    } else if (c == ')' && here() == '(' && inside_.size() > 1) {
      inside_.pop_back();
    } else if (here() != '"' && c == '\'') {
      inside_.push_back('\'');
    } else if (here() != '"' && c == '#' && (before == 0 || before == ' ' || before == '\t' || before == '\n')) {
      inside_.push_back('#');
    }
  }

  // Inside quotes a value closes them, stands in its own and opens them again.
  std::string quoted(const std::string& name, const std::string& value, std::string_view line) const {
    if (inside_.find('`') != std::string::npos)
      throw usage_error(cat("placeholder {", name, "} stands inside backquotes"), std::string(line), "use $( )");
    const std::string word = shell_quote(value);
    return here() == '\'' || here() == '"' ? here() + word + here() : word;
  }

 private:
  char here() const { return inside_.back(); }

  std::string inside_ = "(";  // innermost last
  char before_ = 0;
  bool escaped_ = false;
};

}  // namespace

std::string fill_placeholders(std::string_view text, const std::map<std::string, std::string>& values, bool quote) {
  std::string filled;
  ShellPlace place;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool doubled = (c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c;
    const std::size_t end = c == '{' && !doubled ? text.find('}', i) : std::string_view::npos;
    if (end == std::string_view::npos) {
      filled += c;
      place.pass(c);
      if (doubled) ++i;
      continue;
    }
    const std::string name(text.substr(i + 1, end - i - 1));
    const auto value = values.find(name);
    if (value == values.end()) {
      std::vector<std::string> known;
      for (const auto& [key, unused] : values) known.push_back("{" + key + "}");
      throw usage_error(
          cat("unknown placeholder {", name, "}"), std::string(text),
          known.empty() ? "write {{ for a brace" : cat("known: ", join(known, ", "), "; write {{ for a brace"));
    }
    filled += quote ? place.quoted(name, value->second, text) : value->second;
    i = end;
  }
  return filled;
}

}  // namespace solera
