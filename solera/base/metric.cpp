#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/process.h"
#include "solera/base/text.h"

namespace solera {

namespace {

std::string_view last_line(std::string_view text) {
  text = trim(text);
  return trim(text.substr(text.rfind('\n') + 1));  // npos + 1 is 0
}

std::string quoted_line(std::string_view text) {
  const std::string_view line = last_line(text);
  constexpr std::size_t kShown = 120;
  std::size_t shown = std::min(line.size(), kShown);
  while (shown < line.size() && shown > 0 && (line[shown] & 0xC0) == 0x80) --shown;  // whole characters
  return cat('"', line.substr(0, shown), shown < line.size() ? "..." : "", '"');
}

// From the brace that the text's last one closes to the end, if that brace begins a line; else nothing. One pass, as a
// log may hold a brace a line and megabytes of them. JSON has no line breaks within strings, so that every line begins
// outside of one, whatever quotes a log line before it holds.
std::string_view last_braces(std::string_view text) {
  std::vector<std::size_t> open;
  std::size_t first = 0;  // of the line's text
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') {
      quoted = false;
      first = i + 1;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (quoted) {
      if (c == '\\' && i + 1 < text.size() && text[i + 1] != '\n') ++i;
    } else if (c == '{') {
      open.push_back(trim(text.substr(first, i - first)).empty() ? i : text.size());
    } else if (c == '}' && !open.empty()) {
      if (i + 1 == text.size()) return text.substr(open.back());
      open.pop_back();
    }
  }
  return {};
}

std::optional<Node> as_object(std::string_view text) {
  text = trim(text);
  if (text.empty() || text.front() != '{') return std::nullopt;
  try {
    return parse_json(text);
  } catch (const Error&) {
    return std::nullopt;
  }
}

double finite(double value, const std::string& name, const std::string& source) {
  if (!std::isfinite(value)) throw input_error(cat("the metric ", name, "is ", exact_text(value)), source);
  return value;
}

double lone_number(const Node& object, const std::string& source) {
  std::vector<std::string> names;
  std::optional<double> value;
  for (const auto& [key, node] : object.entries())
    if (!node.is_quoted() && !node.try_bool() && node.try_double()) {
      names.push_back(key);
      value = node.try_double();
    }
  if (names.size() == 1) return finite(*value, names[0] + " ", source);
  throw input_error(names.empty()
                        ? "the output's JSON object holds no number"
                        : cat("the output's JSON object holds ", names.size(), " numbers: ", join(names, ", ")),
                    source, "name one with --metric");
}

double named_number(const Node& object, const std::string& metric, const std::string& source) {
  const Node* node = metric.front() == '/' ? object.pointer(metric) : object.find(metric);
  if (!node) {
    std::vector<std::string> keys;
    for (const auto& [key, unused] : object.entries()) keys.push_back(key);
    const std::string near = metric.front() == '/' ? "" : did_you_mean(metric, keys);
    throw input_error(cat("the output has no metric ", metric), source,
                      !near.empty() ? near : cat("its keys are ", join(keys, ", ")));
  }
  const auto value = node->try_double();
  if (!value) throw input_error(cat("the metric ", metric, " is ", to_json(*node), ", not a number"), source);
  return finite(*value, metric + " ", source);
}

}  // namespace

std::optional<Node> result_in_output(std::string_view output) {
  const std::string_view text = trim(output);
  const std::string_view line = last_line(text);
  if (const auto node = as_object(line)) return node;
  if (const auto number = parse_double(line)) return Node::number(*number);
  return as_object(last_braces(text));
}

double metric_from_output(std::string_view output, std::string_view metric, const std::string& source) {
  const std::string_view text = trim(output);
  if (text.empty()) throw input_error("the command printed nothing", source, "its last line must be the metric");
  const auto object = result_in_output(text);
  if (!metric.empty()) {
    if (!object || !object->is_map())
      throw input_error(cat("no JSON object in the output to take ", metric, " from; it ends ", quoted_line(text)),
                        source);
    return named_number(*object, std::string(metric), source);
  }
  if (!object)
    throw input_error(cat("the last line of the output is ", quoted_line(text), ", not a number or a JSON object"),
                      source);
  return object->is_map() ? lone_number(*object, source) : finite(object->as_double(), "", source);
}

double metric_from_file(const std::string& path, std::string_view metric) {
  return metric_from_output(read_file(path), metric, path);
}

}  // namespace solera
