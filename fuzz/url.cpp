// A URL, a redirect from it and the header lines of an answer, from anywhere: an Error, or parts that read back to
// themselves and cannot break out of a request's line.
#include <cstdlib>
#include <string>
#include <string_view>

#include "solera/base/error.h"
#include "solera/checkpoint/hub.h"
#include "solera/checkpoint/url.h"

using namespace solera::checkpoint;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void require_stable(const Url& url) {
  const std::string text = url.text();
  for (const char c : text) require(c > ' ' && c < 0x7f);
  require(parse_url(text) == url && url.path.starts_with('/') && url.port > 0 && url.port < 65536);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::string first = text.substr(0, text.find('\n'));
  const std::string rest = first.size() < text.size() ? text.substr(first.size() + 1) : "";
  try {
    const Url url = parse_url(first);
    require_stable(url);
    if (const auto next = redirected(url, rest)) require_stable(*next);
  } catch (const solera::Error&) {
  }
  try {
    if (is_hub_path(first))
      require(parse_hub_name(parse_hub_name(first).text()).text() == parse_hub_name(first).text());
  } catch (const solera::Error&) {
  }
  try {
    for (const std::string& name : parse_hub_listing(rest, "fuzz").files) (void)percent_encoded(name);
  } catch (const solera::Error&) {
  }
  if (const auto line = parse_header_line(text)) require(line->first.find(':') == std::string::npos);
  if (const auto range = parse_content_range(text); range && range->satisfied)
    require(range->first <= range->last && range->last < range->total);
  return 0;
}
