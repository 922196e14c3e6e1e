#include "solera/merge/execute.h"

#include <chrono>
#include <memory>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/merge/journal.h"
#include "solera/merge/output_files.h"
#include "solera/merge/ranks.h"
#include "solera/merge/staging.h"
#include "solera/merge/work.h"

namespace solera::merge {

namespace {

ExecuteReport execute_alone(Plan& plan, const ExecuteOptions& options, Progress& progress, int threads) {
  const std::string staging = staging_of(options.out);
  const JournalHeader header{plan.hash(), identities(plan)};
  const Leftover leftover = settle_staging(staging, options.out, published_file(plan, options.out), header);
  if (options.restart)
    discard_staging(staging);
  else if (leftover == Leftover::kPublished)
    return {.bytes_written = plan.layout.total_bytes(), .tensors = plan.tensors.size(), .resumed = plan.tensors.size()};
  if (exists(staging) && !rank_journals_in(staging).empty())
    throw input_error("an unfinished merge by several ranks is in the way", staging,
                      "finish it with --rank, or discard it with --restart");
  require_output_allowed(plan, options);
  make_folders(staging);
  std::unique_ptr<Journal> journal;
  std::unique_ptr<Work> work;
  const bool resumed = exists(Journal::path(staging));
  try {
    journal = std::make_unique<Journal>(staging, header, plan.tensors.size());
    work = std::make_unique<Work>(plan, options, progress, staging, *journal, threads,
                                  std::vector<bool>(plan.layout.files.size(), true));
  } catch (const Error&) {
    journal.reset();
    if (!resumed) discard_staging(staging);  // what another call left stays untouched
    throw;
  }
  if (options.on_start) options.on_start();
  try {
    if (work->wants_survey()) work->survey();
    work->make_tensors();
    finish_folder(plan, options, staging);
    journal->finish(file_number(join_path(staging, published_file(plan, options.out))));
    const ExecuteReport report = work->report();
    work.reset();
    journal.reset();
    checkpoint::publish(staging, options.out);
    if (!checkpoint::is_single_file(options.out)) remove_all(Journal::path(options.out));
    if (report.resumed == 0)  // else not all of it was seen
      for (const std::string& line : plan.program->remarks()) progress.warn(line);
    return report;
  } catch (const Error& error) {
    work.reset();
    journal.reset();
    if (error.kind() != ErrorKind::kInterrupted) discard_staging(staging);
    throw;
  }
}

}  // namespace

void require_output_allowed(const Plan& plan, const ExecuteOptions& options) {
  std::vector<std::string> inputs;
  for (const auto* input : plan.inputs()) inputs.push_back(input->path());
  checkpoint::require_writable(options.out, options.force, inputs);
}

void finish_folder(const Plan& plan, const ExecuteOptions& options, const std::string& staging) {
  if (checkpoint::is_single_file(options.out)) return;  // takes nothing along
  std::vector<std::string> weights;
  for (const checkpoint::Layout::File& file : plan.layout.files) weights.push_back(file.name);
  clear_beside_weights(staging, weights);
  write_side_files(plan, staging, options.model_card ? std::optional(file_name(options.out)) : std::nullopt);
}

std::uint64_t least_memory(const Plan& plan, int threads, std::int64_t block) {
  const auto operands = static_cast<int>(widest(plan));
  return fixed_memory(plan, threads) +
         static_cast<std::uint64_t>(threads) * weights::scratch_bytes({block, 1}, operands);
}

ExecuteReport execute(Plan& plan, const ExecuteOptions& options, Progress& progress) {
  const auto start = std::chrono::steady_clock::now();
  const int threads = options.threads > 0 ? options.threads : hardware_threads();
  const std::uint64_t least = least_memory(plan, threads, options.block);
  if (least > options.memory)
    throw usage_error(cat("needs ", binary_text(least), " of memory, --memory gives ", binary_text(options.memory)), "",
                      "raise --memory or lower --threads");
  checkpoint::require_not_gguf(options.out);
  ExecuteReport report =
      options.of > 1 ? execute_rank(plan, options, progress, threads) : execute_alone(plan, options, progress, threads);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace solera::merge
