#include "solera/merge/staging.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <string_view>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/merge/claim.h"

namespace solera::merge {

namespace {

bool is_file_number(const std::string& path, std::uint64_t number) {
  return exists(path) && file_number(path) == number;
}

std::vector<JournalRecord> read_journals(const std::string& folder, const std::vector<std::string>& names) {
  std::vector<JournalRecord> records;
  for (const std::string& name : names)
    if (auto record = find_journal(join_path(folder, name))) records.push_back(std::move(*record));
  return records;
}

// The record of the output that has the number of `path`, among the journals of a folder.
std::optional<JournalRecord> finished_as(const std::string& path, const std::string& folder) {
  for (const JournalRecord& record : read_journals(folder, journals_in(folder)))
    if (record.ours && record.finished && is_file_number(path, *record.finished)) return record;
  return std::nullopt;
}

Leftover published(const JournalRecord& record, const JournalHeader& header) {
  return record.header && record.header->plan == header.plan ? Leftover::kPublished : Leftover::kNothing;
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

bool has_its_name(const std::string& out, const std::string& staging) { return finished_as(out, staging).has_value(); }

void discard_staging(const std::string& staging) {
  if (!exists(staging)) return;
  const std::vector<std::string> journals = journals_in(staging);
  for (const std::string& name : list_folder(staging))
    if (std::find(journals.begin(), journals.end(), name) == journals.end()) remove_all(join_path(staging, name));
  remove_at_once(staging);
}

void clear_beside_weights(const std::string& staging, const std::vector<std::string>& weights) {
  std::vector<std::string> kept = journals_in(staging);
  kept.insert(kept.end(), weights.begin(), weights.end());
  for (const std::string& name : list_folder(staging))
    if (std::find(kept.begin(), kept.end(), name) == kept.end() && !is_claim(name, kPublishing))
      remove_all(join_path(staging, name));
}

void clear_journals(const std::string& out) {
  for (const std::string& name : list_folder(out))
    if (is_claim(name, kPublishing)) remove_all(join_path(out, name));
  const auto says = [&](const std::string& name) {
    const auto record = find_journal(join_path(out, name));
    return record && record->finished;
  };
  std::vector<std::string> journals = journals_in(out);
  std::stable_partition(journals.begin(), journals.end(), [&](const std::string& name) { return !says(name); });
  for (const std::string& name : journals) remove_all(join_path(out, name));
}

Leftover settle_staging(const std::string& staging, const std::string& out, const std::string& file,
                        const JournalHeader& header) {
  if (is_folder(out))
    if (const auto record = finished_as(out, out)) {
      if (!is_claimed(out, kPublishing)) {
        remove_all(staging);  // the old output, which changed places with this one
        clear_journals(out);
      }
      return published(*record, header);
    }
  if (!exists(staging)) return Leftover::kNothing;
  const std::string one = file_name(Journal::path(staging));  // a single process's
  const std::vector<std::string> names = is_folder(staging) ? list_folder(staging) : std::vector<std::string>();
  const std::vector<std::string> journals = is_folder(staging) ? journals_in(staging) : names;
  const std::vector<JournalRecord> records = read_journals(staging, journals);
  // A first line is there before any other file.
  const bool untouched = is_folder(staging) && std::all_of(names.begin(), names.end(), [&](const std::string& name) {
                           return std::find(journals.begin(), journals.end(), name) != journals.end();
                         });
  const bool begun = std::any_of(records.begin(), records.end(), [](const auto& record) { return record.has_line; });
  const bool ours = std::all_of(records.begin(), records.end(), [](const auto& record) { return record.ours; });
  if (!ours || (!begun && !untouched))
    throw io_error(cat(staging, " is in the way, and not an unfinished output"), "", "move it, or choose another -o");
  for (const std::string& name : journals)  // ranks do not wait for each other
    if (!header.rank || name == one) Journal::require_free(join_path(staging, name));
  if (const auto record = finished_as(out, staging)) {
    if (!is_claimed(staging, kPublishing)) discard_staging(staging);
    return published(*record, header);
  }
  if (header.rank) {
    if (!journals.empty() && journals.front() == one)
      throw input_error("an unfinished merge by one process is in the way", staging,
                        "finish it without --rank, or remove the folder");
    return journals.empty() ? Leftover::kNothing : Leftover::kUnfinished;
  }
  const auto is_there = [&](const JournalRecord& record) {
    return !record.finished || is_file_number(file.empty() ? staging : join_path(staging, file), *record.finished);
  };
  if (begun && std::all_of(records.begin(), records.end(), is_there)) return Leftover::kUnfinished;
  discard_staging(staging);  // nothing was begun, or what it made has gone elsewhere
  return Leftover::kNothing;
}

}  // namespace solera::merge
