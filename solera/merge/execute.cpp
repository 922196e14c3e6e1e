#include "solera/merge/execute.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/merge/chat_template.h"
#include "solera/merge/journal.h"
#include "solera/merge/output_files.h"
#include "solera/merge/staging.h"
#include "solera/weights/output.h"

namespace solera::merge {

namespace {

// What a process of this size uses besides the passes: code, headers of inputs, thread stacks, allocator slack.
constexpr std::uint64_t kFixedMemory = 24u << 20;

std::size_t widest(const Plan& plan) {
  std::size_t most = 1;
  for (const TensorPlan& tensor : plan.tensors) most = std::max(most, tensor.operands.size());
  return most;
}

std::uint64_t extra_memory(const Plan& plan, const TensorPlan& tensor) {
  return tensor.action == TensorPlan::Action::kMerge ? plan.program->extra_memory(tensor.bound) : 0;
}

// What a run needs beside the scratch of its passes.
std::uint64_t fixed_memory(const Plan& plan) {
  std::uint64_t extra = 0;
  for (const TensorPlan& tensor : plan.tensors) extra = std::max(extra, extra_memory(plan, tensor));
  return kFixedMemory + extra;
}

std::vector<checkpoint::FileIdentity> identities(const Plan& plan) {
  std::vector<checkpoint::FileIdentity> files;
  for (const auto* input : plan.inputs()) files.insert(files.end(), input->files().begin(), input->files().end());
  return files;
}

// The output's name in the staging folder; none if it is the folder.
std::string published_file(const Plan& plan, const std::string& out) {
  return checkpoint::is_single_file(out) ? plan.layout.files.front().name : "";
}

// One merge from an open journal to the last synced byte.
class Run {
 public:
  Run(Plan& plan, const ExecuteOptions& options, Progress& progress, const std::string& staging,
      const JournalHeader& header, int threads)
      : plan_(plan),
        options_(options),
        progress_(progress),
        staging_(staging),
        pool_(threads),
        journal_(staging, header, plan.tensors.size()),
        writer_(staging, plan.layout,
                std::any_of(journal_.done().begin(), journal_.done().end(), [](bool d) { return d; })) {
    engine_.pool = &pool_;
    engine_.allow_nonfinite = options.allow_nonfinite;
    engine_.on_bytes_read = [this](std::uint64_t bytes) {
      read_ += bytes;
      if (surveying_) progress_.advance(bytes);
    };
    const auto operands = static_cast<int>(widest(plan));
    engine_.blocking = options.blocks_per_chunk > 0
                           ? weights::Blocking{options.block, options.blocks_per_chunk}
                           : weights::fit_blocking(options.memory - std::min(options.memory, fixed_memory(plan)),
                                                   threads, operands, options.block);
  }

  ExecuteReport run() {
    const auto start = std::chrono::steady_clock::now();
    if (plan_.program && plan_.program->wants_survey()) survey();
    std::uint64_t total = 0;
    for (const TensorPlan& tensor : plan_.tensors) total += tensor.out.bytes();
    progress_.begin("merge", total, "bytes");
    try {
      std::vector<std::size_t> streamed;
      for (std::size_t i = 0; i < plan_.tensors.size(); ++i)
        extra_memory(plan_, plan_.tensors[i]) > 0 ? finish_tensor(i) : streamed.push_back(i);
      pool_.for_each(static_cast<std::int64_t>(streamed.size()),
                     [&](std::int64_t k, int) { finish_tensor(streamed[static_cast<std::size_t>(k)]); });
      for (const auto* input : plan_.inputs()) input->check();
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kInterrupted) record();
      throw;
    }
    writer_.sync();
    finish_folder();
    progress_.end();
    ExecuteReport report;
    report.bytes_read = read_;
    report.bytes_written = plan_.layout.total_bytes();
    report.tensors = plan_.tensors.size();
    report.resumed = static_cast<std::size_t>(std::count(journal_.done().begin(), journal_.done().end(), true));
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report;
  }

 private:
  TensorPass pass_of(const TensorPlan& tensor, weights::Sink* sink) const {
    return {tensor.out.name, tensor.out.shape, tensor.operands, tensor.has_base, engine_, sink, tensor.statistics};
  }

  void survey() {
    std::vector<const TensorPlan*> bound;  // in the program's order, which stacked slices make another than the names'
    for (const TensorPlan& tensor : plan_.tensors)
      if (tensor.action == TensorPlan::Action::kMerge) bound.push_back(&tensor);
    std::sort(bound.begin(), bound.end(), [](const auto* a, const auto* b) { return a->bound < b->bound; });
    std::vector<TensorPass> passes;
    for (const TensorPlan* tensor : bound) passes.push_back(pass_of(*tensor, nullptr));
    progress_.begin("survey", plan_.bytes_to_read(), "bytes");
    surveying_ = true;
    plan_.program->survey(passes);
    surveying_ = false;
    progress_.end();
  }

  void finish_tensor(std::size_t i) {
    if (!journal_.done()[i]) make(i);
    progress_.advance(plan_.tensors[i].out.bytes());
    if (!journal_.done()[i]) completed(i);
  }

  void make(std::size_t i) {
    const TensorPlan& tensor = plan_.tensors[i];
    if (tensor.action == TensorPlan::Action::kCopy)
      return weights::copy_tensor(engine_, tensor.operands.front(), tensor.out.dtype, writer_, i);
    weights::TensorSink sink(writer_, i, tensor.out.dtype);
    plan_.program->merge(tensor.bound, pass_of(tensor, &sink));
  }

  void completed(std::size_t i) {
    const std::lock_guard lock(mutex_);
    pending_.push_back(i);
    pending_bytes_ += plan_.tensors[i].out.bytes();
    if (pending_bytes_ < options_.journal_bytes) return;
    record_locked();
  }

  void record() {
    const std::lock_guard lock(mutex_);
    record_locked();
  }

  void record_locked() {
    if (pending_.empty()) return;
    writer_.sync();
    journal_.append(pending_);
    pending_.clear();
    pending_bytes_ = 0;
  }

  // What goes beside the weights; a single file takes nothing along.
  void finish_folder() {
    if (!checkpoint::is_single_file(options_.out)) {
      clear_beside_weights();
      if (!plan_.layout.index.empty())
        write_atomically(join_path(staging_, "model.safetensors.index.json"), plan_.layout.index);
      const checkpoint::Checkpoint& donor = *plan_.models[static_cast<std::size_t>(plan_.donor)];
      if (donor.is_folder() || !donor.config().is_null())  // a GGUF file has a config, too
        checkpoint::carry_side_files(donor, staging_, output_config(plan_));
      if (plan_.tokenizer) write_tokenizer(*plan_.tokenizer, *plan_.models[plan_.tokenizer->donor], staging_);
      write_chat_template(plan_.chat_template, staging_);
      if (options_.model_card) write_model_card(plan_, staging_, file_name(options_.out));
    }
    record();
    journal_.finish(file_number(join_path(staging_, published_file(plan_, options_.out))));
  }

  // A kill while side files were written leaves scratch files, which are nobody's output.
  void clear_beside_weights() const {
    std::vector<std::string> kept = {file_name(Journal::path(staging_))};
    for (const checkpoint::Layout::File& file : plan_.layout.files) kept.push_back(file.name);
    for (const std::string& name : list_folder(staging_))
      if (std::find(kept.begin(), kept.end(), name) == kept.end()) remove_all(join_path(staging_, name));
  }

  Plan& plan_;
  const ExecuteOptions& options_;
  Progress& progress_;
  const std::string& staging_;
  Pool pool_;
  Journal journal_;
  checkpoint::ShardWriter writer_;
  weights::Engine engine_;
  std::atomic<std::uint64_t> read_ = 0;
  std::atomic<bool> surveying_ = false;
  std::mutex mutex_;
  std::vector<std::size_t> pending_;
  std::uint64_t pending_bytes_ = 0;
};

}  // namespace

std::uint64_t least_memory(const Plan& plan, int threads, std::int64_t block) {
  const auto operands = static_cast<int>(widest(plan));
  return fixed_memory(plan) + static_cast<std::uint64_t>(threads) * weights::scratch_bytes({block, 1}, operands);
}

ExecuteReport execute(Plan& plan, const ExecuteOptions& options, Progress& progress) {
  const int threads = options.threads > 0 ? options.threads : hardware_threads();
  std::vector<std::string> inputs;
  for (const auto* input : plan.inputs()) inputs.push_back(input->path());
  const std::uint64_t least = least_memory(plan, threads, options.block);
  if (least > options.memory)
    throw usage_error(cat("needs ", binary_text(least), " of memory, --memory gives ", binary_text(options.memory)), "",
                      "raise --memory or lower --threads");

  checkpoint::require_not_gguf(options.out);
  const std::string staging = staging_of(options.out);
  const JournalHeader header{plan.hash(), identities(plan)};
  const Leftover leftover = settle_staging(staging, options.out, published_file(plan, options.out), header);
  if (options.restart)
    discard_staging(staging);
  else if (leftover == Leftover::kPublished)
    return {.bytes_written = plan.layout.total_bytes(), .tensors = plan.tensors.size(), .resumed = plan.tensors.size()};
  checkpoint::require_writable(options.out, options.force, inputs);
  make_folders(staging);
  std::unique_ptr<Run> run;
  const bool resumed = exists(Journal::path(staging));
  try {
    run = std::make_unique<Run>(plan, options, progress, staging, header, threads);
  } catch (const Error&) {
    if (!resumed) discard_staging(staging);  // what another call left stays untouched
    throw;
  }
  ExecuteReport report;
  try {
    report = run->run();
    run.reset();
    checkpoint::publish(staging, options.out);
    if (!checkpoint::is_single_file(options.out)) remove_all(Journal::path(options.out));
  } catch (const Error& error) {
    run.reset();
    if (error.kind() != ErrorKind::kInterrupted) discard_staging(staging);
    throw;
  }
  if (report.resumed == 0)  // else not all of it was seen
    for (const std::string& line : plan.program->remarks()) progress.warn(line);
  return report;
}

}  // namespace solera::merge
