#include "solera/merge/methods.h"

#include <string>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/merge/methods/breadcrumbs.h"
#include "solera/merge/methods/fisher.h"
#include "solera/merge/methods/linear.h"
#include "solera/merge/methods/passthrough.h"
#include "solera/merge/methods/regmean.h"
#include "solera/merge/methods/slerp.h"
#include "solera/merge/methods/task_arithmetic.h"
#include "solera/merge/methods/ties.h"

namespace solera::merge {

std::span<const Method> methods() {
  static const std::vector<Method> kMethods = {linear_method(),  slerp_method(),       task_arithmetic_method(),
                                               ties_method(),    breadcrumbs_method(), fisher_method(),
                                               regmean_method(), passthrough_method()};
  return kMethods;
}

const Method& method(std::string_view name, const std::string& where) {
  std::vector<std::string> names;
  for (const Method& one : methods()) {
    if (one.name == name) return one;
    names.push_back(one.name);
  }
  const std::string near = did_you_mean(name, names);
  throw usage_error(cat("unknown merge method \"", name, "\""), where,
                    near.empty() ? cat("known are ", join(names, ", ")) : near);
}

}  // namespace solera::merge
