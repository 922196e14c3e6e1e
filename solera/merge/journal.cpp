#include "solera/merge/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/checkpoint/descriptor.h"

namespace solera::merge {

namespace {

constexpr int kVersion = 1;

Node header_node(const JournalHeader& header) {
  Node inputs = Node::list();
  for (const checkpoint::FileIdentity& file : header.inputs) {
    Node one;
    one.set("path", Node::text(file.path));
    one.set("size", Node::integer(static_cast<std::int64_t>(file.size)));
    one.set("modified_ns", Node::integer(file.modified_ns));
    one.set("header", Node::text(file.header_hash));
    if (!file.version.empty()) one.set("version", Node::text(file.version));
    inputs.push(std::move(one));
  }
  Node node;
  node.set("solera_journal", Node::integer(kVersion));
  node.set("plan", Node::text(header.plan));
  if (header.rank) {
    node.set("rank", Node::integer(header.rank->rank));
    node.set("of", Node::integer(header.rank->of));
    node.set("program", Node::text(header.rank->program));
    node.set("beside", Node::text(header.rank->beside));
  }
  node.set("inputs", std::move(inputs));
  return node;
}

// Of this version; throws Error for another's.
JournalHeader header_of(const Node& node) {
  JournalHeader header;
  if (node.at("solera_journal").as_int() != kVersion) throw input_error("written by another version of solera");
  header.plan = node.at("plan").as_text();
  if (node.find("rank"))
    header.rank = {static_cast<int>(node.at("rank").as_int()), static_cast<int>(node.at("of").as_int()),
                   node.at("program").as_text(), node.at("beside").as_text()};
  for (const Node& input : node.at("inputs").items()) {
    checkpoint::FileIdentity file;
    file.path = input.at("path").as_text();
    file.size = input.at("size").as_uint();
    file.modified_ns = input.at("modified_ns").as_int();
    file.header_hash = input.at("header").as_text();
    if (const Node* version = input.find("version")) file.version = version->as_text();
    header.inputs.push_back(std::move(file));
  }
  return header;
}

void require_same(const Node& found, const JournalHeader& header, const std::string& folder) {
  const std::string hint = cat("finish it with the same command and inputs, or ",
                               header.rank ? "remove the folder" : "discard it with --restart");
  const Node* format = found.find("solera_journal");
  if (!format || format->as_int() != kVersion)
    throw input_error(cat("written by another version of solera: ", folder), "", hint);
  const JournalHeader before = header_of(found);
  for (std::size_t i = 0; before.inputs.size() == header.inputs.size() && i < before.inputs.size(); ++i) {
    if (before.inputs[i].path != header.inputs[i].path) break;
    if (before.inputs[i] != header.inputs[i])
      throw input_error(cat(header.inputs[i].path, " changed since the unfinished merge began"), folder, hint);
  }
  if (before.plan != header.plan)
    throw input_error("an unfinished merge with other inputs or parameters is in the way", folder, hint);
}

// Where the file system knows no locks, ranks that write the same do no harm.
void lock(int file, const std::string& path, const std::optional<RankHeader>& rank) {
  if (::flock(file, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  const std::string who = rank ? cat("rank ", rank->rank, " of ", rank->of, " is at work already")
                               : "another process is writing this output";
  throw io_error(who, parent_folder(path), "wait for it, or choose another -o");
}

void write_line(int file, const std::string& line, const std::string& path) {
  std::size_t written = 0;
  while (written < line.size()) {
    const ssize_t count = ::write(file, line.data() + written, line.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw io_error(cat("cannot write: ", errno_text(errno)), path);
    written += static_cast<std::size_t>(count);
  }
  if (::fdatasync(file) != 0) throw io_error(cat("cannot sync: ", errno_text(errno)), path);
}

}  // namespace

std::string Journal::path(const std::string& folder, const std::optional<RankHeader>& rank) {
  return join_path(folder, rank ? cat("journal-", rank->rank, "-of-", rank->of, ".jsonl") : "journal.jsonl");
}

std::string Journal::first_line(const JournalHeader& header) { return to_json(header_node(header)); }

void Journal::require_free(const std::string& path) {
  const checkpoint::Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC));  // to lock, NFS wants to write
  if (file) lock(file.get(), path, std::nullopt);
}

Journal::Journal(const std::string& folder, const JournalHeader& header, std::size_t tensors)
    : path_(path(folder, header.rank)), done_(tensors) {
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) throw io_error(cat("cannot open: ", errno_text(errno)), path_);
  try {
    lock(file_, path_, header.rank);
    const std::string text = read_file(path_);
    const std::size_t whole = text.rfind('\n') + 1;  // 0 if there is no whole line
    std::string_view rest(text.data(), whole);
    fresh_ = rest.empty();
    if (fresh_) {
      if (::ftruncate(file_, 0) != 0) throw io_error(cat("cannot truncate: ", errno_text(errno)), path_);
      write_line(file_, first_line(header) + "\n", path_);
      return;
    }
    if (::ftruncate(file_, static_cast<off_t>(whole)) != 0)
      throw io_error(cat("cannot truncate: ", errno_text(errno)), path_);
    bool first = true;
    for (const std::string& line : split(rest.substr(0, whole - 1), '\n')) {
      const Node node = parse_json(line, path_);
      if (first)
        require_same(node, header, folder);
      else if (node.find("written"))
        written_ = true;
      else if (!node.find("finished"))
        for (const Node& number : node.at("done").items()) {
          const std::uint64_t tensor = number.as_uint();
          if (tensor >= tensors) throw input_error("names a tensor that the plan lacks", path_, "use --restart");
          done_[static_cast<std::size_t>(tensor)] = true;
        }
      first = false;
    }
  } catch (...) {
    ::close(file_);
    throw;
  }
}

Journal::~Journal() { ::close(file_); }

void Journal::append(std::span<const std::size_t> tensors) {
  Node list = Node::list();
  for (const std::size_t tensor : tensors) list.push(Node::integer(static_cast<std::int64_t>(tensor)));
  Node node;
  node.set("done", std::move(list));
  write_line(file_, to_json(node) + "\n", path_);
}

void Journal::write(std::uint64_t bytes) {
  Node node;
  node.set("written", Node::integer(static_cast<std::int64_t>(bytes)));
  write_line(file_, to_json(node) + "\n", path_);
}

void Journal::finish(std::uint64_t file_number) {
  Node node;
  node.set("finished", Node::integer(static_cast<std::int64_t>(file_number)));
  write_line(file_, to_json(node) + "\n", path_);
}

std::optional<JournalRecord> find_journal(const std::string& path) {
  JournalRecord record;
  std::string text;
  try {
    text = read_file(path);
  } catch (const Error&) {
    if (!exists(path)) return std::nullopt;  // taken back by a rank that may not join
    throw;
  }
  const std::size_t whole = text.rfind('\n') + 1;  // 0 if there is no whole line
  const std::string_view first = std::string_view(text).substr(0, text.find('\n'));
  constexpr std::string_view kBegin = "{\"solera_journal\":";  // or less of it, from a kill
  record.has_line = whole > 0;
  record.ours = (whole == 0 ? kBegin.starts_with(first.substr(0, kBegin.size())) : first.starts_with(kBegin));
  if (whole == 0 || !record.ours) return record;
  try {
    record.header = header_of(parse_json(first, path));
    for (const std::string& line : split(std::string_view(text).substr(0, whole - 1), '\n')) {
      if (!line.starts_with("{\"written\":") && !line.starts_with("{\"finished\":")) continue;
      const Node node = parse_json(line, path);
      if (node.find("written")) record.written = true;
      if (const Node* number = node.find("finished")) record.finished = number->as_uint();
    }
  } catch (const Error&) {  // whoever goes on with this journal says so
  }
  return record;
}

std::vector<std::string> journals_in(const std::string& folder) {
  std::vector<std::string> names = rank_journals_in(folder);
  const std::string one = Journal::path(folder);
  if (exists(one)) names.insert(names.begin(), file_name(one));
  return names;
}

std::vector<std::string> rank_journals_in(const std::string& folder) {
  std::vector<std::string> names = list_folder(folder);
  std::erase_if(names,
                [](const std::string& name) { return !name.starts_with("journal-") || !name.ends_with(".jsonl"); });
  return names;
}

}  // namespace solera::merge
