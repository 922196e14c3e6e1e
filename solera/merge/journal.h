// The record of an unfinished output: which plan it belongs to and which of its tensors are complete and on the disk.
//
// OUT.partial/journal.jsonl, one JSON object a line (docs/formats/journal.md):
//   {"solera_journal": 1, "plan": "<hash>", "inputs": [{"path": ..., "size": ..., "modified_ns": ..., "header": ...}]}
//   {"done": [0, 1, 2]}                     tensors by their number in the plan, appended after a sync
//   {"finished": 1234}                      last: the output (its inode) is whole, and about to get its name
// A torn last line, from a kill during the append, is ignored. The open file is locked: two processes never write one
// output. Where several ranks write one output each has a journal of its own, journal-I-of-N.jsonl, whose first line
// has "rank", "of", "program" and "beside" too, and which says {"written": BYTES} when the rank's files are whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "solera/checkpoint/checkpoint.h"

namespace solera::merge {

// What the ranks of one output must agree on besides the plan.
struct RankHeader {
  int rank = 0, of = 1;
  std::string program;  // version
  std::string beside;   // hash of what decides about the files beside the weights
};

struct JournalHeader {
  std::string plan;
  std::vector<checkpoint::FileIdentity> inputs;
  std::optional<RankHeader> rank = std::nullopt;
};

class Journal {
 public:
  // Starts a journal in `folder`, or continues the one that is there. Throws Error (input) if it belongs to another
  // plan or its inputs have changed, naming the file; hint "--restart discards it". Throws Error (io) if another
  // process holds it.
  Journal(const std::string& folder, const JournalHeader& header, std::size_t tensors);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  const std::vector<bool>& done() const { return done_; }  // of each tensor, as found
  bool fresh() const { return fresh_; }                    // nothing was found
  bool written() const { return written_; }                // as found
  void append(std::span<const std::size_t> tensors);       // then synced
  void write(std::uint64_t bytes);                         // a rank's files are whole; then synced
  void finish(std::uint64_t file_number);                  // the output is whole; then synced

  static std::string path(const std::string& folder, const std::optional<RankHeader>& rank = std::nullopt);
  static std::string first_line(const JournalHeader& header);  // without the newline; tells plans apart
  // Throws the same Error (io) as the constructor if another process holds the journal `path`, which is there.
  static void require_free(const std::string& path);

 private:
  int file_ = -1;
  std::string path_;
  std::vector<bool> done_;
  bool fresh_ = false, written_ = false;
};

// What a journal says without being opened for work.
struct JournalRecord {
  bool ours = false;                    // nothing yet, or our first line
  bool has_line = false;                // a whole one
  std::optional<JournalHeader> header;  // if its first line is there and can be read
  bool written = false;
  std::optional<std::uint64_t> finished;
};
std::optional<JournalRecord> find_journal(const std::string& path);  // none if it is not there

std::vector<std::string> journals_in(const std::string& folder);  // file names: one process's, and those of ranks
std::vector<std::string> rank_journals_in(const std::string& folder);

}  // namespace solera::merge
