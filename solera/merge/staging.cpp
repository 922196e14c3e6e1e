#include "solera/merge/staging.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <string_view>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/files.h"

namespace solera::merge {

namespace {

// What a journal says without being opened for work.
struct Record {
  bool ours = false;  // nothing yet, or our first line
  std::string first_line;
  std::optional<std::uint64_t> finished;
};

Record read_record(const std::string& journal) {
  Record record;
  const std::string text = read_file(journal);
  const std::size_t whole = text.rfind('\n');
  record.first_line = text.substr(0, text.find('\n'));
  constexpr std::string_view kBegin = "{\"solera_journal\":";  // or less of it, from a kill
  const std::size_t there = std::min(kBegin.size(), record.first_line.size());
  record.ours = (whole == std::string::npos || there == kBegin.size()) &&
                record.first_line.compare(0, there, kBegin.substr(0, there)) == 0;
  if (whole == std::string::npos) record.first_line.clear();
  if (whole == std::string::npos || whole == 0) return record;
  const std::size_t line = text.rfind('\n', whole - 1) + 1;
  try {
    const Node last = parse_json(std::string_view(text).substr(line, whole - line), journal);
    if (const Node* number = last.find("finished")) record.finished = number->as_uint();
  } catch (const Error&) {  // whoever goes on with this journal says so
  }
  return record;
}

bool is_file_number(const std::string& path, std::uint64_t number) {
  return exists(path) && file_number(path) == number;
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

void discard_staging(const std::string& staging) {
  if (!exists(staging)) return;
  const std::string journal = file_name(Journal::path(staging));
  for (const std::string& name : list_folder(staging))
    if (name != journal) remove_all(join_path(staging, name));
  remove_at_once(staging);
}

Leftover settle_staging(const std::string& staging, const std::string& out, const std::string& file,
                        const JournalHeader& header) {
  const std::string expected = Journal::first_line(header);
  const auto published = [&](const Record& record) {
    return record.first_line == expected ? Leftover::kPublished : Leftover::kNothing;
  };
  if (is_folder(out) && exists(Journal::path(out))) {
    const Record record = read_record(Journal::path(out));
    if (record.ours && record.finished == file_number(out)) {
      remove_all(staging);  // the old output, which changed places with this one
      remove_all(Journal::path(out));
      return published(record);
    }
  }
  if (!exists(staging)) return Leftover::kNothing;
  const std::string journal = Journal::path(staging);
  const Record record = exists(journal) ? read_record(journal) : Record{};
  // The first line is there before any other file.
  const bool untouched = is_folder(staging) && list_folder(staging).size() == (exists(journal) ? 1 : 0);
  if (exists(journal) ? !record.ours || (record.first_line.empty() && !untouched) : !untouched)
    throw io_error(cat(staging, " is in the way, and not an unfinished output"), "", "move it, or choose another -o");
  Journal::require_free(staging);
  if (record.finished && is_file_number(out, *record.finished)) {
    discard_staging(staging);
    return published(record);
  }
  const bool is_there =
      !record.finished || is_file_number(file.empty() ? staging : join_path(staging, file), *record.finished);
  if (!record.first_line.empty() && is_there) return Leftover::kUnfinished;
  discard_staging(staging);  // nothing was begun, or what it made has gone elsewhere
  return Leftover::kNothing;
}

}  // namespace solera::merge
