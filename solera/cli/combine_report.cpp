#include "solera/cli/combine_report.h"

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::cli {

std::string report_line(const std::string& out, const weights::CombineReport& report) {
  std::string line = cat(out, ": ", report.tensors, report.tensors == 1 ? " tensor, " : " tensors, ", report.changed,
                         " of ", report.entries, " entries changed");
  if (report.lost > 0) line += cat(", ", report.lost, " changes too small for their type");
  return cat(line, ", ", bytes_text(report.bytes));
}

Node report_node(const std::string& out, const weights::CombineReport& report) {
  return Node::map({{"schema", Node::integer(1)},
                    {"path", Node::text(out)},
                    {"tensors", Node::integer(static_cast<std::int64_t>(report.tensors))},
                    {"changed_tensors", Node::integer(static_cast<std::int64_t>(report.changed_tensors))},
                    {"entries", Node::integer(report.entries)},
                    {"changed", Node::integer(report.changed)},
                    {"lost", Node::integer(report.lost)},
                    {"bytes", Node::integer(static_cast<std::int64_t>(report.bytes))}});
}

}  // namespace solera::cli
