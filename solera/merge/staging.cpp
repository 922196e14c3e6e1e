#include "solera/merge/staging.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/merge/journal.h"

namespace solera::merge {

namespace {

// Weights, their index, a journal, or what goes beside weights: never somebody's own work.
bool may_be_ours(const std::string& staging, const checkpoint::Layout& layout) {
  const auto names = list_folder(staging);
  const auto is_weights = [&](const std::string& name) {
    return name.ends_with(".safetensors") || name == "model.safetensors.index.json" || name == "config.json";
  };
  return std::all_of(names.begin(), names.end(), [&](const std::string& name) { return name == "journal.jsonl"; }) ||
         (std::any_of(names.begin(), names.end(), is_weights) && !layout.files.empty());
}

// The number that the journal's last line gives the finished file; empty if the output was not finished.
std::optional<std::uint64_t> finished_file(const std::string& journal) {
  const std::string text = read_file(journal);
  const std::size_t whole = text.rfind('\n');
  if (whole == std::string::npos || whole == 0) return std::nullopt;
  const std::size_t line = text.rfind('\n', whole - 1) + 1;
  const Node node = parse_json(std::string_view(text).substr(line, whole - line), journal);
  const Node* number = node.find("finished");
  if (!number) return std::nullopt;
  return number->as_uint();
}

}  // namespace

std::string staging_of(const std::string& out) {
  std::string path = out;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path + ".partial";
}

std::uint64_t file_number(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) throw io_error(cat("cannot stat: ", errno_text(errno)), path);
  return status.st_ino;
}

Leftover settle_staging(const std::string& staging, const std::string& out, const checkpoint::Layout& layout) {
  if (!exists(staging)) return Leftover::kNothing;
  const std::string journal = Journal::path(staging);
  if (!exists(journal) || read_file(journal).find('\n') == std::string::npos) {
    if (!is_folder(staging) || !may_be_ours(staging, layout))
      throw io_error(cat(staging, " is in the way, and not an unfinished output"), "", "move it, or choose another -o");
    remove_all(staging);
    return Leftover::kNothing;
  }
  const auto finished = finished_file(journal);
  if (!finished) return Leftover::kUnfinished;
  if (exists(out) && file_number(out) == *finished) {
    remove_all(staging);
    return Leftover::kPublished;
  }
  const std::string made = join_path(staging, layout.files.front().name);
  if (exists(made) && file_number(made) == *finished) return Leftover::kUnfinished;
  remove_all(staging);  // what it made has gone elsewhere
  return Leftover::kNothing;
}

}  // namespace solera::merge
