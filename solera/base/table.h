// Tables for terminals, Markdown and CSV.
#pragma once

#include <string>
#include <vector>

namespace solera {

struct Table {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  // each as long as the header
};

// Columns padded to the widest cell (UTF-8 code points counted), numbers to the right, two spaces between columns.
std::string table_text(const Table& table);
std::string table_markdown(const Table& table);
std::string table_csv(const Table& table);  // RFC 4180 quoting

}  // namespace solera
