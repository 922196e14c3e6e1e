#include "solera/recipe/recipe.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <string_view>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/process.h"
#include "solera/base/text.h"
#include "solera/recipe/expression.h"
#include "solera/recipe/placeholder.h"

namespace solera::recipe {

namespace {

constexpr std::int64_t kLongestRange = 100000;

const std::vector<std::string> kRecipeKeys = {"name", "about", "paper", "parameters", "quick", "steps", "claims"};
const std::vector<std::string> kStepKeys = {"run", "needs", "inputs", "outputs", "foreach", "result"};
const std::vector<std::string> kClaimKeys = {"claim", "expr", "source"};
const std::vector<std::string> kReserved = {"here", "all", "and", "or", "not"};

using Parameters = std::map<std::string, std::string>;

bool contains(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

std::string text_of(const Node& map, std::string_view key) {
  const Node* node = map.find(key);
  return node && !node->is_null() ? node->as_text() : "";
}

// A list of texts, or one text.
std::vector<std::string> texts(const Node* node) {
  if (!node || node->is_null()) return {};
  if (!node->is_list()) return {node->as_text()};
  std::vector<std::string> list;
  for (const Node& item : node->items()) list.push_back(item.as_text());
  return list;
}

std::span<const std::pair<std::string, Node>> entries_of(const Node& map, std::string_view key) {
  const Node* node = map.find(key);
  if (!node || node->is_null()) return {};
  if (!node->is_map()) throw input_error(cat('"', key, "\" is not a map of names to values"), node->where());
  return node->entries();
}

// Names stand in placeholders, expressions and folder names.
void require_name(const std::string& name, const char* what, const std::string& where) {
  const bool fits = !name.empty() && !std::isdigit(static_cast<unsigned char>(name[0])) &&
                    std::all_of(name.begin(), name.end(),
                                [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; });
  if (!fits) throw input_error(cat("\"", name, "\" cannot name ", what), where, "use letters, digits and _");
  if (contains(kReserved, name))
    throw input_error(cat("\"", name, "\" cannot name ", what), where, "it has a meaning already");
}

// A file that a step makes lies in the step's folder, beside ours.
void require_inside(const std::string& path, const std::string& where) {
  const std::vector<std::string> parts = split(path, '/');
  if (path.empty() || path.front() == '/' || contains(parts, "..") || contains(parts, "."))
    throw input_error(cat("the path \"", path, "\" is not inside the step's folder"), where,
                      "write it from there, as in model.safetensors");
  if (path == "step.json") throw input_error("step.json is the runner's own file", where, "choose another name");
}

std::string filled(const std::string& text, const Parameters& parameters, const std::string& where) {
  try {
    return fill_placeholders(text, parameters, false);
  } catch (const Error& error) {
    throw input_error(error.problem(), where, error.hint());
  }
}

// "1..10" as its numbers; anything else as itself.
std::vector<std::string> range(const std::string& text, const std::string& where) {
  const std::size_t dots = text.find("..");
  const auto first = parse_int(text.substr(0, dots));
  const auto last = dots == std::string::npos ? std::nullopt : parse_int(text.substr(dots + 2));
  if (!first || !last) return {text};
  if (*last < *first) throw input_error(cat("the range ", text, " is empty"), where);
  if (static_cast<std::uint64_t>(*last) - static_cast<std::uint64_t>(*first) >= kLongestRange)
    throw input_error(cat("the range ", text, " has more than ", kLongestRange, " numbers"), where);
  std::vector<std::string> values;
  for (std::int64_t i = *first; i <= *last; ++i) values.push_back(std::to_string(i));
  return values;
}

std::vector<std::string> values_of(const std::string& variable, const Node& node, const Parameters& parameters) {
  require_name(variable, "a variable", node.key_where());
  if (parameters.count(variable))
    throw input_error(cat(variable, " is a parameter and a variable"), node.key_where(), "rename one of them");
  std::vector<std::string> list;
  std::set<std::string> seen;
  for (const std::string& text : texts(&node))
    for (const std::string& value : range(filled(text, parameters, node.where()), node.where())) {
      if (!seen.insert(value).second)
        throw input_error(cat(variable, " has the value ", value, " twice"), node.where());
      list.push_back(value);
    }
  if (list.empty()) throw input_error(cat("no values for ", variable), node.where());
  return list;
}

Step parse_step(const std::string& name, const Node& node, const Parameters& parameters) {
  require_name(name, "a step", node.key_where());
  require_known_keys(node, kStepKeys, cat("in step ", name));
  Step step{.name = name, .where = node.key_where()};
  const Node& run = node.at("run");
  if (run.is_list())
    step.argv = texts(&run);
  else
    step.shell = run.as_text();
  if (step.argv.empty() && trim(step.shell).empty())
    throw input_error(cat("step ", name, " runs nothing"), run.where());
  step.needs = texts(node.find("needs"));
  step.inputs = texts(node.find("inputs"));
  if (contains(step.inputs, "")) throw input_error(cat("step ", name, " has an input without a name"), step.where);
  step.result = text_of(node, "result");
  if (!step.result.empty()) require_inside(step.result, node.find("result")->where());
  for (const auto& [key, path] : entries_of(node, "outputs")) {
    require_name(key, "an output", path.key_where());
    require_inside(path.as_text(), path.where());
    step.outputs[key] = path.as_text();
  }
  for (const auto& [variable, values] : entries_of(node, "foreach"))
    step.foreach.emplace_back(variable, values_of(variable, values, parameters));
  return step;
}

const Step& needed_step(const Step& step, const Recipe& recipe, const std::string& name) {
  std::vector<std::string> names;
  for (const Step& other : recipe.steps) {
    if (other.name == name) return other;
    names.push_back(other.name);
  }
  throw input_error(cat("step ", step.name, " needs an unknown step ", name), step.where, did_you_mean(name, names));
}

void check_plain(const std::string& name, const Step& step, const Recipe& recipe) {
  std::vector<std::string> known = {"here"};
  for (const auto& [key, value] : recipe.parameters) known.push_back(key);
  for (const auto& [variable, values] : step.foreach) known.push_back(variable);
  if (contains(known, name)) return;
  const std::string near = did_you_mean(name, known);
  throw input_error(cat("unknown placeholder {", name, "} in step ", step.name), step.where,
                    near.empty() ? cat("known: ", join(known, ", "), "; write {{ for a brace") : near);
}

// Steps that placeholders name are needed; names that are none are refused here rather than after an hour.
void check_text(const std::string& text, Step& step, const Recipe& recipe) {
  for (const std::string& name : placeholders(text)) {
    const auto reference = reference_of(name);
    if (!reference) {
      check_plain(name, step, recipe);
      continue;
    }
    const Step& needed = needed_step(step, recipe, reference->step);
    if (!needed.outputs.count(reference->output)) {
      std::vector<std::string> outputs;
      for (const auto& [key, path] : needed.outputs) outputs.push_back(key);
      const std::string near = did_you_mean(reference->output, outputs);
      throw input_error(
          cat("step ", needed.name, " has no output ", reference->output, ", which step ", step.name, " names"),
          step.where, near.empty() ? cat("list it under outputs of ", needed.name) : near);
    }
    if (!contains(step.needs, needed.name)) step.needs.push_back(needed.name);
  }
}

void check_step(Step& step, const Recipe& recipe) {
  for (const std::string& name : step.needs) needed_step(step, recipe, name);
  check_text(step.shell, step, recipe);
  for (const std::string& word : step.argv) {
    check_text(word, step, recipe);
    for (const std::string& name : placeholders(word))
      if (const auto reference = reference_of(name); reference && reference->all && word != cat("{", name, "}"))
        throw input_error(cat("{", name, "} in step ", step.name, " is many words, so it has to be a word of its own"),
                          step.where);
  }
  for (const std::string& input : step.inputs) check_text(input, step, recipe);
}

// Is every {step.output} one path, for every combination of values?
void check_paths(const Recipe& recipe) {
  const std::vector<Instance> instances = expand(recipe);
  for (const Instance& instance : instances) {
    const Step& step = recipe.steps[instance.step];
    std::vector<std::string> names = placeholders(step.shell);
    for (const auto* list : {&step.argv, &step.inputs})
      for (const std::string& text : *list)
        for (std::string& name : placeholders(text)) names.push_back(std::move(name));
    for (const std::string& name : names) {
      const auto reference = reference_of(name);
      if (!reference) continue;
      const auto paths = std::count_if(instance.needs.begin(), instance.needs.end(), [&](std::size_t need) {
        return recipe.steps[instances[need].step].name == reference->step;
      });
      if (paths == 0)
        throw input_error(cat("{", name, "} is no path in ", instance.label), step.where,
                          cat("step ", reference->step, " has no such values"));
      if (!reference->all && paths > 1)
        throw input_error(cat("{", name, "} is ", paths, " paths in ", instance.label), step.where,
                          cat("write {", reference->step, ".*.", reference->output, "} for all of them"));
    }
  }
}

Claim parse_claim(const Node& node, const Recipe& recipe) {
  require_known_keys(node, kClaimKeys, "in a claim");
  const Node& expression = node.at("expr");
  Claim claim{node.at("claim").as_text(), filled(expression.as_text(), recipe.parameters, expression.where()),
              text_of(node, "source"), expression.where()};
  std::vector<std::string> names;
  for (const Step& step : recipe.steps) names.push_back(step.name);
  try {
    for (const Name& name : Expression(claim.expression).names()) {
      const auto step = std::find(names.begin(), names.end(), name.parts.front());
      if (step == names.end())
        throw input_error(cat("no step ", name.parts.front()), "", did_you_mean(name.parts.front(), names));
      const auto& variables = recipe.steps[static_cast<std::size_t>(step - names.begin())].foreach;
      if (name.parts.size() >= 1 + variables.size()) continue;
      std::string form = *step;
      for (const auto& [variable, values] : variables) form += cat(".", variable);
      throw input_error(cat(join(name.parts, "."), " is not ", form, ".KEY"), "",
                        "give a value for each, or * for all");
    }
  } catch (const Error& error) {
    throw input_error(
        cat("claim \"", claim.text, "\": ", error.problem(), error.where().empty() ? "" : ", ", error.where()),
        claim.where, error.hint());
  }
  return claim;
}

}  // namespace

Recipe parse_recipe(const Node& document, const std::string& folder, bool quick) {
  require_known_keys(document, kRecipeKeys, "in a recipe");
  const Node& name = document.at("name");
  Recipe recipe{.name = name.as_text(), .about = text_of(document, "about"), .paper = text_of(document, "paper")};
  recipe.folder = folder;
  if (recipe.name.empty() || recipe.name.front() == '.' || recipe.name.find('/') != std::string::npos)
    throw input_error(cat("\"", recipe.name, "\" cannot name a recipe"), name.where(), "it becomes a folder's name");
  for (const auto& [key, value] : entries_of(document, "parameters")) {
    require_name(key, "a parameter", value.key_where());
    recipe.parameters[key] = value.as_text();
  }
  for (const auto& [key, value] : entries_of(document, "quick")) {
    std::vector<std::string> known;
    for (const auto& [parameter, unused] : recipe.parameters) known.push_back(parameter);
    if (!contains(known, key))
      throw input_error(cat("quick changes an unknown parameter ", key), value.key_where(), did_you_mean(key, known));
    if (quick) recipe.parameters[key] = value.as_text();
  }
  const Node& steps = document.at("steps");
  for (const auto& [key, node] : entries_of(document, "steps"))
    recipe.steps.push_back(parse_step(key, node, recipe.parameters));
  if (recipe.steps.empty()) throw input_error("a recipe without steps", steps.where());
  for (Step& step : recipe.steps) check_step(step, recipe);
  check_paths(recipe);
  const Node* claims = document.find("claims");
  if (claims && !claims->is_null() && !claims->is_list())
    throw input_error("\"claims\" is not a list", claims->where());
  if (claims)
    for (const Node& node : claims->items()) recipe.claims.push_back(parse_claim(node, recipe));
  return recipe;
}

Recipe read_recipe(const std::string& path, bool quick) {
  return parse_recipe(read_yaml(path), parent_folder(path), quick);
}

}  // namespace solera::recipe
