#include <cmath>

#include "solera/base/document.h"
#include "solera/base/document_builder.h"
#include "solera/base/text.h"

namespace solera {
namespace {

std::string hex_escape(std::string_view prefix, unsigned code, int digits) {
  std::string text(prefix);
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) text += "0123456789abcdef"[(code >> shift) & 15];
  return text;
}

// Bytes of the valid UTF-8 character at `i`, 0 if there is none.
std::size_t character_at(std::string_view text, std::size_t i) {
  for (std::size_t width = 1; width <= 4 && i + width <= text.size(); ++width) {
    if (is_utf8(text.substr(i, width))) return width;
  }
  return 0;
}

// A string in double quotes as both formats read it. Bytes that are not UTF-8, which file names may contain, become
// U+FFFD. YAML also escapes the characters that its readers take for breaks or a byte order mark.
std::string quoted_string(std::string_view text, bool yaml) {
  const bool valid = is_utf8(text);
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      ++i;
      if (c == '"' || c == '\\') {
        (out += '\\') += static_cast<char>(c);
      } else if (c == '\n') {
        out += "\\n";
      } else if (c == '\t') {
        out += "\\t";
      } else if (c == '\r') {
        out += "\\r";
      } else if (c < 32 || c == 127) {
        out += hex_escape("\\u", c, 4);
      } else {
        out += static_cast<char>(c);
      }
      continue;
    }
    if (!valid && character_at(text, i) == 0) {
      out += "\xEF\xBF\xBD";
      ++i;
      continue;
    }
    const std::size_t width = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    const std::string_view character = text.substr(i, width);
    i += width;
    if (yaml && c == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0) {
      out += hex_escape("\\u", static_cast<unsigned char>(character[1]), 4);
    } else if (yaml && (character == "\xE2\x80\xA8" || character == "\xE2\x80\xA9")) {
      out += hex_escape("\\u", 0x2000u | (static_cast<unsigned char>(character[2]) & 0x3F), 4);
    } else if (yaml && character == "\xEF\xBB\xBF") {
      out += "\\ufeff";
    } else {
      out += character;
    }
  }
  return out += '"';
}

std::string json_scalar(const Node& node) {
  const std::string& text = node.as_text();
  if (node.is_quoted()) return quoted_string(text, false);
  if (text == "true" || text == "True" || text == "TRUE") return "true";
  if (text == "false" || text == "False" || text == "FALSE") return "false";
  if (DocumentBuilder::is_json_number(text)) return text;
  if (const auto value = node.try_double()) {
    if (!std::isfinite(*value)) return "null";
    if (const auto whole = parse_int(text)) return std::to_string(*whole);
    return text.starts_with("0x") || text.starts_with("0o") ? std::to_string(node.as_uint()) : exact_text(*value);
  }
  return quoted_string(text, false);
}

class JsonWriter {
 public:
  explicit JsonWriter(int indent) : indent_(indent) {}

  void write(const Node& node, int depth) {
    if (node.is_null()) {
      out += "null";
    } else if (node.is_scalar()) {
      out += json_scalar(node);
    } else if (node.is_list()) {
      out += '[';
      bool first = true;
      for (const Node& item : node.items()) {
        separate(first, depth + 1);
        write(item, depth + 1);
      }
      finish(first, depth, ']');
    } else {
      out += '{';
      bool first = true;
      for (const auto& [key, value] : node.entries()) {
        separate(first, depth + 1);
        out += quoted_string(key, false);
        out += indent_ < 0 ? ":" : ": ";
        write(value, depth + 1);
      }
      finish(first, depth, '}');
    }
  }

  std::string out;

 private:
  void line(int depth) {
    if (indent_ < 0) return;
    out += '\n';
    out.append(static_cast<std::size_t>(indent_) * static_cast<std::size_t>(depth), ' ');
  }
  void separate(bool& first, int depth) {
    if (!first) out += ',';
    first = false;
    line(depth);
  }
  void finish(bool empty, int depth, char bracket) {
    if (!empty) line(depth);
    out += bracket;
  }

  int indent_;
};

bool is_plain_yaml(std::string_view text) {
  constexpr std::string_view kSafe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+-/";
  if (text.empty() || text.find_first_not_of(kSafe) != std::string_view::npos) return false;
  if (text[0] == '-' && (text.size() == 1 || text[1] == '-')) return false;
  if (text.starts_with("...")) return false;
  return text != "null" && text != "Null" && text != "NULL";
}

std::string yaml_scalar(const Node& node) {
  if (node.is_null()) return "null";
  const std::string& text = node.as_text();
  return !node.is_quoted() && is_plain_yaml(text) ? text : quoted_string(text, true);
}

// yaml-cpp, as the specification allows, finds a key only if it ends within 1024 characters on its line.
constexpr std::size_t kLongestSimpleKey = 256;

void write_yaml(const Node& node, std::size_t indent, std::string& out);

// What follows "key:" or "-": a scalar on the same line, a container below or, behind a dash, beside it.
void write_child(const Node& node, std::size_t indent, bool behind_dash, std::string& out) {
  const bool block = (node.is_list() && !node.items().empty()) || (node.is_map() && !node.entries().empty());
  if (!block) {
    out += ' ';
    write_yaml(node, indent, out);
    out += '\n';
  } else if (behind_dash) {
    std::string inner;
    write_yaml(node, indent + 2, inner);
    out += ' ';
    out.append(inner, indent + 2);
  } else {
    out += '\n';
    write_yaml(node, indent + 2, out);
  }
}

void write_yaml(const Node& node, std::size_t indent, std::string& out) {
  if (node.is_list()) {
    if (node.items().empty()) out += "[]";
    for (const Node& item : node.items()) {
      out.append(indent, ' ');
      out += '-';
      write_child(item, indent, true, out);
    }
  } else if (node.is_map()) {
    if (node.entries().empty()) out += "{}";
    for (const auto& [key, value] : node.entries()) {
      out.append(indent, ' ');
      const std::string written = is_plain_yaml(key) ? key : quoted_string(key, true);
      const bool long_key = written.size() > kLongestSimpleKey;
      if (long_key) (out += "? " + written + '\n').append(indent, ' ');
      out += long_key ? ":" : written + ":";
      write_child(value, indent, long_key, out);
    }
  } else {
    out += yaml_scalar(node);
  }
}

}  // namespace

std::string to_json(const Node& node, int indent) {
  JsonWriter writer(indent);
  writer.write(node, 0);
  return std::move(writer.out);
}

std::string to_yaml(const Node& node) {
  std::string out;
  write_yaml(node, 0, out);
  if (out.empty() || out.back() != '\n') out += '\n';
  return out;
}

}  // namespace solera
