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
  node.set("inputs", std::move(inputs));
  return node;
}

void require_same(const Node& found, const JournalHeader& header, const std::string& folder) {
  const std::string hint = "finish it with the same command and inputs, or discard it with --restart";
  const Node* format = found.find("solera_journal");
  if (!format || format->as_int() != kVersion)
    throw input_error(cat("written by another version of solera: ", folder), "", hint);
  const auto inputs = found.at("inputs").items();
  const bool same_count = inputs.size() == header.inputs.size();
  for (std::size_t i = 0; same_count && i < inputs.size(); ++i) {
    const checkpoint::FileIdentity& now = header.inputs[i];
    if (inputs[i].at("path").as_text() != now.path) break;
    const Node* version = inputs[i].find("version");
    if (inputs[i].at("size").as_uint() != now.size || inputs[i].at("modified_ns").as_int() != now.modified_ns ||
        inputs[i].at("header").as_text() != now.header_hash || (version ? version->as_text() : "") != now.version)
      throw input_error(cat(now.path, " changed since the unfinished merge began"), folder, hint);
  }
  if (found.at("plan").as_text() != header.plan)
    throw input_error("an unfinished merge with other inputs or parameters is in the way", folder, hint);
}

void lock(int file, const std::string& folder) {
  if (::flock(file, LOCK_EX | LOCK_NB) != 0)
    throw io_error("another process is writing this output", folder, "wait for it, or choose another -o");
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

std::string Journal::path(const std::string& folder) { return join_path(folder, "journal.jsonl"); }

std::string Journal::first_line(const JournalHeader& header) { return to_json(header_node(header)); }

void Journal::require_free(const std::string& folder) {
  const checkpoint::Descriptor file(::open(path(folder).c_str(), O_RDONLY | O_CLOEXEC));
  if (file) lock(file.get(), folder);
}

Journal::Journal(const std::string& folder, const JournalHeader& header, std::size_t tensors)
    : path_(path(folder)), done_(tensors) {
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) throw io_error(cat("cannot open: ", errno_text(errno)), path_);
  try {
    lock(file_, folder);
    const std::string text = read_file(path_);
    const std::size_t whole = text.rfind('\n') + 1;  // 0 if there is no whole line
    std::string_view rest(text.data(), whole);
    if (rest.empty()) {
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

void Journal::finish(std::uint64_t file_number) {
  Node node;
  node.set("finished", Node::integer(static_cast<std::int64_t>(file_number)));
  write_line(file_, to_json(node) + "\n", path_);
}

}  // namespace solera::merge
