#include <cstdlib>
#include <ostream>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/table.h"
#include "solera/cli/verbs.h"
#include "solera/recipe/recipe.h"

namespace solera::cli {
namespace {

// $SOLERA_RECIPES, the recipes of the working folder, or those installed beside the program.
std::string recipes_folder() {
  if (const char* given = std::getenv("SOLERA_RECIPES")) return given;
  if (is_folder("recipes")) return "recipes";
  return join_path(parent_folder(parent_folder(canonical("/proc/self/exe"))), "share/solera/recipes");
}

int run(Context& context) {
  const std::string folder = recipes_folder();
  if (!is_folder(folder)) throw io_error(cat(folder, ": no such folder"), "", "name one in $SOLERA_RECIPES");
  Table table{{"recipe", "what it does", "paper"}, {}};
  Node list = Node::list();
  for (const std::string& name : list_folder(folder)) {
    if (!name.ends_with(".yaml")) continue;
    try {
      const recipe::Recipe recipe = recipe::read_recipe(join_path(folder, name), false);
      table.rows.push_back({join_path(folder, name), recipe.about, recipe.paper});
      list.push(Node::map({{"file", Node::text(join_path(folder, name))},
                           {"name", Node::text(recipe.name)},
                           {"about", Node::text(recipe.about)},
                           {"paper", Node::text(recipe.paper)}}));
    } catch (const Error& error) {
      context.progress.warn(error.what());  // one bad file does not hide the others
    }
  }
  if (context.json)
    context.out << to_json(Node::map({{"schema", Node::integer(1)}, {"recipes", list}})) << "\n";
  else
    context.out << table_text(table);
  return 0;
}

}  // namespace

Verb recipes_verb() {
  return {.name = "recipes",
          .summary = "List the recipes there are",
          .examples = {"solera recipes"},
          .prepare = [](OptionList&) { return [](Context& context) { return run(context); }; },
          .has_json = true};
}

}  // namespace solera::cli
