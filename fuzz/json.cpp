// JSON from anywhere: accepted exactly where simdjson's other, stricter front end accepts it, but for what we refuse on
// purpose (duplicate keys, depth) and numbers that only we keep; and read back from what we write.
#include <simdjson.h>
#include <cstdlib>
#include <string_view>

#include "solera/base/document.h"
#include "solera/base/error.h"

namespace {

// 0, or why the text is refused.
simdjson::error_code reference(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  simdjson::dom::parser parser;
  return parser.parse(text.data(), text.size()).error();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const simdjson::error_code code = reference(text);
  solera::Node node;
  try {
    node = solera::parse_json(text, "fuzz.json");
  } catch (const solera::Error& error) {
    const bool own = error.problem().starts_with("duplicate key") || error.problem().starts_with("nested more than");
    if (!code && !own) std::abort();
    return 0;
  }
  if (code && code != simdjson::NUMBER_ERROR) std::abort();
  const std::string written = solera::to_json(node);
  if (solera::to_json(solera::parse_json(solera::to_json(node, 2))) != written) std::abort();
  return 0;
}
