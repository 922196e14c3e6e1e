#include "solera/recipe/recipe.h"

#include <algorithm>
#include <functional>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/process.h"
#include "solera/base/text.h"

namespace solera::recipe {

namespace {

constexpr std::int64_t kLongestRange = 100000;

const std::vector<std::string> kRecipeKeys = {"name", "about", "paper", "parameters", "quick", "steps", "claims"};
const std::vector<std::string> kStepKeys = {"run", "needs", "inputs", "outputs", "foreach", "result"};
const std::vector<std::string> kClaimKeys = {"claim", "expr", "source"};

std::string text_of(const Node& map, std::string_view key) {
  const Node* node = map.find(key);
  return node ? node->as_text() : "";
}

std::vector<std::string> texts(const Node* node) {
  std::vector<std::string> list;
  if (!node) return list;
  if (node->is_scalar()) return {node->as_text()};
  for (const Node& item : node->items()) list.push_back(item.as_text());
  return list;
}

// "1..10" as its numbers; anything else as itself.
std::vector<std::string> range(const std::string& text, const std::string& where) {
  const std::size_t dots = text.find("..");
  const auto first = parse_int(text.substr(0, dots));
  const auto last = dots == std::string::npos ? std::nullopt : parse_int(text.substr(dots + 2));
  if (!first || !last) return {text};
  if (*last < *first || *last - *first > kLongestRange)
    throw input_error(cat("the range ", text, " is empty or too long"), where);
  std::vector<std::string> values;
  for (std::int64_t i = *first; i <= *last; ++i) values.push_back(std::to_string(i));
  return values;
}

Step parse_step(const std::string& name, const Node& node, const std::map<std::string, std::string>& parameters) {
  require_known_keys(node, kStepKeys, cat("in step ", name));
  Step step{.name = name, .where = node.where()};
  const Node& run = node.at("run");
  if (run.is_list())
    step.argv = texts(&run);
  else
    step.shell = run.as_text();
  step.needs = texts(node.find("needs"));
  step.inputs = texts(node.find("inputs"));
  step.result = text_of(node, "result");
  if (const Node* outputs = node.find("outputs"))
    for (const auto& [key, path] : outputs->entries()) step.outputs[key] = path.as_text();
  if (const Node* foreach = node.find("foreach"))
    for (const auto& [variable, values] : foreach->entries()) {
      std::vector<std::string> list;
      for (const std::string& value : texts(&values))
        for (const std::string& one : range(fill_placeholders(value, parameters, false), values.where()))
          list.push_back(one);
      if (list.empty()) throw input_error(cat("no values for ", variable), values.where());
      if (parameters.count(variable))
        throw input_error(cat(variable, " is a parameter and a variable"), values.where());
      step.foreach.emplace_back(variable, std::move(list));
    }
  return step;
}

std::string whole_command(const Step& step) { return step.argv.empty() ? step.shell : join(step.argv, " "); }

// Steps that placeholders name are needed; names that are none are refused here rather than after an hour.
void check_step(Step& step, const Recipe& recipe) {
  std::vector<std::string> names;
  for (const Step& other : recipe.steps) names.push_back(other.name);
  const auto find = [&](const std::string& name) -> const Step& {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      throw input_error(cat("step ", step.name, " needs an unknown step ", name), step.where,
                        did_you_mean(name, names));
    return recipe.steps[static_cast<std::size_t>(found - names.begin())];
  };
  for (const std::string& name : step.needs) find(name);
  std::string text = whole_command(step);
  for (const std::string& input : step.inputs) text += " " + input;
  for (const std::string& name : placeholders(text)) {
    const std::size_t dot = name.find('.');
    if (dot == std::string::npos) {
      std::vector<std::string> known = {"here"};
      for (const auto& [key, value] : recipe.parameters) known.push_back(key);
      for (const auto& [variable, values] : step.foreach) known.push_back(variable);
      if (std::find(known.begin(), known.end(), name) == known.end())
        throw input_error(cat("unknown placeholder {", name, "} in step ", step.name), step.where,
                          did_you_mean(name, known));
      continue;
    }
    const Step& needed = find(name.substr(0, dot));
    const std::string output = name.substr(name.rfind('.') + 1);
    if (!needed.outputs.count(output))
      throw input_error(cat("step ", needed.name, " has no output ", output), step.where,
                        cat("list it under outputs of ", needed.name));
    if (std::find(step.needs.begin(), step.needs.end(), needed.name) == step.needs.end())
      step.needs.push_back(needed.name);
  }
}

// Step numbers, needed ones first, file order otherwise.
std::vector<std::size_t> order_of(const Recipe& recipe) {
  std::vector<std::size_t> order;
  std::vector<int> state(recipe.steps.size());  // 1: being visited, 2: done
  const std::function<void(std::size_t)> visit = [&](std::size_t i) {
    if (state[i] == 2) return;
    const Step& step = recipe.steps[i];
    if (state[i] == 1) throw input_error(cat("step ", step.name, " needs itself, by way of others"), step.where);
    state[i] = 1;
    for (const std::string& need : step.needs)
      for (std::size_t j = 0; j < recipe.steps.size(); ++j)
        if (recipe.steps[j].name == need) visit(j);
    state[i] = 2;
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

}  // namespace

std::vector<std::string> placeholders(const std::string& text) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((text[i] == '{' || text[i] == '}') && i + 1 < text.size() && text[i + 1] == text[i]) {
      ++i;
    } else if (text[i] == '{') {
      const std::size_t end = text.find('}', i);
      if (end == std::string::npos) break;
      names.push_back(text.substr(i + 1, end - i - 1));
      i = end;
    }
  }
  return names;
}

Recipe parse_recipe(const Node& document, const std::string& folder, bool quick) {
  require_known_keys(document, kRecipeKeys, "in a recipe");
  Recipe recipe{
      .name = document.at("name").as_text(), .about = text_of(document, "about"), .paper = text_of(document, "paper")};
  recipe.folder = folder;
  if (const Node* parameters = document.find("parameters"))
    for (const auto& [key, value] : parameters->entries()) recipe.parameters[key] = value.as_text();
  if (const Node* changes = document.find("quick"))
    for (const auto& [key, value] : changes->entries()) {
      if (!recipe.parameters.count(key))
        throw input_error(cat("quick changes an unknown parameter ", key), value.where());
      if (quick) recipe.parameters[key] = value.as_text();
    }
  for (const auto& [name, node] : document.at("steps").entries())
    recipe.steps.push_back(parse_step(name, node, recipe.parameters));
  for (Step& step : recipe.steps) check_step(step, recipe);
  order_of(recipe);
  if (const Node* claims = document.find("claims"))
    for (const Node& node : claims->items()) {
      require_known_keys(node, kClaimKeys, "in a claim");
      recipe.claims.push_back({node.at("claim").as_text(),
                               fill_placeholders(node.at("expr").as_text(), recipe.parameters, false),
                               text_of(node, "source"), node.where()});
    }
  return recipe;
}

Recipe read_recipe(const std::string& path, bool quick) {
  return parse_recipe(read_yaml(path), parent_folder(path), quick);
}

std::vector<Instance> expand(const Recipe& recipe) {
  std::vector<Instance> instances;
  for (const std::size_t number : order_of(recipe)) {
    const Step& step = recipe.steps[number];
    std::vector<std::vector<std::string>> combinations = {{}};
    for (const auto& [variable, values] : step.foreach) {
      std::vector<std::vector<std::string>> longer;
      for (const auto& combination : combinations)
        for (const std::string& value : values) {
          longer.push_back(combination);
          longer.back().push_back(value);
        }
      combinations = std::move(longer);
    }
    for (auto& values : combinations) {
      Instance instance{.step = number, .values = std::move(values)};
      std::vector<std::string> bindings;
      for (std::size_t v = 0; v < step.foreach.size(); ++v)
        bindings.push_back(step.foreach[v].first + "=" + instance.values[v]);
      instance.label = bindings.empty() ? step.name : cat(step.name, "[", join(bindings, ","), "]");
      instance.folder = bindings.empty() ? step.name : join_path(step.name, join(bindings, ","));
      for (std::size_t i = 0; i < instances.size(); ++i) {
        const Step& other = recipe.steps[instances[i].step];
        if (std::find(step.needs.begin(), step.needs.end(), other.name) != step.needs.end() &&
            agree(step, instance.values, other, instances[i].values))
          instance.needs.push_back(i);
      }
      instances.push_back(std::move(instance));
    }
  }
  return instances;
}

}  // namespace solera::recipe
