// Pictures as SVG: lines, scatter, bars, histogram and heat map on one set of axes. The only drawing code of the house.
//
//   Plot plot;
//   plot.title = "Soups";
//   plot.scatter({"ingredients", xs, ys});
//   write_atomically("soups.svg", plot.svg());
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace solera {

struct Series {
  std::string name;                 // in the legend; none if empty
  std::vector<double> x, y;         // equal lengths; entries that are not finite are left out and break a line
  std::vector<double> error;        // optional: half-lengths of error bars in y
  std::vector<std::string> labels;  // optional: a text beside each point
};

class Plot {
 public:
  std::string title, x_label, y_label;
  int width = 720, height = 480;
  bool log_x = false, log_y = false;

  void line(Series series);
  void scatter(Series series);
  void bars(std::vector<std::string> names, Series series);  // y (and error) per name; several stand side by side
  void histogram(std::string name, const std::vector<double>& values, int bins = 0);  // 0: Freedman-Diaconis
  void heat_map(std::vector<std::string> columns, std::vector<std::string> rows,
                std::vector<std::vector<double>> values);
  void horizontal(double y, std::string name);  // a dashed line across

  std::string svg() const;  // well-formed XML in UTF-8; deterministic; throws Error (usage) on unequal lengths

 private:
  struct Mark {
    enum class Kind { kLine, kScatter, kBars, kHeat, kHorizontal } kind;
    Series series;
    std::vector<std::string> columns, rows;
    std::vector<std::vector<double>> values;
  };
  std::vector<Mark> marks_;
};

}  // namespace solera
