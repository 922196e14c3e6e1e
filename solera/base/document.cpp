#include "solera/base/document.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <mutex>
#include <set>

#include "solera/base/document_builder.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"

namespace solera {
namespace {

constexpr std::size_t kIndexed = 16;  // maps with more entries have a hash index

const std::string* intern(const std::string& file) {
  static std::mutex mutex;
  static std::set<std::string> files;
  const std::lock_guard lock(mutex);
  return &*files.insert(file).first;
}

std::string place_text(const std::string* file, int line, int column) {
  if (line == 0) return file ? *file : "";
  if (file == nullptr || file->empty()) return cat("line ", line, ":", column);
  return cat(*file, ":", line, ":", column);
}

std::string quoted(std::string_view text) {
  constexpr std::size_t kMost = 60;
  if (text.size() <= kMost) return to_json(Node::text(std::string(text)));
  std::size_t end = kMost;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return to_json(Node::text(std::string(text.substr(0, end)) + "..."));
}

std::string content_text(const Node& node) {
  if (node.is_map()) return "a map";
  if (node.is_list()) return "a list";
  return node.is_null() ? "empty" : quoted(node.as_text());
}

Error mismatch(const Node& node, const char* wanted) {
  const std::string content = content_text(node);
  if (!node.name().empty()) {
    return input_error(cat(quoted(node.name()), " is ", content, ", not ", wanted), node.where());
  }
  return input_error(cat(node.is_null() ? "an empty value" : content, " is not ", wanted), node.where());
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return result;
}

// 0x1f and 0o17 of YAML 1.2's core schema.
std::optional<std::uint64_t> based_integer(std::string_view text) {
  const int base = text.starts_with("0x") ? 16 : text.starts_with("0o") ? 8 : 0;
  if (base == 0) return std::nullopt;
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, status] = std::from_chars(text.data() + 2, end, value, base);
  if (status != std::errc() || stop != end || text.size() == 2) return std::nullopt;
  return value;
}

std::optional<double> number_of(const std::string& text) {
  if (const auto value = based_integer(text)) return static_cast<double>(*value);
  if (const std::string low = lower(text); low == ".nan") {
    return std::nan("");
  } else if (low == ".inf" || low == "+.inf") {
    return HUGE_VAL;
  } else if (low == "-.inf") {
    return -HUGE_VAL;
  }
  if (text.find_first_of("nNiI") != std::string::npos) return std::nullopt;  // "nan" and "infinity" may be names
  return parse_double(text);
}

// A whole number that was written with a point or an exponent, where a double holds it exactly.
std::optional<std::int64_t> whole_double(const std::string& text) {
  constexpr double kExact = 9007199254740992.0;
  const auto value = number_of(text);
  if (!value || !(std::fabs(*value) <= kExact) || *value != std::floor(*value)) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

std::size_t slot_of(std::string_view key, std::size_t slots) { return hash64(key) & (slots - 1); }

}  // namespace

Node Node::text(std::string value) {
  Node node;
  DocumentBuilder::make_scalar(node, std::move(value), true);
  return node;
}

Node Node::number(double value) {
  std::string text = exact_text(value);
  if (std::isnan(value)) text = ".nan";
  if (std::isinf(value)) text = value > 0 ? ".inf" : "-.inf";
  Node node;
  DocumentBuilder::make_scalar(node, std::move(text), false);
  return node;
}

Node Node::integer(std::int64_t value) {
  Node node;
  DocumentBuilder::make_scalar(node, std::to_string(value), false);
  return node;
}

Node Node::boolean(bool value) {
  Node node;
  DocumentBuilder::make_scalar(node, value ? "true" : "false", false);
  return node;
}

Node Node::list(std::vector<Node> items) {
  Node node;
  node.kind_ = Kind::kList;
  node.items_ = std::move(items);
  return node;
}

Node Node::map(std::vector<std::pair<std::string, Node>> entries) {
  Node node;
  node.kind_ = Kind::kMap;
  for (auto& [key, value] : entries) node.set(std::move(key), std::move(value));
  return node;
}

const Node* Node::find(std::string_view key) const {
  if (index_.empty()) {
    for (const auto& [name, value] : entries_) {
      if (name == key) return &value;
    }
    return nullptr;
  }
  for (std::size_t slot = slot_of(key, index_.size()); index_[slot] != 0; slot = (slot + 1) & (index_.size() - 1)) {
    const auto& entry = entries_[index_[slot] - 1];
    if (entry.first == key) return &entry.second;
  }
  return nullptr;
}

const Node& Node::at(std::string_view key) const {
  if (const Node* found = find(key)) return *found;
  if (!is_map() && !is_null()) throw mismatch(*this, "a map");
  std::vector<std::string> keys;
  for (const auto& entry : entries_) keys.push_back(entry.first);
  const std::string near = nearest(key, keys);
  throw input_error(cat("missing key ", quoted(key), name_.empty() ? "" : " in " + quoted(name_)), where(),
                    near.empty() ? "" : cat("there is ", quoted(near)));
}

// A table of at least twice as many slots as entries; linear probing.
void Node::reindex() {
  index_.clear();
  if (entries_.size() <= kIndexed) return;
  std::size_t slots = 64;
  while (slots < 4 * entries_.size()) slots *= 2;
  index_.resize(slots);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    std::size_t slot = slot_of(entries_[i].first, slots);
    while (index_[slot] != 0) slot = (slot + 1) & (slots - 1);
    index_[slot] = static_cast<std::uint32_t>(i + 1);
  }
}

// Requires that the key is not there.
Node& Node::add(std::string key) {
  auto& [name, value] = entries_.emplace_back(std::move(key), Node());
  value.name_ = name;
  if (entries_.size() * 2 > index_.size()) {
    reindex();
  } else {
    std::size_t slot = slot_of(name, index_.size());
    while (index_[slot] != 0) slot = (slot + 1) & (index_.size() - 1);
    index_[slot] = static_cast<std::uint32_t>(entries_.size());
  }
  return value;
}

void Node::set(std::string key, Node value) {
  if (is_null()) kind_ = Kind::kMap;
  if (!is_map()) throw internal_error(cat("the key ", quoted(key), " is set on ", content_text(*this)), where());
  auto* found = const_cast<Node*>(find(key));
  Node& target = found ? *found : add(key);
  target = std::move(value);
  target.name_ = std::move(key);
}

void Node::push(Node value) {
  if (is_null()) kind_ = Kind::kList;
  if (!is_list()) throw internal_error(cat("an item is added to ", content_text(*this)), where());
  items_.push_back(std::move(value));
}

bool Node::erase(std::string_view key) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](auto& entry) { return entry.first == key; });
  if (found == entries_.end()) return false;
  entries_.erase(found);
  reindex();
  return true;
}

const std::string& Node::as_text() const {
  if (!is_scalar()) throw mismatch(*this, "text");
  return scalar_;
}

std::optional<double> Node::try_double() const { return is_scalar() ? number_of(scalar_) : std::nullopt; }

double Node::as_double() const {
  if (const auto value = try_double()) return *value;
  throw mismatch(*this, "a number");
}

std::int64_t Node::as_int() const {
  if (const auto exact = is_scalar() ? parse_int(scalar_) : std::nullopt) return *exact;
  if (const auto whole = is_scalar() ? whole_double(scalar_) : std::nullopt) return *whole;
  throw mismatch(*this, "a whole number");
}

std::uint64_t Node::as_uint() const {
  if (is_scalar()) {
    std::uint64_t value = 0;
    const char* end = scalar_.data() + scalar_.size();
    const auto [stop, status] = std::from_chars(scalar_.data(), end, value);
    if (status == std::errc() && stop == end) return value;
    if (const auto based = based_integer(scalar_)) return *based;
    if (const auto whole = whole_double(scalar_); whole && *whole >= 0) return static_cast<std::uint64_t>(*whole);
  }
  throw mismatch(*this, "a whole number from 0");
}

std::optional<bool> Node::try_bool() const {
  if (!is_scalar() || scalar_.size() > 5) return std::nullopt;
  const std::string low = lower(scalar_);
  if (low == "true" || low == "yes" || low == "on") return true;
  if (low == "false" || low == "no" || low == "off") return false;
  return std::nullopt;
}

bool Node::as_bool() const {
  if (const auto value = try_bool()) return *value;
  throw mismatch(*this, "true or false");
}

std::string Node::where() const { return place_text(file_, line_, column_); }

std::string Node::key_where() const { return key_line_ == 0 ? where() : place_text(file_, key_line_, key_column_); }

const Node* Node::pointer(std::string_view path) const {
  if (path.empty()) return this;
  if (path[0] != '/') return nullptr;
  const Node* node = this;
  for (const std::string& piece : split(path.substr(1), '/')) {
    std::string key;
    for (std::size_t i = 0; i < piece.size(); ++i) {
      if (piece[i] != '~') {
        key += piece[i];
        continue;
      }
      if (++i == piece.size() || (piece[i] != '0' && piece[i] != '1')) return nullptr;
      key += piece[i] == '0' ? '~' : '/';
    }
    if (node->is_list()) {
      const bool digits = !key.empty() && key.find_first_not_of("0123456789") == std::string::npos;
      const auto index = digits && (key == "0" || key[0] != '0') ? parse_int(key) : std::nullopt;
      if (!index || static_cast<std::size_t>(*index) >= node->items_.size()) return nullptr;
      node = &node->items_[static_cast<std::size_t>(*index)];
    } else {
      node = node->find(key);
      if (node == nullptr) return nullptr;
    }
  }
  return node;
}

void require_known_keys(const Node& map, std::span<const std::string> known, std::string_view what) {
  if (map.is_null()) return;
  if (!map.is_map()) throw mismatch(map, "a map");
  for (const auto& [key, value] : map.entries()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string near = nearest(key, known);
    const std::string hint =
        near.empty() ? "known keys: " + join(known, ", ") : cat("did you mean ", quoted(near), "?");
    throw input_error(cat("unknown key ", quoted(key), what.empty() ? "" : " ", what), value.key_where(),
                      known.empty() ? "" : hint);
  }
}

DocumentBuilder::DocumentBuilder(const std::string& file) : file_(intern(file)) {}

Node& DocumentBuilder::add_entry(Node& map, std::string key, Position at) const {
  if (const Node* first = map.find(key)) {
    throw error(cat("duplicate key ", quoted(key)), at, cat("it is at line ", first->key_line_, " already"));
  }
  Node& value = map.add(std::move(key));
  value.key_line_ = at.line;
  value.key_column_ = at.column;
  return value;
}

void DocumentBuilder::add_inherited(Node& map, const std::string& key, const Node& value) {
  if (map.find(key) == nullptr) map.add(key) = value;
}

void DocumentBuilder::rotate_entries(Node& map, std::size_t place, std::size_t first) {
  const auto at = [&](std::size_t i) { return map.entries_.begin() + static_cast<std::ptrdiff_t>(i); };
  std::rotate(at(place), at(first), map.entries_.end());
  map.reindex();
}

Error DocumentBuilder::error(std::string what, Position at, std::string hint) const {
  return input_error(std::move(what), place_text(file_, at.line, at.column), std::move(hint));
}

Error DocumentBuilder::too_deep(Position at) const { return error(cat("nested more than ", kDeepest, " deep"), at); }

void DocumentBuilder::require_text(std::string_view text, bool printable) const {
  if (!is_utf8(text)) {
    std::size_t good = 0;
    while (good < text.size()) {
      std::size_t width = 1;
      while (width < 4 && good + width < text.size() &&
             (static_cast<unsigned char>(text[good + width]) & 0xC0) == 0x80) {
        ++width;
      }
      if (!is_utf8(text.substr(good, width))) break;
      good += width;
    }
    throw error("not UTF-8", position_of(text, good));
  }
  if (!printable) return;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c >= 32 && c != 127) || c == '\t' || c == '\n' || c == '\r') continue;
    throw error(cat("a control character (code ", int{c}, ")"), position_of(text, i),
                "write it as an escape in quotes");
  }
}

DocumentBuilder::Position DocumentBuilder::position_of(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const std::size_t newline = before.rfind('\n');
  const std::string_view line = newline == std::string_view::npos ? before : before.substr(newline + 1);
  const auto is_start = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  return {static_cast<int>(1 + std::count(before.begin(), before.end(), '\n')),
          static_cast<int>(1 + std::count_if(line.begin(), line.end(), is_start))};
}

}  // namespace solera
