#include "solera/base/plot.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "solera/base/plot_axis.h"
#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera {
namespace {

int count(const std::string& text, const std::string& piece) {
  int n = 0;
  for (std::size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++n;
  return n;
}

// Every element closed in order, attributes quoted, no bare & or <: enough of XML for what we write.
void expect_well_formed(const std::string& svg) {
  EXPECT_TRUE(is_utf8(svg));
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  std::vector<std::string> open;
  for (std::size_t at = svg.find('<'); at != std::string::npos; at = svg.find('<', at + 1)) {
    const std::size_t end = svg.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const std::string tag = svg.substr(at + 1, end - at - 1);
    ASSERT_EQ(tag.find('<'), std::string::npos) << tag;
    EXPECT_EQ(count(tag, "\"") % 2, 0) << tag;
    if (tag[0] == '/') {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ(tag.substr(1), open.back());
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
  }
  EXPECT_TRUE(open.empty());
  for (std::size_t at = svg.find('&'); at != std::string::npos; at = svg.find('&', at + 1)) {
    const std::string entity = svg.substr(at, svg.find(';', at) + 1 - at);
    EXPECT_TRUE(entity == "&amp;" || entity == "&lt;" || entity == "&gt;" || entity == "&quot;") << entity;
  }
}

Plot full_plot() {
  Plot plot;
  plot.title = "a < b & \"c\"";
  plot.x_label = "x > 0\x01";
  plot.y_label = "é \xff";
  plot.line({"line & co", {1, 2, 3}, {1, 4, 2}, {.1, .2, .3}, {}});
  plot.scatter({"<dots>", {1.5, 2.5}, {2, 3}, {}, {"first", "second"}});
  plot.horizontal(2.5, "best");
  return plot;
}

TEST(Plot, IsWellFormedAndTheSameEveryTime) {
  const std::string svg = full_plot().svg();
  expect_well_formed(svg);
  EXPECT_EQ(svg, full_plot().svg());
  EXPECT_EQ(count(svg, "<polyline"), 1);
  EXPECT_EQ(count(svg, "<circle"), 2 + 1);  // the points and their sample in the legend
  EXPECT_EQ(count(svg, "stroke-dasharray"), 1 + 1);
  for (const std::string text :
       {"a &lt; b &amp; &quot;c&quot;", "line &amp; co", "&lt;dots&gt;", "second", "best", "?? ?"})
    EXPECT_NE(svg.find(">" + text + "<"), std::string::npos) << text;
}

TEST(Plot, EveryKindAndNothingAtAllAreWellFormed) {
  expect_well_formed(Plot().svg());
  Plot bars;
  bars.bars({"a", "b"}, {"one", {}, {3, -1}, {.5, .5}, {}});
  bars.bars({"a", "b"}, {"two", {}, {2, 4}, {}, {}});
  expect_well_formed(bars.svg());
  EXPECT_EQ(count(bars.svg(), "<rect"), 1 + 4 + 2);  // background, bars, legend
  Plot heat;
  heat.heat_map({"c1", "c2"}, {"r1"}, {{0.5, std::nan("")}});
  expect_well_formed(heat.svg());
  EXPECT_EQ(count(heat.svg(), "#dddddd"), 1);  // no value
  Plot histogram;
  histogram.histogram("h", {1, 1, 2, 5, std::nan("")});
  histogram.histogram("empty", {});
  expect_well_formed(histogram.svg());
}

TEST(Plot, GroupedBarsDoNotOverlap) {
  Plot plot;
  plot.bars({"a"}, {"", {}, {1}, {}, {}});
  plot.bars({"a"}, {"", {}, {1}, {}, {}});
  std::vector<double> lefts, widths;
  const std::string svg = plot.svg();
  for (std::size_t at = svg.find("<rect x="); at != std::string::npos; at = svg.find("<rect x=", at + 1)) {
    lefts.push_back(std::stod(svg.substr(at + 9)));
    widths.push_back(std::stod(svg.substr(svg.find("width=\"", at) + 7)));
  }
  ASSERT_EQ(lefts.size(), 2u);
  EXPECT_NEAR(lefts[0] + widths[0], lefts[1], 0.02);
}

TEST(Plot, ValuesThatAreNotFiniteBreakALine) {
  Plot plot;
  const double inf = std::numeric_limits<double>::infinity();
  plot.line({"", {1, 2, 3, 4, 5, 6}, {1, 2, std::nan(""), 4, inf, 6}, {}, {}});
  expect_well_formed(plot.svg());
  EXPECT_EQ(count(plot.svg(), "<polyline"), 1);
  EXPECT_EQ(count(plot.svg(), "<circle"), 2);  // a line of one point is a dot
  plot.log_y = plot.log_x = true;
  plot.scatter({"", {0, -1, 1}, {1, 1, 1}, {}, {}});
  expect_well_formed(plot.svg());
  EXPECT_EQ(count(plot.svg(), "<circle"), 3);
}

TEST(Plot, ExtremeRangesEnd) {
  for (const bool log : {false, true})
    for (const auto& [low, high] : {std::pair{1e16, 1e16 + 2},
                                    {5e-324, 1e308},
                                    {-1e308, 1e308},
                                    {1e-99, 1e99},
                                    {1e300, 1e301},
                                    {3.0, 3.0},
                                    {0.0, 0.0}}) {
      Plot plot;
      plot.log_y = log;
      plot.line({"", {0, 1}, {low, high}, {}, {}});
      expect_well_formed(plot.svg());
    }
}

// The quartiles' width goes into the far outlier's range more often than an int can count.
TEST(Plot, AHistogramWithAFarOutlierHasItsMostBins) {
  Plot plot;
  plot.histogram("", {0, 1, 2, 3, 4, 1e80});
  expect_well_formed(plot.svg());
  EXPECT_EQ(count(plot.svg(), ","), 2 + 2 + 2 * 200);  // two in the fonts, one a corner of the outline
}

TEST(Plot, RefusesUnequalLengths) {
  Plot plot;
  EXPECT_EQ(test::message_of([&] { plot.line({"a", {1, 2}, {1}, {}, {}}); }),
            "a plot's line has 2 places and 1 values (a)");
  EXPECT_EQ(test::message_of([&] { plot.scatter({"a", {1, 2}, {1, 2}, {0.1}, {}}); }),
            "a plot's scatter has 1 error bars and 2 values (a)");
  EXPECT_EQ(test::message_of([&] { plot.bars({"x"}, {"a", {}, {1}, {}, {"p", "q"}}); }),
            "a plot's bars has 2 labels and 1 values (a)");
  EXPECT_EQ(test::message_of([&] { plot.heat_map({"c"}, {"r"}, {{1, 2}}); }),
            "a heat map needs a value for every row and column");
}

TEST(PlotAxis, TicksAreRoundAndInside) {
  const auto texts = [](bool log, double low, double high) {
    std::vector<std::string> result;
    for (const auto& [value, text] : PlotAxis{.log = log, .low = low, .high = high}.ticks()) {
      EXPECT_GE(value, low * (1 - 1e-6) - 1e-12);
      EXPECT_LE(value, high * (1 + 1e-6) + 1e-12);
      result.push_back(text);
    }
    return join(result, " ");
  };
  EXPECT_EQ(texts(false, 0, 1), "0.0 0.2 0.4 0.6 0.8 1.0");
  EXPECT_EQ(texts(false, 0.88, 0.97), "0.88 0.90 0.92 0.94 0.96");
  EXPECT_EQ(texts(false, -3, 40), "0 10 20 30 40");
  EXPECT_EQ(texts(false, 0, 5e6), "0 1e+06 2e+06 3e+06 4e+06 5e+06");
  EXPECT_EQ(texts(true, 0.15, 6), "0.2 0.5 1 2 5");
  EXPECT_EQ(texts(true, 1, 1e4), "1 10 100 1000 10000");
}

}  // namespace
}  // namespace solera
