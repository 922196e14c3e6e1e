#include <ostream>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/cli/verbs.h"
#include "solera/recipe/claims.h"
#include "solera/recipe/run.h"

namespace solera::cli {
namespace {

constexpr int kClaimFailed = 3;

struct RunArguments {
  std::string recipe, out;
  std::vector<std::string> only, rerun;
  bool quick = false, explain = false;
  int jobs = 0;
};

void declare(OptionList& options, RunArguments& target) {
  options.positional("RECIPE", "a recipe file, see docs/recipes.md", target.recipe);
  options.flag("--quick", "", "the recipe's small form", target.quick);
  options.value("--only", "", "STEP", "run this step and what it needs", target.only);
  options.value("--rerun", "", "STEP", "run this step again, or all", target.rerun);
  options.flag("--explain", "", "say why a step runs", target.explain);
  options.value("--jobs", "", "N", "steps at once (default: one a core)", target.jobs);
  options.value("--output", "-o", "FOLDER", "folder of the results (default: out/NAME, out/NAME-quick)", target.out);
}

// Whole numbers of what has been made, what was there, and where the report lies.
std::string closing_line(const recipe::RunReport& report, const std::string& out) {
  std::size_t made = 0, cached = 0;
  for (const recipe::StepResult& result : report.results) {
    cached += result.cached;
    made += result.done && !result.cached;
  }
  return cat(made, made == 1 ? " step run, " : " steps run, ", cached, " cached; report in ",
             join_path(out, "report.md"));
}

int run(const RunArguments& arguments, Context& context) {
  if (arguments.jobs < 0) throw usage_error(cat("--jobs ", arguments.jobs, " is negative"));
  const recipe::Recipe recipe = recipe::read_recipe(arguments.recipe, arguments.quick);
  const std::string out =
      !arguments.out.empty() ? arguments.out : join_path("out", recipe.name + (arguments.quick ? "-quick" : ""));
  const recipe::RunReport report = recipe::run_steps(recipe,
                                                     {.out = out,
                                                      .jobs = arguments.jobs,
                                                      .only = arguments.only,
                                                      .rerun = arguments.rerun,
                                                      .explain = arguments.explain,
                                                      .programs = parent_folder(canonical("/proc/self/exe"))},
                                                     context.progress);
  const auto claims = recipe::check_claims(recipe, report);
  const Node node = recipe::report_node(recipe, report, claims);
  write_atomically(join_path(out, "report.json"), to_json(node, 2) + "\n");
  write_atomically(join_path(out, "report.md"), recipe::report_markdown(recipe, report, claims));
  if (context.json) {
    context.out << to_json(node) << "\n";
  } else {
    if (!claims.empty()) context.out << table_text(recipe::claims_table(claims));
    context.out << closing_line(report, out) << "\n";
  }
  return recipe::all_hold(claims) ? 0 : kClaimFailed;
}

}  // namespace

Verb run_verb() {
  return {
      .name = "run",
      .summary = "Run a recipe: steps with cached results, and claims checked against them",
      .examples = {"solera run recipes/model-soups.yaml --quick", "solera run recipes/model-soups.yaml --rerun soup"},
      .prepare =
          [](OptionList& options) {
            auto arguments = std::make_shared<RunArguments>();
            declare(options, *arguments);
            return [arguments](Context& context) { return run(*arguments, context); };
          },
      .has_json = true};
}

}  // namespace solera::cli
