// The one list of merge methods. A row enrols a method in the planner, `solera methods`, docs/methods.md and the
// conformance suite (tests/conformance/merge_methods_test.cpp).
#pragma once

#include <span>
#include <string_view>

#include "solera/merge/method.h"

namespace solera::merge {

std::span<const Method> methods();
// By name; throws Error (usage) with the nearest name: `unknown merge method "tyes" (f.yaml:1:15); did you mean ties?`
const Method& method(std::string_view name, const std::string& where = "");

}  // namespace solera::merge
