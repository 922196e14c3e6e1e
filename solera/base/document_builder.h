// What both readers of documents share: nodes with positions, the depth limit, errors that point into the text.
#pragma once

#include <string>
#include <string_view>

#include "solera/base/document.h"
#include "solera/base/error.h"

namespace solera {

class DocumentBuilder {
 public:
  static constexpr int kDeepest = 256;

  struct Position {
    int line = 0, column = 0;  // from 1
  };

  explicit DocumentBuilder(const std::string& file);

  void place(Node& node, Position at) const {
    node.file_ = file_;
    node.line_ = at.line;
    node.column_ = at.column;
  }
  static void make_scalar(Node& node, std::string text, bool quoted) {
    node.kind_ = Node::Kind::kScalar;
    node.quoted_ = quoted;
    node.scalar_ = std::move(text);
  }
  static void make_list(Node& node) { node.kind_ = Node::Kind::kList; }
  static void make_map(Node& node) { node.kind_ = Node::Kind::kMap; }
  static Node& add_item(Node& list) { return list.items_.emplace_back(); }
  // Fills a new item or entry with a finished node; the entry keeps its key.
  static void give(Node& place, Node&& value) {
    value.name_ = std::move(place.name_);
    value.key_line_ = place.key_line_;
    value.key_column_ = place.key_column_;
    place = std::move(value);
  }
  // The new entry's node; throws if the key is there already.
  Node& add_entry(Node& map, std::string key, Position at) const;
  // The same for a finished node, unless the key is there already.
  static void add_inherited(Node& map, const std::string& key, const Node& value);
  // Moves the last entries, from number `first` on, before entry number `place`.
  static void rotate_entries(Node& map, std::size_t place, std::size_t first);

  Error error(std::string what, Position at, std::string hint = "") const;
  Error too_deep(Position at) const;

  // Throws at the first byte that is not UTF-8 or, where `printable`, the first control character.
  void require_text(std::string_view text, bool printable) const;

  // Line and column of an offset, counted from the text's start.
  static Position position_of(std::string_view text, std::size_t offset);

  // Is the whole text a number in JSON's grammar?
  static bool is_json_number(std::string_view text);

 private:
  const std::string* file_;
};

}  // namespace solera
