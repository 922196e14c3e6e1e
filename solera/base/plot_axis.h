// One direction of a plot: data to pixels, and where its ticks stand. Used by plot.cpp alone.
#pragma once

#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace solera {

struct PlotAxis {
  bool log = false;
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  double from = 0, to = 1;  // pixels of low and high

  bool shows(double value) const;
  void include(double value);  // widens the range; what the axis cannot show is left out
  void settle(double margin);  // a little room on both sides; something to divide by in any case
  double at(double value) const;

  // About six round numbers with their texts: steps of 1, 2 or 5 times a power of ten; on a logarithmic axis decades,
  // with 2 and 5 between them where they are few.
  std::vector<std::pair<double, std::string>> ticks() const;
};

}  // namespace solera
