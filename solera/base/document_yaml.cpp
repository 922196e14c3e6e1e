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

// Is the line a document's start `---` or end `...`?
bool is_indicator(std::string_view line, std::string_view indicator) {
  return line.starts_with(indicator) && (line.size() == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r');
}

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

// Follows the events of a document before anything is built of it: the depth, and where the last scalar began.
class YamlChecker : public YAML::EventHandler {
 public:
  YamlChecker(const DocumentBuilder& builder, int lines_before) : builder_(builder), lines_before_(lines_before) {}
  Position last_scalar() const { return last_scalar_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    // yaml-cpp takes what follows a complete value for another document, over and over if it cannot be one.
    if (++documents_ > 1) throw builder_.error("not valid YAML: text after the end", place(mark));
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t, const std::string&) override {
    last_scalar_ = place(mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    enter(mark);
  }
  void OnSequenceEnd() override { --depth_; }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    enter(mark);
  }
  void OnMapEnd() override { --depth_; }

 private:
  void enter(const YAML::Mark& mark) {
    if (++depth_ > DocumentBuilder::kDeepest) throw builder_.too_deep(place(mark));
  }
  Position place(const YAML::Mark& mark) const { return {mark.line + 1 + lines_before_, mark.column + 1}; }

  const DocumentBuilder& builder_;
  int lines_before_;
  int depth_ = 0, documents_ = 0;
  Position last_scalar_;
};

class YamlReader : public YAML::EventHandler {
 public:
  explicit YamlReader(const DocumentBuilder& builder) : builder_(builder) {}

  Node take_root() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {
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
    // An empty value's mark is where the next token is, lines below.
    if (node.is_null() && node.line() > frame.key_at.line) builder_.place(node, frame.key_at);
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
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, Anchored> anchors_;
  std::size_t copied_ = 0;
};

void check_text(const std::string& text, YamlChecker& checker) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  while (parser.HandleNextDocument(checker)) {
  }
}

// yaml-cpp 0.7 takes a quoted text without end, and a last line without its colon, for complete where the document
// ends in a line break; it does not where a comment follows. `text` is one document.
void check_document(const std::string& text, int lines_before, const DocumentBuilder& builder) {
  YamlChecker checker(builder, lines_before);
  try {
    check_text(text + "#", checker);
  } catch (const YAML::Exception& error) {
    if (error.msg == YAML::ErrorMsg::EOF_IN_SCALAR) {
      YamlChecker again(builder, lines_before);
      try {
        check_text(text, again);
      } catch (const YAML::Exception&) {  // the text around the quotes is not complete either
      }
      throw builder.error("not valid YAML: a quoted text is not closed", again.last_scalar());
    }
    YAML::Mark mark = error.mark;
    if (!mark.is_null()) mark.line += lines_before;
    throw YAML::ParserException(mark, error.msg);
  }
}

// No value reaches over a line that begins with `---` or `...`, so these split a stream into its documents.
void check(const std::vector<std::string>& lines, const DocumentBuilder& builder) {
  std::string document;
  int lines_before = 0;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const bool starts = is_indicator(lines[i], "---"), ends = is_indicator(lines[i], "...");
    if (const std::string_view rest = ends ? trim(std::string_view(lines[i]).substr(3)) : ""; !rest.empty()) {
      const int column = static_cast<int>(rest.data() - lines[i].data()) + 1;
      if (rest[0] != '#') throw builder.error("not valid YAML: text after the end", {static_cast<int>(i + 1), column});
    }
    if (starts || ends) {
      check_document(document, lines_before, builder);
      document.clear();
      lines_before = static_cast<int>(starts ? i : i + 1);
    }
    if (!ends) document += lines[i] + '\n';
  }
  check_document(document, lines_before, builder);
}

}  // namespace

std::vector<Node> parse_yaml_stream(std::string_view text, const std::string& file) {
  const DocumentBuilder builder(file);
  builder.require_text(text, true);
  const std::vector<std::string> lines = split(text, '\n');
  std::string whole(text);
  if (!whole.ends_with('\n')) whole += '\n';
  std::vector<Node> documents;
  try {
    check(lines, builder);
    std::istringstream stream(whole);
    YAML::Parser parser(stream);
    YamlReader reader(builder);
    while (parser.HandleNextDocument(reader)) documents.push_back(reader.take_root());
  } catch (const YAML::Exception& error) {
    Position at = error.mark.is_null() ? Position() : position_of(error.mark);
    const Position end = DocumentBuilder::position_of(text, text.size());
    if (at.line > end.line || (at.line == end.line && at.column > end.column)) at = end;
    throw builder.error(cat("not valid YAML: ", error.msg), at);
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
