// YAML and JSON as one tree whose every node knows its line and column, also after parsing.
//
// Reading: yaml-cpp for YAML (1.2 core scalars, anchors, merge keys `<<`), simdjson for JSON. Refused with file, line
// and column: syntax errors, duplicate keys, invalid UTF-8, nesting deeper than 256, trailing text, unknown tags, and
// aliases that would expand to more than 64 MiB. Scalars keep their text, so that 64-bit integers stay exact, and are
// interpreted when asked for: `weight: 1e-3`, `"0.3"` and `yes` are what the reader expects them to be. A JSON string
// is quoted and never null.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace solera {

class Node {
 public:
  enum class Kind { kNull, kScalar, kList, kMap };

  Node() = default;                     // null
  static Node text(std::string value);  // a quoted string
  static Node number(double value);
  static Node integer(std::int64_t value);
  static Node boolean(bool value);
  static Node list(std::vector<Node> items = {});
  static Node map(std::vector<std::pair<std::string, Node>> entries = {});

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::kNull; }
  bool is_scalar() const { return kind_ == Kind::kScalar; }
  bool is_list() const { return kind_ == Kind::kList; }
  bool is_map() const { return kind_ == Kind::kMap; }
  bool is_quoted() const { return quoted_; }  // a string in JSON or a quoted or block scalar in YAML

  // Maps, in file order. find() returns null (the pointer) where the key is missing; at() throws Error (input). Maps of
  // more than a few entries are found by hash.
  const Node* find(std::string_view key) const;
  const Node& at(std::string_view key) const;
  std::span<const std::pair<std::string, Node>> entries() const { return entries_; }
  std::span<const Node> items() const { return items_; }  // of a list
  void set(std::string key, Node value);                  // adds or replaces; makes a null node a map
  void push(Node value);                                  // makes a null node a list
  bool erase(std::string_view key);

  // The value as a type, or Error (input): `"density" is "high", not a number (blend.yaml:7:14)`.
  const std::string& as_text() const;
  double as_double() const;     // also .inf, .nan, and text that is a number ("1.25")
  std::int64_t as_int() const;  // 3, also 3.0
  std::uint64_t as_uint() const;
  bool as_bool() const;  // true, false, and YAML 1.1's yes, no, on, off in any case, also as text
  std::optional<double> try_double() const;
  std::optional<bool> try_bool() const;

  int line() const { return line_; }      // from 1; 0 where the node was made in memory
  int column() const { return column_; }  // from 1, in characters
  std::string where() const;  // "blend.yaml:7:14", "blend.yaml" without a line, "line 7:14" without a file, or ""
  const std::string& name() const { return name_; }  // the key of the map that it is in, or ""
  std::string key_where() const;                     // where that key is; where() if the node has no key

  // A JSON pointer (RFC 6901), "" is the node itself; null where nothing is there.
  const Node* pointer(std::string_view path) const;

  friend class DocumentBuilder;

 private:
  Kind kind_ = Kind::kNull;
  bool quoted_ = false;
  int line_ = 0, column_ = 0;
  int key_line_ = 0, key_column_ = 0;
  std::string name_;
  std::string scalar_;
  std::vector<Node> items_;
  std::vector<std::pair<std::string, Node>> entries_;
  std::vector<std::uint32_t> index_;   // a hash table of entry number + 1; empty for small maps
  const std::string* file_ = nullptr;  // interned for the life of the process

  Node& add(std::string key);
  void reindex();
};

// `file` is used in messages only. A stream of several YAML documents is refused by parse_yaml.
Node parse_yaml(std::string_view text, const std::string& file = "");
std::vector<Node> parse_yaml_stream(std::string_view text, const std::string& file = "");
Node parse_json(std::string_view text, const std::string& file = "");
Node read_yaml(const std::string& path);
Node read_json(const std::string& path);

// JSON text: keys in order, shortest numbers that read back equal, non-finite numbers as null. indent < 0 is one line.
std::string to_json(const Node& node, int indent = -1);
// Block-style YAML that parse_yaml reads back to the same kinds, keys, texts and values.
std::string to_yaml(const Node& node);

// Throws Error (input) at the first key of `map` that is not listed: `unknown key "densty" (f.yaml:4:5); did you mean
// "density"?`. `what` names the place in the message ("in a model's parameters"), may be empty. Null has no keys.
void require_known_keys(const Node& map, std::span<const std::string> known, std::string_view what = "");

}  // namespace solera
