#include "solera/base/table.h"

#include <algorithm>
#include <functional>

#include "solera/base/text.h"

namespace solera {

namespace {

// Code points: every byte of UTF-8 but the continuations.
std::size_t width(const std::string& cell) {
  return static_cast<std::size_t>(
      std::count_if(cell.begin(), cell.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// A column of numbers, empty cells and dashes aside.
bool is_numeric(const Table& table, std::size_t column) {
  bool any = false;
  for (const auto& row : table.rows) {
    const std::string& cell = row[column];
    if (cell.empty() || cell == "-") continue;
    if (!parse_double(cell)) return false;
    any = true;
  }
  return any;
}

std::string with_newlines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

}  // namespace

std::string table_text(const Table& table) {
  const std::size_t columns = table.header.size();
  std::vector<std::size_t> widths(columns);
  std::vector<bool> right(columns);
  for (std::size_t c = 0; c < columns; ++c) {
    widths[c] = width(table.header[c]);
    for (const auto& row : table.rows) widths[c] = std::max(widths[c], width(row[c]));
    right[c] = is_numeric(table, c);
  }
  std::vector<std::string> lines;
  const auto add = [&](const std::vector<std::string>& row) {
    std::string line;
    for (std::size_t c = 0; c < columns; ++c) {
      const std::string padding(widths[c] - width(row[c]), ' ');
      if (c > 0) line += "  ";
      line += right[c] ? padding + row[c] : row[c] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    lines.push_back(line);
  };
  add(table.header);
  for (const auto& row : table.rows) add(row);
  return with_newlines(lines);
}

std::string table_markdown(const Table& table) {
  std::vector<std::string> lines;
  const auto add = [&](const std::vector<std::string>& row,
                       const std::function<std::string(const std::string&)>& cell) {
    std::string line = "|";
    for (const std::string& value : row) line += " " + cell(value) + " |";
    lines.push_back(line);
  };
  const auto escaped = [](const std::string& value) {
    std::string text;
    for (const char c : value) text += c == '|' ? "\\|" : c == '\n' ? std::string("<br>") : std::string(1, c);
    return text;
  };
  add(table.header, escaped);
  std::vector<std::string> rule;
  for (std::size_t c = 0; c < table.header.size(); ++c) rule.emplace_back(is_numeric(table, c) ? "---:" : "---");
  add(rule, escaped);
  for (const auto& row : table.rows) add(row, escaped);
  return with_newlines(lines);
}

std::string table_csv(const Table& table) {
  std::string text;
  const auto add = [&](const std::vector<std::string>& row) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (c > 0) text += ',';
      if (row[c].find_first_of(",\"\r\n") == std::string::npos) {
        text += row[c];
        continue;
      }
      text += '"';
      for (const char letter : row[c]) text += letter == '"' ? std::string("\"\"") : std::string(1, letter);
      text += '"';
    }
    text += "\r\n";
  };
  add(table.header);
  for (const auto& row : table.rows) add(row);
  return text;
}

}  // namespace solera
