#include "solera/base/error.h"

#include <system_error>
#include <utility>

namespace solera {
namespace {

std::string whole_line(const std::string& problem, const std::string& where, const std::string& hint) {
  std::string line = problem;
  if (!where.empty()) line += " (" + where + ")";
  if (!hint.empty()) line += "; " + hint;
  return line;
}

}  // namespace

Error::Error(ErrorKind kind, std::string what, std::string where, std::string hint)
    : std::runtime_error(whole_line(what, where, hint)),
      kind_(kind),
      problem_(std::move(what)),
      where_(std::move(where)),
      hint_(std::move(hint)) {}

Error usage_error(std::string what, std::string where, std::string hint) {
  return {ErrorKind::kUsage, std::move(what), std::move(where), std::move(hint)};
}

Error input_error(std::string what, std::string where, std::string hint) {
  return {ErrorKind::kInput, std::move(what), std::move(where), std::move(hint)};
}

Error io_error(std::string what, std::string where, std::string hint) {
  return {ErrorKind::kIo, std::move(what), std::move(where), std::move(hint)};
}

Error internal_error(std::string what, std::string where) {
  return {ErrorKind::kInternal, std::move(what), std::move(where), "this is a bug in Solera, please report it"};
}

std::string errno_text(int code) { return std::generic_category().message(code); }

}  // namespace solera
