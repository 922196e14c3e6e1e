#include <algorithm>
#include <cctype>
#include <functional>
#include <string_view>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"
#include "solera/recipe/recipe.h"

namespace solera::recipe {

namespace {

constexpr std::size_t kMostInstances = 100000;
constexpr std::size_t kLongestName = 200;  // file systems allow 255

std::size_t number_of(const Recipe& recipe, const std::string& name) {
  const auto found =
      std::find_if(recipe.steps.begin(), recipe.steps.end(), [&](const Step& s) { return s.name == name; });
  return static_cast<std::size_t>(found - recipe.steps.begin());
}

// Step numbers, needed ones first, file order otherwise.
std::vector<std::size_t> order_of(const Recipe& recipe) {
  std::vector<std::size_t> order;
  std::vector<bool> done(recipe.steps.size());
  std::vector<std::string> path;  // of steps being visited
  const std::function<void(std::size_t)> visit = [&](std::size_t i) {
    const Step& step = recipe.steps[i];
    if (done[i]) return;
    const auto first = std::find(path.begin(), path.end(), step.name);
    if (first != path.end()) {
      std::vector<std::string> circle(first, path.end());
      circle.push_back(step.name);
      throw input_error(cat("steps need each other in a circle: ", join(circle, " needs ")), step.where);
    }
    path.push_back(step.name);
    for (const std::string& need : step.needs) visit(number_of(recipe, need));
    path.pop_back();
    done[i] = true;
    order.push_back(i);
  };
  for (std::size_t i = 0; i < recipe.steps.size(); ++i) visit(i);
  return order;
}

// Do two instances agree on every variable that both have?
bool agree(const Step& a, const std::vector<std::string>& a_values, const Step& b,
           const std::vector<std::string>& b_values) {
  for (std::size_t i = 0; i < a.foreach.size(); ++i)
    for (std::size_t j = 0; j < b.foreach.size(); ++j)
      if (a.foreach[i].first == b.foreach[j].first && a_values[i] != b_values[j]) return false;
  return true;
}

// Every combination of values, the last variable fastest.
std::vector<std::vector<std::string>> combinations_of(const Step& step) {
  std::vector<std::vector<std::string>> combinations = {{}};
  for (const auto& [variable, values] : step.foreach) {
    if (combinations.size() * values.size() > kMostInstances)
      throw input_error(cat("step ", step.name, " has more than ", kMostInstances, " combinations of values"),
                        step.where);
    std::vector<std::vector<std::string>> longer;
    for (const auto& combination : combinations)
      for (const std::string& value : values) {
        longer.push_back(combination);
        longer.back().push_back(value);
      }
    combinations = std::move(longer);
  }
  return combinations;
}

// A value as a part of a file name: other characters than these as %2F, so that no value leaves its folder and no two
// values share one.
std::string safe_name(std::string_view value) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string name;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || std::string_view("._+-@").find(c) != std::string_view::npos) {
      name += c;
    } else {
      name += '%';
      name += kDigits[byte / 16];
      name += kDigits[byte % 16];
    }
  }
  return name;
}

Instance make_instance(const Step& step, std::size_t number, std::vector<std::string> values) {
  Instance instance{.step = number, .values = std::move(values), .label = step.name, .folder = step.name};
  if (step.foreach.empty()) return instance;
  std::vector<std::string> bindings, names;
  for (std::size_t v = 0; v < step.foreach.size(); ++v) {
    bindings.push_back(cat(step.foreach[v].first, "=", instance.values[v]));
    names.push_back(cat(step.foreach[v].first, "=", safe_name(instance.values[v])));
  }
  std::string name = join(names, ",");
  if (name.size() > kLongestName) name = cat(name.substr(0, kLongestName - 34), "~", hash_text(name));
  instance.label = cat(step.name, "[", join(bindings, ","), "]");
  instance.folder = join_path(step.name, name);
  return instance;
}

}  // namespace

std::vector<Instance> expand(const Recipe& recipe) {
  std::vector<Instance> instances;
  for (const std::size_t number : order_of(recipe)) {
    const Step& step = recipe.steps[number];
    const std::size_t earlier = instances.size();
    for (auto& values : combinations_of(step)) {
      Instance instance = make_instance(step, number, std::move(values));
      for (std::size_t i = 0; i < earlier; ++i) {
        const Step& other = recipe.steps[instances[i].step];
        if (std::find(step.needs.begin(), step.needs.end(), other.name) != step.needs.end() &&
            agree(step, instance.values, other, instances[i].values))
          instance.needs.push_back(i);
      }
      instances.push_back(std::move(instance));
      if (instances.size() > kMostInstances)
        throw input_error(cat("more than ", kMostInstances, " runs of steps"), step.where);
    }
  }
  return instances;
}

}  // namespace solera::recipe
