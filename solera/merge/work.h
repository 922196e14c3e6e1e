// The tensors of an output from an open journal to the last synced byte: all of them, or those of some files.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "solera/base/progress.h"
#include "solera/base/threads.h"
#include "solera/merge/execute.h"
#include "solera/merge/journal.h"

namespace solera::merge {

// What a run needs beside the scratch of its passes; how many operands the widest tensor has.
std::uint64_t fixed_memory(const Plan& plan, int threads);
std::size_t widest(const Plan& plan);

std::vector<checkpoint::FileIdentity> identities(const Plan& plan);  // of all files that are read

// The output's name in the staging folder; "" if it is the folder.
std::string published_file(const Plan& plan, const std::string& out);

// Throws Error for an output that exists without --force, or whose place is wrong.
void require_output_allowed(const Plan& plan, const ExecuteOptions& options);

// What goes beside the whole weights in the staging folder; a single file takes nothing along.
void finish_folder(const Plan& plan, const ExecuteOptions& options, const std::string& staging);

class Work {
 public:
  // `files[f]`: file f of the layout is to be written. The arguments outlive it.
  Work(Plan& plan, const ExecuteOptions& options, Progress& progress, const std::string& staging, Journal& journal,
       int threads, std::vector<bool> files);

  bool wants_survey() const;  // there are tensors to merge, and the method must look at all of them before
  void survey();
  void make_tensors();  // those that the journal lacks: whole, synced and recorded, with an interruption so far
  ExecuteReport report() const;  // of the files that were to be written

 private:
  TensorPass pass_of(const TensorPlan& tensor, weights::Sink* sink) const;
  std::vector<checkpoint::FileUse> uses() const;
  void finish_tensor(std::size_t i);
  void make(std::size_t i);
  void completed(std::size_t i);
  void record();
  void record_locked();

  Plan& plan_;
  const ExecuteOptions& options_;
  Progress& progress_;
  std::vector<bool> files_;
  std::vector<std::size_t> tensors_;  // of these files
  Pool pool_;
  Journal& journal_;
  checkpoint::ShardWriter writer_;
  weights::Engine engine_;
  std::atomic<std::uint64_t> read_ = 0;
  std::atomic<bool> surveying_ = false;
  std::mutex mutex_;
  std::vector<std::size_t> pending_;
  std::uint64_t pending_bytes_ = 0;
};

}  // namespace solera::merge
