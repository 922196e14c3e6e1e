// What people and programs read of a soup, from a search over scalars.
#include "solera/soup/report.h"

#include <gmock/gmock.h>

#include "tests/support/support.h"

namespace solera::soup {
namespace {

using ::testing::HasSubstr;

SoupReport example() {
  SoupReport report;
  report.out = "soup";
  report.scored = true;
  report.paths = {"x/a", "x/b", "x/c"};
  report.labels = {"a", "b", "c"};
  report.hashes = {"1", "2", "3"};
  report.log = "soup.trials.jsonl";
  report.cache = ".solera-cache";
  report.evaluations = 3;
  report.cached = 2;
  report.seconds = 1.5;
  // b alone .5, with c .75, with a .625.
  report.search = greedy_soup(3, {}, [](const Mix& mix) {
    const double scores[] = {0, 0.125, 0.5, 0, 0.25, 0, 0.75, 0.625};
    const int subset = (mix[0] != 0) + 2 * (mix[1] != 0) + 4 * (mix[2] != 0);
    return Evaluation{scores[subset], 2, subset == 2};
  });
  return report;
}

TEST(Report, Table) {
  EXPECT_EQ(table_markdown(trial_table(example())), table_markdown({{"trial", "model", "score", "verdict", "of"},
                                                                    {{"1", "a", "0.125", "single", "1"},
                                                                     {"2", "b", "0.5", "single", "1"},
                                                                     {"3", "c", "0.25", "single", "1"},
                                                                     {"4", "+ c", "0.75", "accepted", "2"},
                                                                     {"5", "+ a", "0.625", "rejected", "3"}}}));
  EXPECT_EQ(summary_line(example()),
            "soup: greedy soup of 2 of 3 models, score 0.75 (best single b 0.5); 3 evaluations, 2 cached");
}

TEST(Report, Lines) {
  const SoupReport report = example();
  EXPECT_EQ(trial_line(report.search.trials[0], report), "a: 0.125");
  EXPECT_EQ(trial_line(report.search.trials[1], report), "b: 0.5 (cached)");
  EXPECT_EQ(trial_line(report.search.trials[4], report), "+ a: 0.625, rejected");
}

TEST(Report, Json) {
  const Node object = report_json(example());
  Node shown = object;
  shown.erase("trials");
  EXPECT_EQ(to_json(shown),
            R"({"schema":1,"output":"soup","method":"greedy","ingredients":[)"
            R"({"path":"x/a","name":"a","hash":"1","weight":0,"score":0.125},)"
            R"({"path":"x/b","name":"b","hash":"2","weight":0.5,"score":0.5},)"
            R"({"path":"x/c","name":"c","hash":"3","weight":0.5,"score":0.25}],"soup":["b","c"],"score":0.75,)"
            R"("direction":"maximize","best_single":{"name":"b","score":0.5},"evaluations":3,"cached":2,)"
            R"("log":"soup.trials.jsonl","cache":".solera-cache","seconds":1.5})");
  EXPECT_EQ(object.at("trials").items().size(), 5u);
  EXPECT_EQ(
      to_json(object.at("trials").items()[4]),
      R"({"trial":5,"verdict":"rejected","tried":"a","ingredients":["a","b","c"],)"
      R"("weights":[0.3333333333333333,0.3333333333333333,0.3333333333333333],"score":0.625,"seconds":2,"cached":false})");
}

TEST(Report, PlotShowsEveryTrial) {
  const std::string svg = score_plot(example());
  for (const char* text : {"single", "accepted", "rejected", "best single", "held-out score", "+ c"})
    EXPECT_THAT(svg, HasSubstr(text));
}

}  // namespace
}  // namespace solera::soup
