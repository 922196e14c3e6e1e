// The report of a soup whose coefficients were searched.
#include <algorithm>

#include "solera/base/error.h"
#include "solera/base/plot.h"
#include "solera/base/text.h"
#include "solera/soup/report.h"

namespace solera::soup {
namespace {

constexpr int kGroupsShown = 6;

Node numbers(const std::vector<double>& values) {
  Node list = Node::list();
  for (const double value : values) list.push(Node::number(value));
  return list;
}

// One list, or one a group.
Node weights_json(const Blend& blend) {
  const Blend simple = blend.simplest();
  if (simple.rows.size() == 1) return numbers(normalized(simple.rows.front()));
  Node list = Node::list();
  for (const Mix& row : blend.rows) list.push(numbers(normalized(row)));
  return list;
}

bool is_line(const SoupReport& report) { return report.recipe == Recipe::kLine; }
bool is_random(const SoupReport& report) { return report.recipe == Recipe::kRandom; }

std::string start_name(const SoupReport& report) { return report.plan.from_greedy ? "greedy soup" : "uniform soup"; }

std::string verdict(const BlendTrial& trial) { return trial.generation == 0 ? "start" : trial.better ? "better" : ""; }

std::string counts_text(const SoupReport& report) { return evaluations_text(report.evaluations, report.cached); }

}  // namespace

bool searches_coefficients(Recipe recipe) {
  return recipe == Recipe::kCmaes || recipe == Recipe::kLine || recipe == Recipe::kRandom;
}

Table better_table(const BlendResult& result, std::size_t before) {
  Table table{{"trial", "generation", "score", "verdict"}, {}};
  for (std::size_t i = 0; i < result.trials.size(); ++i)
    if (const BlendTrial& trial = result.trials[i]; trial.better)
      table.rows.push_back({std::to_string(before + i + 1), std::to_string(trial.generation),
                            number_text(trial.evaluation.score), verdict(trial)});
  return table;
}

std::string trials_plot(const BlendResult& result, const std::string& title, const std::string& start) {
  Plot plot;
  plot.title = title;
  plot.x_label = "trial";
  plot.y_label = "held-out score";
  Series candidates{.name = "candidates"}, best{.name = "best so far"};
  double number = 0;
  for (const BlendTrial& trial : result.trials) {
    candidates.x.push_back(++number);
    candidates.y.push_back(trial.evaluation.score);
    best.x.push_back(number);
    best.y.push_back(trial.better ? trial.evaluation.score : best.y.back());
  }
  plot.line(best);
  plot.scatter(candidates);
  if (!start.empty()) plot.horizontal(result.trials.front().evaluation.score, start);
  return plot.svg();
}

std::string evaluations_text(int ran, int cached) {
  return cat(ran, ran == 1 ? " evaluation, " : " evaluations, ", cached, " cached");
}

std::string trials_text(const BlendResult& result) {
  return cat(result.trials.size(), result.trials.size() == 1 ? " trial in " : " trials in ", result.generations,
             result.generations == 1 ? " generation" : " generations");
}

Node blend_trial_json(const BlendTrial& trial, int number, const SoupReport& report) {
  Node object = Node::map({{"trial", Node::integer(number)}});
  if (is_line(report)) {
    object.set("alpha", Node::number(trial.alpha));
  } else if (!is_random(report)) {
    object.set("generation", Node::integer(trial.generation));
    object.set("candidate", Node::integer(trial.candidate));
  }
  Node ingredients = Node::list();
  for (const std::string& label : report.labels) ingredients.push(Node::text(label));
  object.set("ingredients", std::move(ingredients));
  object.set("weights", weights_json(trial.blend));
  object.set("score", Node::number(trial.evaluation.score));
  object.set("better", Node::boolean(trial.better));
  object.set("seconds", Node::number(trial.evaluation.seconds));
  object.set("cached", Node::boolean(trial.evaluation.cached));
  return object;
}

std::string blend_trial_line(const BlendTrial& trial, const SoupReport& report) {
  const std::string who = is_line(report)     ? cat("alpha ", number_text(trial.alpha))
                          : is_random(report) ? cat("draw ", trial.candidate)
                          : trial.generation == 0
                              ? cat("start, the ", start_name(report))
                              : cat("generation ", trial.generation, ", candidate ", trial.candidate);
  return cat(who, ": ", number_text(trial.evaluation.score), trial.better && trial.generation > 0 ? ", better" : "",
             trial.evaluation.cached ? " (cached)" : "");
}

Table blend_table(const SoupReport& report) {
  const auto& trials = report.coefficients.trials;
  if (is_line(report)) {
    Table table{{"alpha", "score", "verdict"}, {}};
    for (std::size_t i = 0; i < trials.size(); ++i)
      table.rows.push_back({number_text(trials[i].alpha), number_text(trials[i].evaluation.score),
                            static_cast<int>(i) == report.coefficients.best ? "best" : ""});
    return table;
  }
  if (is_random(report)) {
    Table table{{"draw", "score", "verdict"}, {}};
    for (std::size_t i = 0; i < trials.size(); ++i)
      if (trials[i].better)
        table.rows.push_back({std::to_string(i + 1), number_text(trials[i].evaluation.score), verdict(trials[i])});
    return table;
  }
  return better_table(report.coefficients, report.search.trials.size());
}

Table weight_table(const SoupReport& report) {
  std::vector<std::vector<double>> rows;
  for (const Mix& row : report.blend.rows) rows.push_back(normalized(row));
  const bool many = static_cast<int>(rows.size()) > kGroupsShown;
  Table table{{"model"}, {}};
  if (rows.size() == 1) {
    table.header.emplace_back("weight");
  } else if (many) {
    table.header.insert(table.header.end(), {"least", "mean", "most"});
  } else {
    table.header.insert(table.header.end(), report.groups.names.begin(), report.groups.names.end());
  }
  for (std::size_t i = 0; i < report.labels.size(); ++i) {
    std::vector<double> values;
    for (const auto& row : rows) values.push_back(row[i]);
    if (many) {
      double sum = 0;
      for (const double value : values) sum += value;
      const auto [least, most] = std::minmax_element(values.begin(), values.end());
      values = {*least, sum / static_cast<double>(values.size()), *most};
    }
    std::vector<std::string>& cells = table.rows.emplace_back();
    cells.push_back(report.labels[i]);
    for (const double value : values) cells.push_back(number_text(value, 3));
  }
  return table;
}

std::string blend_summary(const SoupReport& report) {
  const BlendResult& result = report.coefficients;
  const std::string score = number_text(result.best_trial().evaluation.score);
  const std::string first = number_text(result.trials.front().evaluation.score);
  if (is_line(report))
    return cat(report.out, ": ", number_text(1 - result.best_trial().alpha), " ", report.labels[0], " + ",
               number_text(result.best_trial().alpha), " ", report.labels[1], ", score ", score, " (", report.labels[0],
               " ", first, ", ", report.labels[1], " ", number_text(result.trials.back().evaluation.score), "); ",
               counts_text(report));
  if (is_random(report))
    return cat(report.out, ": ", report.labels.size(), " models with drawn weights, score ", score, "; ",
               result.trials.size(), result.trials.size() == 1 ? " draw, " : " draws, ", counts_text(report));
  const int groups = report.groups.count();
  return cat(
      report.out, ": searched soup of ", report.labels.size(), " models",
      groups == 1 ? "" : cat(" in ", groups, report.plan.granularity == Granularity::kTensor ? " tensors" : " groups"),
      ", score ", score, " (", start_name(report), " ", first, "); ", trials_text(result), ", ", counts_text(report));
}

Node blend_json(const SoupReport& report) {
  const BlendResult& result = report.coefficients;
  Node object = Node::map({{"schema", Node::integer(1)},
                           {"output", Node::text(report.out)},
                           {"method", Node::text(is_line(report)     ? "line"
                                                 : is_random(report) ? "random"
                                                                     : "cmaes")}});
  if (!report.fishers.empty()) {
    Node files = Node::list();
    for (const std::string& path : report.fishers) files.push(Node::text(path));
    object.set("fishers", std::move(files));
  }
  Node ingredients = Node::list();
  for (std::size_t i = 0; i < report.paths.size(); ++i)
    ingredients.push(Node::map({{"path", Node::text(report.paths[i])},
                                {"name", Node::text(report.labels[i])},
                                {"hash", Node::text(report.hashes[i])}}));
  object.set("ingredients", std::move(ingredients));
  if (is_line(report)) {
    object.set("alpha", Node::number(result.best_trial().alpha));
  } else if (!is_random(report)) {
    object.set("domain", Node::text(report.plan.domain == Domain::kBox ? "box" : "simplex"));
    Node groups = Node::list();
    for (int g = 0; g < report.groups.count(); ++g)
      groups.push(Node::map({{"name", Node::text(report.groups.names[static_cast<std::size_t>(g)])},
                             {"tensors", Node::integer(report.groups.size_of(g))}}));
    object.set("groups", std::move(groups));
    object.set("start", Node::map({{"soup", Node::text(report.plan.from_greedy ? "greedy" : "uniform")},
                                   {"score", Node::number(result.trials.front().evaluation.score)}}));
  }
  object.set("weights", weights_json(report.blend));
  object.set("score", Node::number(result.best_trial().evaluation.score));
  object.set("direction", Node::text(report.minimize ? "minimize" : "maximize"));
  int number = static_cast<int>(report.search.trials.size());
  object.set("best_trial", Node::integer(number + result.best + 1));
  Node trials = Node::list();
  int greedy = 0;
  for (const Trial& trial : report.search.trials) trials.push(trial_json(trial, ++greedy, report));
  for (const BlendTrial& trial : result.trials) trials.push(blend_trial_json(trial, ++number, report));
  object.set("trials", std::move(trials));
  object.set("generations", Node::integer(result.generations));
  object.set("restarts", Node::integer(result.restarts));
  set_run(object, report);
  object.set("seconds", Node::number(report.seconds));
  return object;
}

std::string blend_plot(const SoupReport& report) {
  if (is_line(report)) {
    Plot plot;
    plot.y_label = "held-out score";
    plot.title = cat("Between ", report.labels[0], " and ", report.labels[1]);
    plot.x_label = cat("alpha: the share of ", report.labels[1]);
    Series curve;
    for (const BlendTrial& trial : report.coefficients.trials) {
      curve.x.push_back(trial.alpha);
      curve.y.push_back(trial.evaluation.score);
    }
    plot.line(curve);
    plot.scatter(curve);
    return plot.svg();
  }
  return is_random(report) ? trials_plot(report.coefficients, "Drawn weights", "")
                           : trials_plot(report.coefficients, "Searched soup", start_name(report));
}

}  // namespace solera::soup
