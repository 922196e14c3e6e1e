#include "solera/base/text.h"

#include <simdjson.h>
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "solera/base/error.h"

namespace solera {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr int kMostEdits = 3;

// Optimal string alignment: Levenshtein with swaps of neighbours.
int edits(std::string_view a, std::string_view b) {
  const std::size_t width = b.size() + 1;
  std::vector<int> table((a.size() + 1) * width);
  const auto at = [&](std::size_t i, std::size_t j) -> int& { return table[i * width + j]; };
  for (std::size_t i = 0; i <= a.size(); ++i) at(i, 0) = static_cast<int>(i);
  for (std::size_t j = 0; j <= b.size(); ++j) at(0, j) = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const int replaced = at(i - 1, j - 1) + (a[i - 1] != b[j - 1]);
      int best = std::min({at(i - 1, j) + 1, at(i, j - 1) + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) best = std::min(best, at(i - 2, j - 2) + 1);
      at(i, j) = best;
    }
  }
  return at(a.size(), b.size());
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// Bytes in a unit of parse_bytes; 0 if it is not one.
std::uint64_t unit_bytes(std::string_view unit) {
  if (!unit.empty() && lower(unit.back()) == 'b') unit.remove_suffix(1);
  if (unit.empty()) return 1;
  const std::size_t power = std::string_view("kmgt").find(lower(unit[0]));
  if (power == std::string_view::npos) return 0;
  const bool binary = unit.size() == 2 && unit[1] == 'i';
  if (unit.size() > 1 && !binary) return 0;
  std::uint64_t bytes = 1;
  for (std::size_t i = 0; i <= power; ++i) bytes *= binary ? 1024 : 1000;
  return bytes;
}

std::string scaled_text(std::uint64_t bytes, double step, std::span<const char* const> units) {
  if (static_cast<double>(bytes) < step) return cat(bytes, " B");
  double value = static_cast<double>(bytes) / step;
  std::size_t unit = 0;
  // 999,950 bytes round to 1000.0 kB, which people write as 1.0 MB.
  while (std::round(value * 10) >= step * 10 && unit + 1 < units.size()) {
    value /= step;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %s", value, units[unit]);
  return text.data();
}

template <class Number>
std::optional<Number> parse_whole(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  Number value{};
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string nearest(std::string_view name, std::span<const std::string> candidates) {
  const std::string* best = nullptr;
  int fewest = kMostEdits + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t longer = std::max(name.size(), candidate.size());
    const std::size_t shorter = std::min(name.size(), candidate.size());
    if (longer - shorter > static_cast<std::size_t>(kMostEdits)) continue;
    const int distance = edits(name, candidate);
    if (distance >= fewest || static_cast<std::size_t>(distance) >= longer) continue;
    fewest = distance;
    best = &candidate;
  }
  return best ? *best : "";
}

std::string did_you_mean(std::string_view name, std::span<const std::string> candidates) {
  const std::string found = nearest(name, candidates);
  return found.empty() ? "" : "did you mean " + found + "?";
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> pieces;
  for (;;) {
    const std::size_t end = text.find(separator);
    pieces.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return pieces;
    text.remove_prefix(end + 1);
  }
}

std::string join(std::span<const std::string> pieces, std::string_view separator) {
  std::string text;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0) text += separator;
    text += pieces[i];
  }
  return text;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool is_utf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

std::uint64_t parse_bytes(std::string_view text) {
  const auto refuse = [&](const char* why) {
    return usage_error(cat("'", text, "' is not a size in bytes", why), "", "write it like 4096, 512MB or 2GiB");
  };
  const std::string_view body = trim(text);
  std::size_t i = 0;
  Wide whole = 0, part = 0, scale = 1;
  for (; i < body.size() && is_digit(body[i]); ++i) {
    if (whole <= UINT64_MAX) whole = whole * 10 + static_cast<unsigned>(body[i] - '0');
  }
  bool digits = i > 0;
  if (i < body.size() && body[i] == '.') {
    for (++i; i < body.size() && is_digit(body[i]); ++i) {
      digits = true;
      if (scale == Wide{1'000'000'000} * 1'000'000'000) continue;  // further digits are below a byte of any unit
      scale *= 10;
      part = part * 10 + static_cast<unsigned>(body[i] - '0');
    }
  }
  const std::uint64_t unit = unit_bytes(trim(body.substr(i)));
  if (!digits || unit == 0) throw refuse("");
  if (whole > UINT64_MAX) throw refuse(": too large");
  const Wide bytes = whole * unit + part * unit / scale;
  if (bytes > UINT64_MAX) throw refuse(": too large");
  return static_cast<std::uint64_t>(bytes);
}

std::string bytes_text(std::uint64_t bytes) {
  static constexpr std::array kUnits = {"kB", "MB", "GB", "TB", "PB", "EB"};
  return scaled_text(bytes, 1000, kUnits);
}

std::string binary_text(std::uint64_t bytes) {
  static constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  return scaled_text(bytes, 1024, kUnits);
}

std::string duration_text(double seconds) {
  if (!(seconds >= 0) || seconds > 1e15) return "unknown";
  std::array<char, 48> text{};
  const double tenths = std::round(seconds * 10);
  if (const double ms = std::round(seconds * 1000); ms < 1000) {
    std::snprintf(text.data(), text.size(), "%.0f ms", ms);
  } else if (tenths < 100) {
    std::snprintf(text.data(), text.size(), "%.1f s", tenths / 10);
  } else if (const auto s = static_cast<long long>(std::round(seconds)); s < 60) {
    std::snprintf(text.data(), text.size(), "%lld s", s);
  } else if (s < 3600) {
    std::snprintf(text.data(), text.size(), "%lld min %lld s", s / 60, s % 60);
  } else {
    const long long minutes = (s + 30) / 60;
    std::snprintf(text.data(), text.size(), "%lld h %lld min", minutes / 60, minutes % 60);
  }
  return text.data();
}

std::string number_text(double value, int digits) {
  if (std::isnan(value)) return "nan";
  std::array<char, 64> text{};
  const auto [end, status] = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::general,
                                           std::clamp(digits, 1, 17));
  return {text.data(), status == std::errc() ? end : text.data()};
}

std::string exact_text(double value) {
  if (std::isnan(value)) return "nan";
  std::array<char, 64> text{};
  const auto [end, status] = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), status == std::errc() ? end : text.data()};
}

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += cat(i > 0 ? ", " : "", shape[i]);
  return text + "]";
}

std::optional<double> parse_double(std::string_view text) {
  if (text.find('(') != std::string_view::npos) return std::nullopt;  // from_chars reads nan(payload)
  return parse_whole<double>(text);
}

std::optional<std::int64_t> parse_int(std::string_view text) { return parse_whole<std::int64_t>(text); }

std::int64_t floor_count(double fraction, std::int64_t n) {
  if (!std::isfinite(fraction)) throw usage_error(cat("a fraction of ", exact_text(fraction), " is not finite"));
  if (n < 0) throw internal_error(cat("a count of ", n, " is negative"));
  // The shortest text as D x 10^e: at most 17 digits times 63 bits stay below 2^128.
  std::array<char, 64> text{};
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), std::fabs(fraction), std::chars_format::scientific).ptr;
  Wide product = 0;
  int exponent = 0;
  bool after_point = false;
  for (const char* c = text.data(); c != end; ++c) {
    if (*c == 'e') {
      int written = 0;
      std::from_chars(c[1] == '+' ? c + 2 : c + 1, end, written);
      exponent += written;
      break;
    }
    if (*c == '.') {
      after_point = true;
      continue;
    }
    product = product * 10 + static_cast<unsigned>(*c - '0');
    exponent -= after_point;
  }
  product *= static_cast<std::uint64_t>(n);
  bool rest = false;
  constexpr Wide kMost = INT64_MAX;
  for (; exponent > 0 && product > 0; --exponent) {
    if (product > kMost) break;
    product *= 10;
  }
  for (; exponent < 0 && product > 0; ++exponent) {
    rest = rest || product % 10 != 0;
    product /= 10;
  }
  if (fraction < 0 && rest) ++product;
  if (product > kMost) throw usage_error(cat(exact_text(fraction), " of ", n, " is too large to count"));
  const auto count = static_cast<std::int64_t>(product);
  return fraction < 0 ? -count : count;
}

std::string shell_quote(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

}  // namespace solera
