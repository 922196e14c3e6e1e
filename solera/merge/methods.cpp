#include "solera/merge/methods.h"

#include <string>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/merge/methods/arcee_fusion.h"
#include "solera/merge/methods/breadcrumbs.h"
#include "solera/merge/methods/breadcrumbs_ties.h"
#include "solera/merge/methods/consensus.h"
#include "solera/merge/methods/dare.h"
#include "solera/merge/methods/della.h"
#include "solera/merge/methods/fisher.h"
#include "solera/merge/methods/iso_c.h"
#include "solera/merge/methods/iso_cts.h"
#include "solera/merge/methods/karcher.h"
#include "solera/merge/methods/linear.h"
#include "solera/merge/methods/model_stock.h"
#include "solera/merge/methods/multislerp.h"
#include "solera/merge/methods/nearswap.h"
#include "solera/merge/methods/nuslerp.h"
#include "solera/merge/methods/passthrough.h"
#include "solera/merge/methods/pcb.h"
#include "solera/merge/methods/ram.h"
#include "solera/merge/methods/ramplus_tl.h"
#include "solera/merge/methods/regmean.h"
#include "solera/merge/methods/sce.h"
#include "solera/merge/methods/slerp.h"
#include "solera/merge/methods/task_arithmetic.h"
#include "solera/merge/methods/ties.h"
#include "solera/merge/methods/tsv_m.h"
#include "solera/merge/methods/wise_ft.h"

namespace solera::merge {

std::span<const Method> methods() {
  static const std::vector<Method> kMethods = {linear_method(),       slerp_method(),       task_arithmetic_method(),
                                               ties_method(),         breadcrumbs_method(), breadcrumbs_ties_method(),
                                               dare_linear_method(),  dare_ties_method(),   della_method(),
                                               della_linear_method(), model_stock_method(), nuslerp_method(),
                                               multislerp_method(),   karcher_method(),     nearswap_method(),
                                               arcee_fusion_method(), sce_method(),         ram_method(),
                                               ramplus_tl_method(),   passthrough_method(), wise_ft_method(),
                                               fisher_method(),       regmean_method(),     pcb_method(),
                                               tsv_m_method(),        iso_c_method(),       iso_cts_method(),
                                               consensus_method()};
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
