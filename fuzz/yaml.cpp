// YAML from anywhere: an Error, or trees whose places lie in the text and that read back from what we write.
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "solera/base/document.h"
#include "solera/base/error.h"

namespace {

void check_places(const solera::Node& node, int lines) {
  if (node.line() < 0 || node.line() > lines || node.column() < 0) std::abort();
  for (const solera::Node& item : node.items()) check_places(item, lines);
  for (const auto& [key, value] : node.entries()) {
    if (value.name() != key || node.find(key) != &value) std::abort();
    check_places(value, lines);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<solera::Node> documents;
  try {
    documents = solera::parse_yaml_stream(text, "fuzz.yaml");
  } catch (const solera::Error&) {
    return 0;
  }
  const int lines = static_cast<int>(2 + std::count(text.begin(), text.end(), '\n'));
  for (const solera::Node& node : documents) {
    check_places(node, lines);
    const std::string json = solera::to_json(node);
    if (solera::to_json(solera::parse_yaml(solera::to_yaml(node))) != json) std::abort();
    if (solera::to_json(solera::parse_json(json)) != json) std::abort();
  }
  return 0;
}
