// What a program printed, from anywhere: an Error, or a finite metric that does not depend on what came before the
// object it was taken from. The first line of the input names the metric.
#include <cmath>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "solera/base/error.h"
#include "solera/base/process.h"

namespace {

std::optional<double> metric(std::string_view output, std::string_view name) {
  try {
    const double value = solera::metric_from_output(output, name, "the fuzzer");
    if (!std::isfinite(value)) std::abort();
    return value;
  } catch (const solera::Error&) {
    return std::nullopt;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t line = text.find('\n');
  if (line == std::string_view::npos) return 0;
  const std::string_view name = text.substr(0, line), output = text.substr(line + 1);
  const auto value = metric(output, name);
  if (value && metric("{ log \"\n}\n" + std::string(output), name) != value) std::abort();
  return 0;
}
