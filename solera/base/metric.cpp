#include <algorithm>
#include <cmath>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/process.h"
#include "solera/base/text.h"

namespace solera {

namespace {

std::string quoted_line(std::string_view text) {
  const std::string_view line =
      trim(text.substr(text.rfind('\n') == std::string_view::npos ? 0 : text.rfind('\n') + 1));
  constexpr std::size_t kShown = 120;
  return cat('"', line.substr(0, kShown), line.size() > kShown ? "..." : "", '"');
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
  if (text.empty()) return std::nullopt;
  const std::size_t last = text.rfind('\n');
  if (const auto node = as_object(last == std::string_view::npos ? text : text.substr(last + 1))) return node;
  if (const auto node = as_object(text)) return node;
  for (std::size_t at = 0; at != std::string_view::npos; at = text.find('\n', at)) {
    if (text[at] == '\n') ++at;
    if (at < text.size() && text[at] == '{')
      if (const auto node = as_object(text.substr(at))) return node;
  }
  return std::nullopt;
}

double metric_from_output(std::string_view output, std::string_view metric, const std::string& source) {
  const std::string_view text = trim(output);
  if (text.empty()) throw input_error("the command printed nothing", source, "its last line must be the metric");
  const auto object = result_in_output(text);
  if (!metric.empty()) {
    if (!object)
      throw input_error(cat("no JSON object in the output to take ", metric, " from; it ends ", quoted_line(text)),
                        source);
    return named_number(*object, std::string(metric), source);
  }
  if (object) return lone_number(*object, source);
  const std::size_t last = text.rfind('\n');
  const auto value = parse_double(trim(last == std::string_view::npos ? text : text.substr(last + 1)));
  if (!value)
    throw input_error(cat("the last line of the output is ", quoted_line(text), ", not a number or a JSON object"),
                      source);
  return finite(*value, "", source);
}

double metric_from_file(const std::string& path, std::string_view metric) {
  return metric_from_output(read_file(path), metric, path);
}

}  // namespace solera
