// What apply and graft say of the model that they wrote.
#pragma once

#include <string>

#include "solera/base/document.h"
#include "solera/weights/combine.h"

namespace solera::cli {

// "out: 3 tensors, 12 of 40 entries changed, 160 B"
std::string report_line(const std::string& out, const weights::CombineReport& report);
Node report_node(const std::string& out, const weights::CombineReport& report);

}  // namespace solera::cli
