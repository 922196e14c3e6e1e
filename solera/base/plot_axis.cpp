#include "solera/base/plot_axis.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "solera/base/text.h"

namespace solera {
namespace {

constexpr int kMostTicks = 20;  // also where steps are lost in the digits of huge numbers
constexpr double kTinyShare = 1e-9;
constexpr double kLargest = 1e100;  // beyond, differences and ratios could overflow

// All ticks of an axis with the same number of decimals, unless they are very large or very fine.
std::string tick_text(double value, double step) {
  const int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(step) + kTinyShare)));
  if (decimals > 6 || std::abs(value) >= 1e6) return number_text(value, 6);
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, decimals).ptr};
}

}  // namespace

bool PlotAxis::shows(double value) const {
  return std::abs(value) < kLargest && (!log || value > 1 / kLargest);  // so not a NaN either
}

void PlotAxis::include(double value) {
  if (!shows(value)) return;
  low = std::min(low, value);
  high = std::max(high, value);
}

void PlotAxis::settle(double margin) {
  if (low > high) {
    low = log ? 0.1 : 0;
    high = 1;
  }
  if (log) {
    const double room = std::max(std::log10(high / low) * margin, low == high ? 0.5 : 0.0);
    low /= std::pow(10, room);
    high *= std::pow(10, room);
    return;
  }
  const double room = std::max((high - low) * margin, low == high ? std::max(std::abs(low) * 0.05, 0.5) : 0.0);
  if (low != 0 || low == high) low -= room;  // bars and counts stand on the axis
  high += room;
}

double PlotAxis::at(double value) const {
  const double share = log ? std::log10(value / low) / std::log10(high / low) : (value - low) / (high - low);
  return from + share * (to - from);
}

std::vector<std::pair<double, std::string>> PlotAxis::ticks() const {
  std::vector<std::pair<double, std::string>> list;
  if (log) {
    constexpr double kFewDecades = 2000;
    const std::vector<double> factors =
        high / low < kFewDecades ? std::vector<double>{1, 2, 5} : std::vector<double>{1};
    const int stride = std::max(1, static_cast<int>(std::log10(high / low) / 8));
    for (int e = static_cast<int>(std::floor(std::log10(low))); std::pow(10, e) <= high; e += stride)
      for (const double factor : factors)
        if (const double v = factor * std::pow(10, e); v >= low * (1 - kTinyShare) && v <= high * (1 + kTinyShare))
          list.emplace_back(v, number_text(v, 6));
    if (list.size() >= 2) return list;
    list.clear();
  }
  const double rough = (high - low) / 6, power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0})
    if (factor * power >= rough) step = factor * power;
  const double first = std::ceil(low / step - kTinyShare);
  for (int i = 0; i < kMostTicks && (first + i) * step <= high + kTinyShare * step; ++i) {
    const double v = first + i == 0 ? 0 : (first + i) * step;
    list.emplace_back(v, tick_text(v, step));
  }
  return list;
}

}  // namespace solera
