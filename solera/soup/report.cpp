#include "solera/soup/report.h"

#include <algorithm>

#include "solera/base/error.h"
#include "solera/base/plot.h"
#include "solera/base/text.h"

namespace solera::soup {
namespace {

const std::string& label(const SoupReport& report, int ingredient) {
  return report.labels[static_cast<std::size_t>(ingredient)];
}

std::vector<int> members_of(const Mix& mix) {
  std::vector<int> members;
  for (std::size_t i = 0; i < mix.size(); ++i)
    if (mix[i] != 0) members.push_back(static_cast<int>(i));
  return members;
}

std::string tried(const Trial& trial, const SoupReport& report) {
  switch (trial.verdict) {
    case Verdict::kSingle:
      return label(report, trial.ingredient);
    case Verdict::kUniform:
      return cat("mean of all ", trial.mix.size());
    default:
      return "+ " + label(report, trial.ingredient);
  }
}

Node members_json(const Mix& mix, const SoupReport& report) {
  Node list = Node::list();
  for (const int i : members_of(mix)) list.push(Node::text(label(report, i)));
  return list;
}

}  // namespace

Node trial_json(const Trial& trial, int number, const SoupReport& report) {
  Node weights = Node::list();
  const std::vector<double> shares = normalized(trial.mix);
  for (const int i : members_of(trial.mix)) weights.push(Node::number(shares[static_cast<std::size_t>(i)]));
  return Node::map({{"trial", Node::integer(number)},
                    {"verdict", Node::text(verdict_name(trial.verdict))},
                    {"tried", trial.ingredient < 0 ? Node() : Node::text(label(report, trial.ingredient))},
                    {"ingredients", members_json(trial.mix, report)},
                    {"weights", std::move(weights)},
                    {"score", Node::number(trial.evaluation.score)},
                    {"seconds", Node::number(trial.evaluation.seconds)},
                    {"cached", Node::boolean(trial.evaluation.cached)}});
}

std::string trial_line(const Trial& trial, const SoupReport& report) {
  const bool single = trial.verdict == Verdict::kSingle;
  return cat(tried(trial, report), ": ", number_text(trial.evaluation.score),
             single ? "" : cat(", ", verdict_name(trial.verdict)), trial.evaluation.cached ? " (cached)" : "");
}

Table trial_table(const SoupReport& report) {
  if (searches_coefficients(report.recipe)) return blend_table(report);
  Table table{{"trial", "model", "score", "verdict", "of"}, {}};
  int number = 0;
  for (const Trial& trial : report.search.trials)
    table.rows.push_back({std::to_string(++number), tried(trial, report), number_text(trial.evaluation.score),
                          verdict_name(trial.verdict), std::to_string(members_of(trial.mix).size())});
  return table;
}

std::string summary_line(const SoupReport& report) {
  if (searches_coefficients(report.recipe)) return blend_summary(report);
  const std::size_t members = report.search.members.size();
  std::string line = cat(report.out, ": ", report.recipe == Recipe::kUniform ? "uniform" : "greedy", " soup of ",
                         members, " of ", report.paths.size(), " models");
  if (!report.scored) return cat(line, ", not scored");
  const Trial& best = *report.search.best_single;
  line += cat(", score ", number_text(report.search.score));
  if (report.search.trials.size() > 1)
    line += cat(" (", report.search.trials[1].verdict == Verdict::kSingle ? "best single " : "first ",
                label(report, best.ingredient), " ", number_text(best.evaluation.score), ")");
  return cat(line, "; ", evaluations_text(report.evaluations, report.cached));
}

Node report_json(const SoupReport& report) {
  if (searches_coefficients(report.recipe)) return blend_json(report);
  Node object = Node::map();
  object.set("schema", Node::integer(1));
  object.set("output", Node::text(report.out));
  object.set("method", Node::text(report.recipe == Recipe::kUniform ? "uniform" : "greedy"));
  Node ingredients = Node::list();
  const std::vector<double> weights = normalized(report.search.mix);
  for (std::size_t i = 0; i < report.paths.size(); ++i) {
    Node one = Node::map({{"path", Node::text(report.paths[i])}, {"name", Node::text(report.labels[i])}});
    if (report.scored) one.set("hash", Node::text(report.hashes[i]));
    one.set("weight", Node::number(weights[i]));
    const auto& trials = report.search.trials;
    const auto single = std::find_if(trials.begin(), trials.end(), [&](const Trial& trial) {
      return trial.verdict == Verdict::kSingle && trial.ingredient == static_cast<int>(i);
    });
    one.set("score", single == trials.end() ? Node() : Node::number(single->evaluation.score));
    ingredients.push(std::move(one));
  }
  object.set("ingredients", std::move(ingredients));
  Node members = Node::list();
  for (const int i : report.search.members) members.push(Node::text(label(report, i)));
  object.set("soup", std::move(members));
  object.set("score", report.scored ? Node::number(report.search.score) : Node());
  if (report.scored) {
    object.set("direction", Node::text(report.minimize ? "minimize" : "maximize"));
    object.set("best_single", Node::map({{"name", Node::text(label(report, report.search.best_single->ingredient))},
                                         {"score", Node::number(report.search.best_single->evaluation.score)}}));
    Node trials = Node::list();
    int number = 0;
    for (const Trial& trial : report.search.trials) trials.push(trial_json(trial, ++number, report));
    object.set("trials", std::move(trials));
    set_run(object, report);
  }
  object.set("seconds", Node::number(report.seconds));
  return object;
}

std::string score_plot(const SoupReport& report) {
  if (searches_coefficients(report.recipe)) return blend_plot(report);
  Plot plot;
  plot.title = report.recipe == Recipe::kUniform ? "Uniform soup" : "Greedy soup";
  plot.x_label = "trial";
  plot.y_label = "held-out score";
  Series single{.name = "single"}, accepted{.name = "accepted"}, rejected{.name = "rejected"}, soup{.name = "soup"};
  double number = 0;
  for (const Trial& trial : report.search.trials) {
    Series& series = trial.verdict == Verdict::kSingle     ? single
                     : trial.verdict == Verdict::kRejected ? rejected
                                                           : accepted;
    series.x.push_back(++number);
    series.y.push_back(trial.evaluation.score);
    series.labels.push_back(tried(trial, report));
    if (trial.verdict == Verdict::kSingle || trial.verdict == Verdict::kUniform) continue;
    const double before = soup.y.empty() ? report.search.best_single->evaluation.score : soup.y.back();
    soup.x.push_back(number);
    soup.y.push_back(trial.verdict == Verdict::kAccepted ? trial.evaluation.score : before);
  }
  if (!soup.x.empty()) plot.line(soup);
  for (Series* series : {&single, &accepted, &rejected})
    if (!series->x.empty()) plot.scatter(*series);
  if (report.scored) plot.horizontal(report.search.best_single->evaluation.score, "best single");
  return plot.svg();
}

}  // namespace solera::soup
