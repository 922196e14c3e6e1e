// `solera methods`: the table of merge methods, or all that there is to know of one.
#include "solera/merge/methods.h"

#include <memory>
#include <ostream>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/table.h"
#include "solera/base/text.h"
#include "solera/cli/help.h"
#include "solera/cli/verbs.h"

namespace solera::cli {
namespace {

using merge::Field;
using merge::Method;

std::string base_text(merge::BasePolicy policy) {
  switch (policy) {
    case merge::BasePolicy::kNone:
      return "not used";
    case merge::BasePolicy::kAsModel:
      return "one more model";
    case merge::BasePolicy::kOptional:
      return "optional";
    case merge::BasePolicy::kRequired:
      break;
  }
  return "required";
}

std::string models_text(const Method& method) {
  std::string least = std::to_string(method.min_models);
  if (method.max_models == method.min_models) return least;
  return method.max_models >= 1 << 20 ? least + " or more" : least + " to " + std::to_string(method.max_models);
}

std::string mergekit_text(const Field& field) {
  if (field.required || field.required_by_mergekit) return "must be given";
  return field.mergekit_default.value_or("");
}

std::string default_text(const Field& field) { return field.required ? "must be given" : field.default_text(); }

Table parameter_table(const std::vector<Field>& fields) {
  Table table{{"parameter", "default", "mergekit", "range", "aliases", "meaning"}, {}};
  for (const Field& field : fields) {
    table.rows.push_back(
        {field.name, default_text(field), mergekit_text(field), field.range, join(field.aliases, ", "), field.meaning});
  }
  return table;
}

std::string parameter_rows(const std::vector<Field>& fields) {
  std::vector<HelpRow> rows;
  for (const Field& field : fields) {
    std::string text = field.meaning;
    if (!field.range.empty()) text += "; " + field.range;
    text += field.required ? "; must be given" : "; default " + field.default_text();
    if (!field.required && field.required_by_mergekit) {
      text += ", mergekit's files must give it";
    } else if (field.mergekit_default) {
      text += ", in mergekit's files " + *field.mergekit_default;
    }
    if (!field.aliases.empty()) text += "; also " + join(field.aliases, ", ");
    rows.push_back({field.name, std::move(text)});
  }
  return rows_text(rows);
}

Node fields_json(const std::vector<Field>& fields) {
  Node list = Node::list();
  for (const Field& field : fields) {
    Node one = Node::map();
    one.set("name", Node::text(field.name));
    one.set("meaning", Node::text(field.meaning));
    one.set("range", Node::text(field.range));
    one.set("default", field.required ? Node() : Node::text(field.default_text()));
    one.set("required", Node::boolean(field.required));
    one.set("required_by_mergekit", Node::boolean(field.required || field.required_by_mergekit));
    if (field.mergekit_default) one.set("mergekit_default", Node::text(*field.mergekit_default));
    Node aliases = Node::list();
    for (const std::string& alias : field.aliases) aliases.push(Node::text(alias));
    one.set("aliases", std::move(aliases));
    list.push(std::move(one));
  }
  return list;
}

Node method_json(const Method& method) {
  Node one = Node::map();
  one.set("name", Node::text(method.name));
  one.set("summary", Node::text(method.summary));
  one.set("citation", Node::text(method.citation));
  one.set("base_model", Node::text(base_text(method.base)));
  one.set("min_models", Node::integer(method.min_models));
  one.set("max_models", method.max_models >= 1 << 20 ? Node() : Node::integer(method.max_models));
  one.set("parameters", fields_json(method.parameters()));
  one.set("model_parameters", fields_json(method.model_parameters()));
  return one;
}

std::string method_text(const Method& method, bool markdown) {
  const std::string gap = markdown ? "\n" : "";
  std::string text =
      markdown ? cat("## ", method.name, "\n\n", method.summary, "\n") : cat(method.name, ": ", method.summary, "\n");
  text += cat(gap, method.citation, "\n", gap, "Models: ", models_text(method),
              "; base_model: ", base_text(method.base), "\n");
  const auto add = [&](const char* title, const std::vector<Field>& fields) {
    if (fields.empty()) return;
    text += cat("\n", title, "\n", gap);
    text += markdown ? table_markdown(parameter_table(fields)) : parameter_rows(fields);
  };
  add("For the merge:", method.parameters());
  add("For each model:", method.model_parameters());
  return text;
}

std::string all_markdown() {
  Table table{{"method", "what a user gets", "models", "base_model", "published as"}, {}};
  for (const Method& method : merge::methods()) {
    table.rows.push_back({method.name, method.summary, models_text(method), base_text(method.base), method.citation});
  }
  std::string text = table_markdown(table);
  for (const Method& method : merge::methods()) text += "\n" + method_text(method, true);
  return text;
}

std::string all_text() {
  Table table{{"method", "what a user gets", "published as"}, {}};
  for (const Method& method : merge::methods()) table.rows.push_back({method.name, method.summary, method.citation});
  return table_text(table);
}

Node all_json() {
  Node list = Node::list();
  for (const Method& method : merge::methods()) list.push(method_json(method));
  return list;
}

struct Arguments {
  std::string name;
  bool markdown = false;
};

int run(const Arguments& arguments, Context& context) {
  if (context.json) {
    Node object =
        arguments.name.empty() ? Node::map({{"methods", all_json()}}) : method_json(merge::method(arguments.name));
    object.set("schema", Node::integer(1));
    context.out << to_json(object, 2) << '\n';
  } else if (!arguments.name.empty()) {
    context.out << method_text(merge::method(arguments.name), arguments.markdown);
  } else {
    context.out << (arguments.markdown ? all_markdown() : all_text());
  }
  return 0;
}

}  // namespace

Verb methods_verb() {
  Verb verb;
  verb.name = "methods";
  verb.summary = "list the merge methods, or explain one: its parameters, defaults and publication";
  verb.examples = {"solera methods", "solera methods ties"};
  verb.has_json = true;
  verb.prepare = [](OptionList& options) {
    auto arguments = std::make_shared<Arguments>();
    std::vector<std::string> names;
    for (const Method& method : merge::methods()) names.push_back(method.name);
    options.positional("NAME", "a method (default: the table of all)", arguments->name)
        .optional()
        .offers(std::move(names));
    options.flag("--markdown", "", "print Markdown, as in docs/methods.md", arguments->markdown);
    return [arguments](Context& context) { return run(*arguments, context); };
  };
  return verb;
}

}  // namespace solera::cli
