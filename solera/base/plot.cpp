#include "solera/base/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/plot_axis.h"
#include "solera/base/text.h"

namespace solera {

namespace {

// Okabe and Ito 2008: told apart by everyone.
constexpr std::array<const char*, 7> kColors = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                "#56b4e9", "#e69f00", "#333333"};
constexpr std::string_view kDashPattern = " stroke-dasharray=\"6 4\"";
constexpr double kLeft = 72, kRight = 24, kTop = 48, kBottom = 64, kLegendRow = 20;

std::string escaped(std::string_view text) {
  std::string result;
  const bool valid = is_utf8(text);
  for (const char c : text) {
    if (!valid && static_cast<unsigned char>(c) >= 128) {
      result += '?';
      continue;
    }
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += static_cast<unsigned char>(c) < 32 ? ' ' : c;
    }
  }
  return result;
}

std::string place(double value) {
  const double rounded = std::round(value * 100) / 100;
  return number_text(rounded == 0 ? 0 : rounded, 8);
}

std::string text_at(double x, double y, std::string_view text, std::string_view anchor, int size,
                    std::string_view more = "") {
  return cat("<text x=\"", place(x), "\" y=\"", place(y), "\" text-anchor=\"", anchor, "\" font-size=\"", size, "\"",
             more, ">", escaped(text), "</text>\n");
}

std::string line_at(double x1, double y1, double x2, double y2, std::string_view color, double width,
                    std::string_view more = "") {
  return cat("<line x1=\"", place(x1), "\" y1=\"", place(y1), "\" x2=\"", place(x2), "\" y2=\"", place(y2),
             "\" stroke=\"", color, "\" stroke-width=\"", width, "\"", more, "/>\n");
}

std::string color_of(std::size_t index) { return kColors[index % kColors.size()]; }

// From deep blue over white-green to yellow, evenly readable in grey.
std::string heat_color(double share) {
  constexpr std::array<std::array<double, 3>, 5> kStops = {
      {{68, 1, 84}, {59, 82, 139}, {33, 145, 140}, {94, 201, 98}, {253, 231, 37}}};
  const double at = std::clamp(share, 0.0, 1.0) * (kStops.size() - 1);
  const auto i = std::min(static_cast<std::size_t>(at), kStops.size() - 2);
  std::string color = "rgb(";
  for (std::size_t c = 0; c < 3; ++c)
    color += cat(c ? "," : "",
                 std::lround(kStops[i][c] + (at - static_cast<double>(i)) * (kStops[i + 1][c] - kStops[i][c])));
  return color + ")";
}

void require_equal(const Series& series, std::size_t x, std::string_view what) {
  const auto require = [&](std::size_t count, std::string_view things) {
    if (count != series.y.size())
      throw usage_error(cat("a plot's ", what, " has ", count, " ", things, " and ", series.y.size(), " values"),
                        series.name);
  };
  require(x, "places");
  if (!series.error.empty()) require(series.error.size(), "error bars");
  if (!series.labels.empty()) require(series.labels.size(), "labels");
}

}  // namespace

void Plot::line(Series series) {
  require_equal(series, series.x.size(), "line");
  marks_.push_back({Mark::Kind::kLine, std::move(series), {}, {}, {}});
}

void Plot::scatter(Series series) {
  require_equal(series, series.x.size(), "scatter");
  marks_.push_back({Mark::Kind::kScatter, std::move(series), {}, {}, {}});
}

void Plot::bars(std::vector<std::string> names, Series series) {
  require_equal(series, names.size(), "bars");
  series.x.clear();
  for (std::size_t i = 0; i < names.size(); ++i) series.x.push_back(static_cast<double>(i));
  marks_.push_back({Mark::Kind::kBars, std::move(series), std::move(names), {}, {}});
}

void Plot::histogram(std::string name, const std::vector<double>& values, int bins) {
  std::vector<double> sorted;
  std::copy_if(values.begin(), values.end(), std::back_inserter(sorted), [](double v) { return std::isfinite(v); });
  std::sort(sorted.begin(), sorted.end());
  Series outline{std::move(name), {}, {}, {}, {}};
  if (!sorted.empty()) {
    const auto n = static_cast<double>(sorted.size());
    const double low = sorted.front(), range = sorted.back() - low;
    if (bins <= 0) {  // Freedman and Diaconis 1981: width 2 IQR n^(-1/3)
      const double iqr =
          sorted[static_cast<std::size_t>(0.75 * (n - 1))] - sorted[static_cast<std::size_t>(0.25 * (n - 1))];
      const double bin = 2 * iqr / std::cbrt(n);
      bins = bin > 0 ? static_cast<int>(std::clamp(std::ceil(range / bin), 1.0, 200.0)) : 1;
    }
    const double step = range > 0 ? range / bins : 1;
    std::vector<double> counts(static_cast<std::size_t>(bins));
    for (const double v : sorted) ++counts[std::min(static_cast<std::size_t>((v - low) / step), counts.size() - 1)];
    outline.x.push_back(low);
    outline.y.push_back(0);
    for (std::size_t b = 0; b < counts.size(); ++b)
      for (const double edge : {static_cast<double>(b), static_cast<double>(b + 1)}) {
        outline.x.push_back(low + edge * step);
        outline.y.push_back(counts[b]);
      }
    outline.x.push_back(outline.x.back());
    outline.y.push_back(0);
  }
  line(std::move(outline));
}

void Plot::heat_map(std::vector<std::string> columns, std::vector<std::string> rows,
                    std::vector<std::vector<double>> values) {
  bool fits = values.size() == rows.size();
  for (const auto& row : values) fits = fits && row.size() == columns.size();
  if (!fits) throw usage_error("a heat map needs a value for every row and column", title);
  marks_.push_back({Mark::Kind::kHeat, {}, std::move(columns), std::move(rows), std::move(values)});
}

void Plot::horizontal(double y, std::string name) {
  marks_.push_back({Mark::Kind::kHorizontal, {std::move(name), {0}, {y}, {}, {}}, {}, {}, {}});
}

namespace {

enum class Sample { kLine, kDashes, kDot, kBox };  // what stands before a name in the legend

// Everything that a picture is drawn with, so that each kind of mark is one function.
struct Canvas {
  PlotAxis x, y;
  std::string body;

  void errors(const Series& s, std::string_view color) {
    for (std::size_t i = 0; i < s.error.size(); ++i) {
      if (!x.shows(s.x[i]) || !y.shows(s.y[i] - s.error[i]) || !y.shows(s.y[i] + s.error[i])) continue;
      const double at = x.at(s.x[i]), low = y.at(s.y[i] - s.error[i]), high = y.at(s.y[i] + s.error[i]);
      body += line_at(at, low, at, high, color, 1.5);
      body += line_at(at - 4, low, at + 4, low, color, 1.5) + line_at(at - 4, high, at + 4, high, color, 1.5);
    }
  }
  void labels(const Series& s) {
    constexpr double kNearEdge = 90;  // pixels: labels of points closer to it go to the left
    for (std::size_t i = 0; i < s.labels.size(); ++i) {
      if (!x.shows(s.x[i]) || !y.shows(s.y[i])) continue;
      const double at = x.at(s.x[i]);
      const bool left = at > x.to - kNearEdge;
      body +=
          text_at(left ? at - 8 : at + 8, y.at(s.y[i]) - 6, s.labels[i], left ? "end" : "start", 11, " fill=\"#444\"");
    }
  }
  void line(const Series& s, std::string_view color) {
    std::string points;
    const auto flush = [&] {
      const std::size_t comma = points.find(',');
      if (comma != std::string::npos && points.find(' ') == std::string::npos)  // a polyline of one point is not seen
        body += cat("<circle cx=\"", points.substr(0, comma), "\" cy=\"", points.substr(comma + 1),
                    "\" r=\"2\" fill=\"", color, "\"/>\n");
      else if (!points.empty())
        body += cat("<polyline fill=\"none\" stroke=\"", color,
                    "\" stroke-width=\"2\" stroke-linejoin=\"round\" points=\"", points, "\"/>\n");
      points.clear();
    };
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      if (!x.shows(s.x[i]) || !y.shows(s.y[i])) {
        flush();
        continue;
      }
      points += cat(points.empty() ? "" : " ", place(x.at(s.x[i])), ",", place(y.at(s.y[i])));
    }
    flush();
  }
  void scatter(const Series& s, std::string_view color) {
    for (std::size_t i = 0; i < s.x.size(); ++i)
      if (x.shows(s.x[i]) && y.shows(s.y[i]))
        body += cat("<circle cx=\"", place(x.at(s.x[i])), "\" cy=\"", place(y.at(s.y[i])), "\" r=\"5\" fill=\"", color,
                    "\" fill-opacity=\"0.8\" stroke=\"white\"/>\n");
  }
  // Series of bars stand side by side: `s.x` is already the middle of each bar, `width` in units of x.
  void bars(const Series& s, double width, std::string_view color) {
    const double half = 0.5 * std::abs(x.at(width) - x.at(0)), floor = y.at(y.low > 0 ? y.low : std::min(0.0, y.high));
    for (std::size_t i = 0; i < s.y.size(); ++i) {
      if (!y.shows(s.y[i])) continue;
      const double top = std::min(floor, y.at(s.y[i])), height = std::abs(floor - y.at(s.y[i]));
      body += cat("<rect x=\"", place(x.at(s.x[i]) - half), "\" y=\"", place(top), "\" width=\"", place(2 * half),
                  "\" height=\"", place(height), "\" fill=\"", color, "\"/>\n");
    }
  }
  void sample(Sample kind, double left, double middle, std::string_view color) {
    if (kind == Sample::kDot) {
      body += cat("<circle cx=\"", place(left + 8), "\" cy=\"", place(middle), "\" r=\"5\" fill=\"", color, "\"/>\n");
    } else if (kind == Sample::kBox) {
      body += cat("<rect x=\"", place(left + 2), "\" y=\"", place(middle - 6), "\" width=\"12\" height=\"12\" fill=\"",
                  color, "\"/>\n");
    } else {
      body += line_at(left, middle, left + 16, middle, color, 2, kind == Sample::kDashes ? kDashPattern : "");
    }
  }
  void heat(const std::vector<std::string>& columns, const std::vector<std::string>& rows,
            const std::vector<std::vector<double>>& values) {
    PlotAxis scale;
    for (const auto& row : values)
      for (const double v : row) scale.include(v);
    const double span = scale.high > scale.low ? scale.high - scale.low : 1;
    const double width = (x.to - x.from) / static_cast<double>(std::max<std::size_t>(1, columns.size()));
    const double height = (y.from - y.to) / static_cast<double>(std::max<std::size_t>(1, rows.size()));
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const double top = y.to + static_cast<double>(r) * height;
      body += text_at(x.from - 8, top + height / 2 + 4, rows[r], "end", 12);
      for (std::size_t c = 0; c < columns.size(); ++c) {
        const double v = values[r][c], left = x.from + static_cast<double>(c) * width;
        if (r == 0) body += text_at(left + width / 2, y.from + 18, columns[c], "middle", 12);
        const double share = (v - scale.low) / span;
        body += cat("<rect x=\"", place(left), "\" y=\"", place(top), "\" width=\"", place(width), "\" height=\"",
                    place(height), "\" fill=\"", std::isfinite(v) ? heat_color(share) : "#dddddd",
                    "\" stroke=\"white\"/>\n");
        if (std::isfinite(v) && width >= 40 && height >= 16)
          body += text_at(left + width / 2, top + height / 2 + 4, number_text(v, 3), "middle", 11,
                          share < 0.6 ? " fill=\"white\"" : "");
      }
    }
  }
};

}  // namespace

std::string Plot::svg() const {
  const auto count = [&](Mark::Kind kind) {
    return std::count_if(marks_.begin(), marks_.end(), [&](const Mark& mark) { return mark.kind == kind; });
  };
  const bool heat = count(Mark::Kind::kHeat) > 0;
  const auto groups = static_cast<double>(count(Mark::Kind::kBars));
  const double bar_width = 0.76 / std::max(1.0, groups);
  const std::vector<std::string>* categories = nullptr;

  // Bars of one name share its place: each series is moved to its own part of it.
  std::vector<Series> series;
  double bars_before = 0;
  for (const Mark& mark : marks_) {
    series.push_back(mark.series);
    if (mark.kind != Mark::Kind::kBars) continue;
    for (double& at : series.back().x) at += (bars_before - (groups - 1) / 2) * bar_width;
    ++bars_before;
    if (!categories || mark.columns.size() > categories->size()) categories = &mark.columns;
  }

  Canvas canvas;
  PlotAxis &x = canvas.x, &y = canvas.y;
  x.log = log_x && !categories;
  y.log = log_y;
  for (std::size_t m = 0; m < marks_.size(); ++m) {
    for (std::size_t i = 0; i < series[m].y.size(); ++i) {
      const double e = series[m].error.empty() ? 0 : series[m].error[i];
      if (marks_[m].kind != Mark::Kind::kHorizontal) x.include(series[m].x[i]);
      y.include(series[m].y[i] - e);
      y.include(series[m].y[i] + e);
    }
    if (marks_[m].kind == Mark::Kind::kBars && !log_y) y.include(0);
  }
  if (categories) {
    x.include(-0.5);
    x.include(static_cast<double>(categories->size()) - 0.5);
  } else {
    x.settle(0.04);
  }
  y.settle(0.06);

  // The legend in rows below the title.
  struct Entry {
    std::size_t mark;
    double left, row;
  };
  std::vector<Entry> legend;
  double left = kLeft, row = 0;
  for (std::size_t m = 0; m < marks_.size(); ++m) {
    if (series[m].name.empty()) continue;
    const double wide = 46 + 6.5 * static_cast<double>(series[m].name.size());
    if (left > kLeft && left + wide > width - kRight) {
      left = kLeft;
      ++row;
    }
    legend.push_back({m, left, row});
    left += wide;
  }
  x.from = kLeft;
  x.to = width - kRight;
  y.from = height - kBottom;
  y.to = kTop + (legend.empty() ? 0 : (row + 1) * kLegendRow);

  std::string grid;
  if (!heat) {
    for (const auto& [at, text] : y.ticks())
      grid +=
          line_at(x.from, y.at(at), x.to, y.at(at), "#e4e4e4", 1) + text_at(x.from - 8, y.at(at) + 4, text, "end", 12);
    if (!categories)
      for (const auto& [at, text] : x.ticks())
        grid += line_at(x.at(at), y.from, x.at(at), y.to, "#f0f0f0", 1) +
                text_at(x.at(at), y.from + 18, text, "middle", 12);
    for (std::size_t i = 0; categories && i < categories->size(); ++i)
      grid += text_at(x.at(static_cast<double>(i)), y.from + 18, (*categories)[i], "middle", 12);
    grid += line_at(x.from, y.from, x.to, y.from, "#888", 1) + line_at(x.from, y.from, x.from, y.to, "#888", 1);
  }
  std::vector<Sample> samples;
  for (std::size_t m = 0; m < marks_.size(); ++m) {
    const Mark& mark = marks_[m];
    const std::string color = color_of(m);
    Sample sample = Sample::kLine;
    switch (mark.kind) {
      case Mark::Kind::kLine:
        canvas.line(series[m], color);
        break;
      case Mark::Kind::kScatter:
        canvas.scatter(series[m], color);
        sample = Sample::kDot;
        break;
      case Mark::Kind::kBars:
        canvas.bars(series[m], bar_width, color);
        sample = Sample::kBox;
        break;
      case Mark::Kind::kHeat:
        canvas.heat(mark.columns, mark.rows, mark.values);
        break;
      case Mark::Kind::kHorizontal:
        if (y.shows(series[m].y[0]))
          canvas.body += line_at(x.from, y.at(series[m].y[0]), x.to, y.at(series[m].y[0]), color, 1.5, kDashPattern);
        sample = Sample::kDashes;
        break;
    }
    samples.push_back(sample);
    if (mark.kind == Mark::Kind::kHorizontal) continue;
    canvas.errors(series[m], mark.kind == Mark::Kind::kBars ? "#222" : color);
    canvas.labels(series[m]);
  }
  for (const Entry& entry : legend) {
    const double middle = kTop - 2 + entry.row * kLegendRow;
    canvas.sample(samples[entry.mark], entry.left, middle, color_of(entry.mark));
    canvas.body += text_at(entry.left + 22, middle + 4, series[entry.mark].name, "start", 12);
  }
  std::string svg =
      cat("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", width, "\" height=\"", height, "\" viewBox=\"0 0 ",
          width, " ", height, "\" font-family=\"Helvetica, Arial, sans-serif\" fill=\"#222\">\n");
  svg += cat("<rect width=\"", width, "\" height=\"", height, "\" fill=\"white\"/>\n");
  svg += text_at(x.from, 26, title, "start", 17, " font-weight=\"bold\"") + grid + canvas.body;
  svg += text_at((x.from + x.to) / 2, height - 16, x_label, "middle", 13);
  const double middle = (y.from + y.to) / 2;
  svg += text_at(18, middle, y_label, "middle", 13, cat(" transform=\"rotate(-90 18 ", place(middle), ")\""));
  return svg + "</svg>\n";
}

}  // namespace solera
