// The record of an unfinished output: which plan it belongs to and which of its tensors are complete and on the disk.
//
// OUT.partial/journal.jsonl, one JSON object a line (docs/formats/journal.md):
//   {"solera_journal": 1, "plan": "<hash>", "inputs": [{"path": ..., "size": ..., "modified_ns": ..., "header": ...}]}
//   {"done": [0, 1, 2]}                     tensors by their number in the plan, appended after a sync
//   {"finished": 1234}                      last: the output (its inode) is whole, and about to get its name
// A torn last line, from a kill during the append, is ignored. The open file is locked: two processes never write one
// output.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "solera/checkpoint/checkpoint.h"

namespace solera::merge {

struct JournalHeader {
  std::string plan;
  std::vector<checkpoint::FileIdentity> inputs;
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
  void append(std::span<const std::size_t> tensors);       // then synced
  void finish(std::uint64_t file_number);                  // the output is whole; then synced

  static std::string path(const std::string& folder);
  static std::string first_line(const JournalHeader& header);  // without the newline; tells plans apart
  // Throws the same Error (io) as the constructor if another process holds the journal in `folder`, which is there.
  static void require_free(const std::string& folder);

 private:
  int file_ = -1;
  std::string path_;
  std::vector<bool> done_;
};

}  // namespace solera::merge
