#include <map>
#include <string>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/process.h"
#include "solera/base/text.h"

namespace solera {

namespace {

// A value for a place in a shell line. Inside single quotes it closes them, stands in its own and opens them again;
// inside double quotes likewise.
std::string for_shell(const std::string& value, char quoted_by) {
  const std::string word = shell_quote(value);
  return quoted_by ? quoted_by + word + quoted_by : word;
}

}  // namespace

std::string fill_placeholders(std::string_view text, const std::map<std::string, std::string>& values, bool quote) {
  std::string filled;
  char quoted_by = 0;  // the quote of the shell that this place is in
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
      filled += c;
      ++i;
      continue;
    }
    if (quote && c == '\\' && quoted_by != '\'' && i + 1 < text.size()) {
      filled += c;
      filled += text[++i];
      continue;
    }
    if (quote && (c == '\'' || c == '"') && (quoted_by == 0 || quoted_by == c)) quoted_by = quoted_by ? 0 : c;
    const std::size_t end = c == '{' ? text.find('}', i) : std::string_view::npos;
    if (end == std::string_view::npos) {
      filled += c;
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
    filled += quote ? for_shell(value->second, quoted_by) : value->second;
    i = end;
  }
  return filled;
}

}  // namespace solera
