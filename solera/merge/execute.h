// Carrying out a plan: bounded memory, all threads, a result that is whole or not there, and a kill at any instant that
// costs little. The staging folder is OUT.partial/; its journal names the tensors that are complete and synced.
#pragma once

#include <cstdint>
#include <string>

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
};

struct ExecuteReport {
  std::uint64_t bytes_read = 0, bytes_written = 0;
  std::size_t tensors = 0, resumed = 0;  // resumed: found complete in OUT.partial
  double seconds = 0;
};

// Throws Error; on any Error and on a full disk nothing remains, on kInterrupted and on a kill OUT.partial remains for
// the same call to continue. An OUT.partial of another plan or of changed inputs is refused with the hint --restart.
ExecuteReport execute(Plan& plan, const ExecuteOptions& options, Progress& progress);

// The least memory a plan needs with so many threads, and what it will use.
std::uint64_t least_memory(const Plan& plan, int threads, std::int64_t block = 65536);

}  // namespace solera::merge
