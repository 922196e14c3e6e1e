#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>
#include <map>
#include <sstream>

#include "solera/base/document.h"
#include "solera/base/document_builder.h"
#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"

namespace solera {
namespace {

using Position = DocumentBuilder::Position;

// What aliases and anchors may copy in one stream, in bytes: enough for any configuration, too little for a bomb.
constexpr std::size_t kMostCopied = std::size_t{64} << 20;
constexpr std::string_view kCoreTag = "tag:yaml.org,2002:";

Position position_of(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

struct Extent {
  std::size_t bytes = 0;
  int depth = 0;  // of containers
};

Extent extent_of(const Node& node) {
  Extent all{sizeof(Node) + (node.is_scalar() ? node.as_text().size() : 0), 0};
  const auto include = [&](const Node& child) {
    const Extent inner = extent_of(child);
    all.bytes += inner.bytes + child.name().size();
    all.depth = std::max(all.depth, inner.depth);
  };
  for (const Node& item : node.items()) include(item);
  for (const auto& entry : node.entries()) include(entry.second);
  if (!node.is_scalar() && !node.is_null()) ++all.depth;
  return all;
}

class YamlReader : public YAML::EventHandler {
 public:
  explicit YamlReader(const DocumentBuilder& builder) : builder_(builder) {}

  Node take_root() { return std::move(root_); }
  Position start() const { return start_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    start_ = position_of(mark);
    root_ = Node();
    anchors_.clear();
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (wants_key()) throw builder_.error("an empty key", position_of(mark), "put quotes around it if it is text");
    Node node;
    builder_.place(node, position_of(mark));
    finish(std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const Position at = position_of(mark);
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) throw builder_.error("an alias inside the value that it names", at);
    const Anchored& anchored = found->second;
    if (wants_key()) {
      if (!anchored.node.is_scalar()) throw builder_.error("a key that is not text", at);
      take_key(anchored.node.as_text(), false, at);
      return;
    }
    spend(anchored.extent.bytes, at);
    if (static_cast<int>(frames_.size()) + anchored.extent.depth > DocumentBuilder::kDeepest) {
      throw builder_.too_deep(at);
    }
    finish(anchored.node, YAML::NullAnchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    const Position at = position_of(mark);
    Node node;
    builder_.place(node, at);
    const bool plain = interpret(tag, value, at, node);
    if (wants_key()) {
      take_key(value, plain && value == "<<", at);
      if (anchor != YAML::NullAnchor) remember(std::move(node), anchor);
      return;
    }
    finish(std::move(node), anchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, "seq", anchor);
    DocumentBuilder::make_list(frames_.back().node);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, "map", anchor);
    DocumentBuilder::make_map(frames_.back().node);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    Node node;
    YAML::anchor_t anchor = YAML::NullAnchor;
    std::string key;  // of the value to come
    Position key_at;
    bool has_key = false, merges_next = false;
    bool has_merge = false;
    std::size_t merge_place = 0;  // entries before the merge key
    std::vector<Node> merged;     // maps, the earliest one wins
  };
  struct Anchored {
    Node node;
    Extent extent;
  };

  bool wants_key() const { return !frames_.empty() && frames_.back().node.is_map() && !frames_.back().has_key; }

  // Sets the value of a scalar as its tag says; true if it is plain.
  bool interpret(const std::string& tag, const std::string& value, Position at, Node& node) const {
    if (tag == "!" || tag == cat(kCoreTag, "str")) {
      DocumentBuilder::make_scalar(node, value, true);
      return false;
    }
    if (tag == "?" || tag.empty()) {
      DocumentBuilder::make_scalar(node, value, false);
      return true;
    }
    const std::string name = require_core(tag, at);
    if (name == "null" && (value.empty() || value == "~" || value == "null")) return true;
    DocumentBuilder::make_scalar(node, value, false);
    if (name == "int") node.as_int();
    if (name == "float") node.as_double();
    if (name == "bool") node.as_bool();
    if (name != "int" && name != "float" && name != "bool") throw unknown(tag, at);
    return true;
  }

  Error unknown(const std::string& tag, Position at) const {
    return builder_.error(cat("unknown tag ", to_json(Node::text(tag))), at, "remove it");
  }

  std::string require_core(const std::string& tag, Position at) const {
    if (!tag.starts_with(kCoreTag)) throw unknown(tag, at);
    return tag.substr(kCoreTag.size());
  }

  void open(const YAML::Mark& mark, const std::string& tag, const char* own_tag, YAML::anchor_t anchor) {
    const Position at = position_of(mark);
    if (wants_key()) throw builder_.error("a key that is not text", at);
    if (static_cast<int>(frames_.size()) >= DocumentBuilder::kDeepest) throw builder_.too_deep(at);
    if (tag != "?" && tag != "!" && !tag.empty() && require_core(tag, at) != own_tag) throw unknown(tag, at);
    Frame& frame = frames_.emplace_back();
    frame.anchor = anchor;
    builder_.place(frame.node, at);
  }

  void close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    if (!frame.merged.empty()) {
      const std::size_t own = frame.node.entries().size();
      for (const Node& source : frame.merged) {
        for (const auto& [key, value] : source.entries()) DocumentBuilder::add_inherited(frame.node, key, value);
      }
      DocumentBuilder::rotate_entries(frame.node, frame.merge_place, own);
    }
    finish(std::move(frame.node), frame.anchor);
  }

  void take_key(const std::string& key, bool merges, Position at) {
    Frame& frame = frames_.back();
    if (merges && frame.has_merge) throw builder_.error("duplicate key \"<<\"", at, "give it a list of maps");
    frame.key = key;
    frame.key_at = at;
    frame.has_key = true;
    frame.merges_next = merges;
  }

  void take_merge(Frame& frame, Node node) {
    const auto take = [&](Node map) {
      if (!map.is_map()) {
        throw builder_.error("the merge key \"<<\" takes a map or a list of maps", frame.key_at);
      }
      frame.merged.push_back(std::move(map));
    };
    frame.has_merge = true;
    frame.merge_place = frame.node.entries().size();
    if (!node.is_list()) {
      take(std::move(node));
      return;
    }
    for (const Node& item : node.items()) take(item);
  }

  void finish(Node node, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) remember(node, anchor);
    if (frames_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = frames_.back();
    if (frame.node.is_list()) {
      DocumentBuilder::give(DocumentBuilder::add_item(frame.node), std::move(node));
      return;
    }
    frame.has_key = false;
    if (frame.merges_next) {
      take_merge(frame, std::move(node));
    } else {
      DocumentBuilder::give(builder_.add_entry(frame.node, std::move(frame.key), frame.key_at), std::move(node));
    }
  }

  void remember(Node node, YAML::anchor_t anchor) {
    const Extent extent = extent_of(node);
    spend(extent.bytes, {node.line(), node.column()});
    anchors_[anchor] = {std::move(node), extent};
  }

  void spend(std::size_t bytes, Position at) {
    copied_ += bytes;
    if (copied_ > kMostCopied) throw builder_.error("aliases expand to more than 64 MiB", at);
  }

  const DocumentBuilder& builder_;
  Node root_;
  Position start_;
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, Anchored> anchors_;
  std::size_t copied_ = 0;
};

// yaml-cpp takes what follows a complete value for another document; only `---` or an earlier `...` begins one.
bool begins_document(const std::vector<std::string>& lines, Position at) {
  const std::size_t line = static_cast<std::size_t>(at.line - 1);
  if (line < lines.size() && at.column == 1 && lines[line].starts_with("---")) return true;
  for (std::size_t i = std::min(line, lines.size()); i-- > 0;) {
    if (lines[i].starts_with("...")) return true;
    const std::string_view text = trim(lines[i]);
    if (!text.empty() && text[0] != '#') return false;
  }
  return false;
}

}  // namespace

std::vector<Node> parse_yaml_stream(std::string_view text, const std::string& file) {
  const DocumentBuilder builder(file);
  builder.require_text(text, true);
  const std::vector<std::string> lines = split(text, '\n');
  std::istringstream stream{std::string(text)};
  std::vector<Node> documents;
  try {
    YAML::Parser parser(stream);
    YamlReader reader(builder);
    while (parser.HandleNextDocument(reader)) {
      if (!documents.empty() && !begins_document(lines, reader.start())) {
        throw builder.error("not valid YAML: text after the end", reader.start());
      }
      documents.push_back(reader.take_root());
    }
  } catch (const YAML::Exception& error) {
    throw builder.error(cat("not valid YAML: ", error.msg),
                        error.mark.is_null() ? Position() : position_of(error.mark));
  }
  return documents;
}

Node parse_yaml(std::string_view text, const std::string& file) {
  std::vector<Node> documents = parse_yaml_stream(text, file);
  if (documents.empty()) return {};
  if (documents.size() > 1) {
    throw input_error(cat(documents.size(), " YAML documents where one is expected"),
                      documents[1].where().empty() ? file : documents[1].where());
  }
  return std::move(documents.front());
}

Node read_yaml(const std::string& path) { return parse_yaml(read_file(path), path); }

}  // namespace solera
