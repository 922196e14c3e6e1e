#include "solera/recipe/claims.h"

#include <algorithm>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::recipe {

namespace {

std::string shortened(const Node& node) {
  const std::string text = to_json(node);
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

double number_of(const Node& node, const std::string& label) {
  if (const auto value = node.try_double()) return *value;
  if (const auto truth = node.try_bool()) return *truth ? 1 : 0;
  throw input_error(cat(label, " is ", shortened(node), ", not a number"));
}

[[noreturn]] void fail_missing(const Node& node, const std::string& label, const std::string& part) {
  if (node.is_list()) throw input_error(cat(label, " has no ", part, ", it is a list of ", node.items().size()));
  if (!node.is_map()) throw input_error(cat(label, " has no ", part, ", it is ", shortened(node)));
  std::vector<std::string> keys;
  for (const auto& [key, value] : node.entries()) keys.push_back(key);
  const std::string near = did_you_mean(part, keys);
  throw input_error(cat(label, " has no ", part), "",
                    !near.empty()  ? near
                    : keys.empty() ? "it is empty"
                                   : cat("it has ", join(keys, ", ")));
}

const Node* child_of(const Node& node, const std::string& part) {
  if (part.starts_with('/')) return node.pointer(part);
  if (!node.is_list()) return node.find(part);
  const auto index = parse_int(part);
  return index && *index >= 0 && *index < std::ssize(node.items()) ? &node.items()[static_cast<std::size_t>(*index)]
                                                                   : nullptr;
}

// Follows parts [at, ...) of a name; `*` spreads over a list or map.
void collect(const Node& node, const Name& name, std::size_t at, const std::string& label, std::vector<double>& numbers,
             bool& many) {
  const bool last = at == name.parts.size();
  if (last && !node.is_list()) return numbers.push_back(number_of(node, label));
  if (last || name.parts[at] == "*") {
    if (!node.is_list() && !node.is_map()) fail_missing(node, label, "*");
    const std::size_t next = last ? at : at + 1;
    many = true;
    for (std::size_t i = 0; i < node.items().size(); ++i) {
      const std::string place = cat(label, ".", i);
      if (last)
        numbers.push_back(number_of(node.items()[i], place));
      else
        collect(node.items()[i], name, next, place, numbers, many);
    }
    for (const auto& [key, item] : node.entries()) collect(item, name, next, cat(label, ".", key), numbers, many);
    return;
  }
  const Node* child = child_of(node, name.parts[at]);
  if (!child) fail_missing(node, label, name.parts[at]);
  collect(*child, name, at + 1, cat(label, ".", name.parts[at]), numbers, many);
}

const Step* find_step(const Recipe& recipe, const std::string& name) {
  for (const Step& step : recipe.steps)
    if (step.name == name) return &step;
  return nullptr;
}

std::string with_error(double value, double error) {
  return error > 0 ? cat(number_text(value, 4), " ± ", number_text(error, 2)) : number_text(value, 6);
}

std::string measured_text(const Verdict& verdict) {
  std::vector<std::string> sides;
  for (const Comparison& c : verdict.comparisons)
    sides.push_back(cat(with_error(c.left, c.left_error), " ", c.sign, " ", with_error(c.right, c.right_error)));
  return join(sides, ", ");
}

// Have all instances of the steps that an expression names run?
bool can_check(const Recipe& recipe, const RunReport& report, const Expression& expression) {
  for (const Name& name : expression.names())
    for (std::size_t i = 0; i < report.instances.size(); ++i)
      if (recipe.steps[report.instances[i].step].name == name.parts.front() && !report.results[i].done) return false;
  return true;
}

std::string verdict_text(const CheckedClaim& claim) {
  return !claim.checked ? "not checked" : claim.verdict.holds ? "holds" : "does not hold";
}

}  // namespace

Value look_up(const Recipe& recipe, const RunReport& report, const Name& name) {
  const Step* step = find_step(recipe, name.parts.front());
  if (!step) {
    std::vector<std::string> names;
    for (const Step& known : recipe.steps) names.push_back(known.name);
    throw input_error(cat("no step ", name.parts.front()), "", did_you_mean(name.parts.front(), names));
  }
  const std::size_t variables = step->foreach.size();
  if (name.parts.size() < 1 + variables)
    throw input_error(cat("step ", step->name, " has ", variables, variables == 1 ? " variable" : " variables"), "",
                      "give a value for each, or * for all");
  Value value;
  std::size_t runs = 0;
  for (std::size_t i = 0; i < report.instances.size(); ++i) {
    const Instance& instance = report.instances[i];
    if (&recipe.steps[instance.step] != step) continue;
    bool matches = true;
    for (std::size_t v = 0; v < variables; ++v) {
      const std::string& part = name.parts[1 + v];
      value.is_list = value.is_list || part == "*";
      matches = matches && (part == "*" || part == instance.values[v]);
    }
    if (!matches) continue;
    ++runs;
    if (report.results[i].result.is_null())
      throw input_error(cat(instance.label, " has no result"), "",
                        "its output should end in a JSON object, or `result:` name a file that it makes");
    collect(report.results[i].result, name, 1 + variables, instance.label, value.numbers, value.is_list);
  }
  if (runs == 0) throw input_error(cat("no run of step ", step->name, " has these values"));
  return value;
}

std::vector<CheckedClaim> check_claims(const Recipe& recipe, const RunReport& report) {
  std::vector<CheckedClaim> checked;
  for (const Claim& claim : recipe.claims) {
    CheckedClaim result{.claim = claim};
    try {
      const Expression expression(claim.expression);
      result.checked = can_check(recipe, report, expression);
      if (result.checked)
        result.verdict = expression.judge([&](const Name& name) { return look_up(recipe, report, name); });
    } catch (const Error& error) {
      throw input_error(cat("claim \"", claim.text, "\": ", error.problem(), ", ", error.where()), claim.where,
                        error.hint());
    }
    result.measured = measured_text(result.verdict);
    checked.push_back(std::move(result));
  }
  return checked;
}

bool all_hold(const std::vector<CheckedClaim>& claims) {
  return std::all_of(claims.begin(), claims.end(), [](const CheckedClaim& c) { return !c.checked || c.verdict.holds; });
}

Table claims_table(const std::vector<CheckedClaim>& claims) {
  Table table{{"claim", "measured", "verdict", "source"}, {}};
  for (const CheckedClaim& c : claims)
    table.rows.push_back({c.claim.text, c.measured, verdict_text(c), c.claim.source});
  return table;
}

Node report_node(const Recipe& recipe, const RunReport& report, const std::vector<CheckedClaim>& claims) {
  Node node = Node::map(
      {{"schema", Node::integer(1)}, {"recipe", Node::text(recipe.name)}, {"paper", Node::text(recipe.paper)}});
  Node parameters = Node::map();
  for (const auto& [name, value] : recipe.parameters) parameters.set(name, Node::text(value));
  node.set("parameters", std::move(parameters));
  Node steps = Node::list();
  for (std::size_t i = 0; i < report.instances.size(); ++i) {
    if (!report.results[i].done) continue;
    steps.push(Node::map({{"step", Node::text(report.instances[i].label)},
                          {"seconds", Node::number(report.results[i].seconds)},
                          {"cached", Node::boolean(report.results[i].cached)},
                          {"result", report.results[i].result}}));
  }
  node.set("steps", std::move(steps));
  Node list = Node::list();
  for (const CheckedClaim& c : claims) {
    Node sides = Node::list();
    for (const Comparison& one : c.verdict.comparisons)
      sides.push(Node::map({{"left", Node::number(one.left)},
                            {"left_error", Node::number(one.left_error)},
                            {"sign", Node::text(one.sign)},
                            {"right", Node::number(one.right)},
                            {"right_error", Node::number(one.right_error)}}));
    list.push(Node::map({{"claim", Node::text(c.claim.text)},
                         {"expression", Node::text(c.claim.expression)},
                         {"source", Node::text(c.claim.source)},
                         {"verdict", Node::text(verdict_text(c))},
                         {"measured", std::move(sides)}}));
  }
  node.set("claims", std::move(list));
  return node;
}

std::string report_markdown(const Recipe& recipe, const RunReport& report, const std::vector<CheckedClaim>& claims) {
  double seconds = 0;
  std::size_t runs = 0;
  for (const StepResult& result : report.results)
    if (result.done) {
      seconds += result.seconds;
      ++runs;
    }
  std::string text = cat("# ", recipe.name, "\n\n");
  for (const std::string& line : {recipe.about, recipe.paper})
    if (!line.empty()) text += cat(line, "\n\n");
  for (const auto& [name, value] : recipe.parameters) text += cat("- ", name, ": ", value, "\n");
  if (!recipe.parameters.empty()) text += "\n";
  text +=
      cat(runs, runs == 1 ? " run" : " runs", " of steps, ", duration_text(seconds), " in all, cached ones counted.\n");
  return claims.empty() ? text : cat(text, "\n", table_markdown(claims_table(claims)));
}

}  // namespace solera::recipe
