// Carrying out a plan: bounded memory, all threads, a result that is whole or not there, and a kill at any instant that
// costs little. The staging folder is OUT.partial/; its journal names the tensors that are complete and synced. Several
// processes may make one output, each the files of its rank (ranks.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "solera/base/progress.h"
#include "solera/merge/plan.h"
#include "solera/weights/pass.h"

namespace solera::merge {

struct ExecuteOptions {
  std::string out;                    // *.safetensors or a folder
  int threads = 0;                    // 0: hardware_threads()
  std::uint64_t memory = 1ull << 30;  // anonymous memory; mapped files are the system's
  bool force = false;                 // replace an existing output
  bool restart = false;               // discard an unfinished OUT.partial
  bool allow_nonfinite = false;
  bool model_card = true;                    // README.md and mergekit_config.yml in an output folder
  std::int64_t block = 65536;                // tests only: part of the result's definition
  std::int64_t blocks_per_chunk = 0;         // 0: as the memory allows
  std::uint64_t journal_bytes = 256u << 20;  // sync and record after so much output
  int rank = 0, of = 1;                      // more than one: this process is one of so many
  double silence = 30;                       // seconds without a sign of life, then another rank takes over a duty
  std::function<void()> on_start;            // called when nothing is left that could refuse the work
};

struct ExecuteReport {
  std::uint64_t bytes_read = 0, bytes_written = 0;
  std::size_t tensors = 0, resumed = 0;  // resumed: found complete in OUT.partial
  double seconds = 0;
  // Of a rank: bytes_written and tensors are its own while the output is not there.
  bool published = true;
  std::vector<int> waits_for;  // ranks that have not written their files
};

// Throws Error; on any Error and on a full disk nothing remains, on kInterrupted and on a kill OUT.partial remains for
// the same call to continue. An OUT.partial of another plan or of changed inputs is refused with the hint --restart.
// With `of` > 1 it may return before the output is there, which the last rank to end gives its name.
ExecuteReport execute(Plan& plan, const ExecuteOptions& options, Progress& progress);

// The least memory a plan needs with so many threads, and what it will use.
std::uint64_t least_memory(const Plan& plan, int threads, std::int64_t block = 65536);

}  // namespace solera::merge
