// A claim from anywhere: an Error, or a verdict that is the same each time and follows from values of any size.
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>

#include "solera/base/error.h"
#include "solera/recipe/expression.h"

using namespace solera::recipe;

namespace {

// Lists where a part is `*`, else numbers, some of them not finite: all from the name alone.
Value known(const Name& name) {
  Value value;
  for (const std::string& part : name.parts) value.is_list = value.is_list || part == "*";
  const std::size_t length = name.parts[0].size();
  constexpr double kNumbers[] = {0, 0.5, -3, 1e308, std::numeric_limits<double>::infinity()};
  const std::size_t count = value.is_list ? length % 4 : 1;
  for (std::size_t i = 0; i < count; ++i) value.numbers.push_back(kNumbers[(length + i) % std::size(kNumbers)]);
  if (!value.is_list && length % 2 == 0) value.error = 0.1;
  return value;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const Expression expression(std::string(reinterpret_cast<const char*>(data), size));
    for (const Name& name : expression.names())
      if (name.parts.empty() || name.column < 1 || name.column > static_cast<int>(size)) std::abort();
    const Verdict verdict = expression.judge(known), again = expression.judge(known);
    if (verdict.holds != again.holds || verdict.comparisons.size() != again.comparisons.size()) std::abort();
  } catch (const solera::Error&) {
  }
  return 0;
}
