// The report of a configuration whose numbers were searched.
#include "solera/base/text.h"
#include "solera/soup/config_search.h"
#include "solera/soup/report.h"

namespace solera::soup {
namespace {

constexpr const char* kStart = "the configuration as it is";

}  // namespace

Node config_trial_json(const BlendTrial& trial, int number, const ConfigSearchReport& report) {
  Node values = Node::list();
  for (std::size_t i = 0; i < report.coordinates.size(); ++i) {
    Node one = Node::map({{"parameter", Node::text(report.coordinates[i].parameter)}});
    if (!report.coordinates[i].model.empty()) one.set("model", Node::text(report.coordinates[i].model));
    one.set("value", Node::number(trial.blend.rows.front()[i]));
    values.push(std::move(one));
  }
  return Node::map({{"trial", Node::integer(number)},
                    {"generation", Node::integer(trial.generation)},
                    {"candidate", Node::integer(trial.candidate)},
                    {"values", std::move(values)},
                    {"score", Node::number(trial.evaluation.score)},
                    {"better", Node::boolean(trial.better)},
                    {"seconds", Node::number(trial.evaluation.seconds)},
                    {"cached", Node::boolean(trial.evaluation.cached)}});
}

Table trial_table(const ConfigSearchReport& report) { return better_table(report.result, 0); }

Table value_table(const ConfigSearchReport& report) {
  Table table{{"parameter", "model", "range", "start", "found"}, {}};
  for (std::size_t i = 0; i < report.coordinates.size(); ++i) {
    const Coordinate& one = report.coordinates[i];
    table.rows.push_back({one.parameter, one.model, cat(number_text(one.low), "..", number_text(one.high)),
                          number_text(one.start, 3), number_text(report.values()[i], 3)});
  }
  return table;
}

std::string summary_line(const ConfigSearchReport& report) {
  const std::size_t count = report.coordinates.size();
  return cat(report.out, ": ", report.method, " with ", count, count == 1 ? " value" : " values", " searched, score ",
             number_text(report.result.best_trial().evaluation.score), " (", report.config, " as it is ",
             number_text(report.result.trials.front().evaluation.score), "); ", trials_text(report.result), ", ",
             evaluations_text(report.evaluations, report.cached));
}

Node report_json(const ConfigSearchReport& report) {
  Node object = Node::map({{"schema", Node::integer(1)},
                           {"output", Node::text(report.out)},
                           {"method", Node::text("cmaes")},
                           {"config", Node::text(report.config)},
                           {"merge_method", Node::text(report.method)},
                           {"best_config", Node::text(report.best_config)}});
  Node inputs = Node::list();
  for (std::size_t i = 0; i < report.paths.size(); ++i)
    inputs.push(Node::map({{"path", Node::text(report.paths[i])}, {"hash", Node::text(report.hashes[i])}}));
  object.set("inputs", std::move(inputs));
  Node values = Node::list();
  for (std::size_t i = 0; i < report.coordinates.size(); ++i) {
    const Coordinate& one = report.coordinates[i];
    values.push(Node::map({{"parameter", Node::text(one.parameter)},
                           {"model", one.model.empty() ? Node() : Node::text(one.model)},
                           {"low", Node::number(one.low)},
                           {"high", Node::number(one.high)},
                           {"start", Node::number(one.start)},
                           {"value", Node::number(report.values()[i])}}));
  }
  object.set("values", std::move(values));
  object.set("score", Node::number(report.result.best_trial().evaluation.score));
  object.set("direction", Node::text(report.minimize ? "minimize" : "maximize"));
  object.set("best_trial", Node::integer(report.result.best + 1));
  Node trials = Node::list();
  int number = 0;
  for (const BlendTrial& trial : report.result.trials) trials.push(config_trial_json(trial, ++number, report));
  object.set("trials", std::move(trials));
  object.set("generations", Node::integer(report.result.generations));
  object.set("restarts", Node::integer(report.result.restarts));
  set_run(object, report);
  object.set("seconds", Node::number(report.seconds));
  return object;
}

std::string score_plot(const ConfigSearchReport& report) {
  return trials_plot(report.result, cat("Searched ", report.method), kStart);
}

}  // namespace solera::soup
