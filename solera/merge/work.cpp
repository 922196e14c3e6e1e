#include "solera/merge/work.h"

#include <algorithm>

#include "solera/base/error.h"
#include "solera/weights/output.h"

namespace solera::merge {

namespace {

// What a process of this size uses besides the passes: code, headers of inputs, thread stacks, allocator slack.
constexpr std::uint64_t kFixedMemory = 24u << 20;

std::uint64_t extra_memory(const Plan& plan, const TensorPlan& tensor) {
  return tensor.action == TensorPlan::Action::kMerge ? plan.program->extra_memory(tensor.bound) : 0;
}

std::vector<std::size_t> tensors_in(const Plan& plan, const std::vector<bool>& files) {
  std::vector<std::size_t> tensors;
  for (std::size_t i = 0; i < plan.tensors.size(); ++i)
    if (files[static_cast<std::size_t>(plan.layout.places[i].file)]) tensors.push_back(i);
  return tensors;
}

}  // namespace

std::size_t widest(const Plan& plan) {
  std::size_t most = 1;
  for (const TensorPlan& tensor : plan.tensors) most = std::max(most, tensor.operands.size());
  return most;
}

std::uint64_t fixed_memory(const Plan& plan, int threads) {
  std::uint64_t extra = 0, worker = 0;
  for (const TensorPlan& tensor : plan.tensors) {
    extra = std::max(extra, extra_memory(plan, tensor));
    if (tensor.action == TensorPlan::Action::kMerge)
      worker = std::max(worker, plan.program->worker_memory(tensor.bound));
  }
  return kFixedMemory + extra + static_cast<std::uint64_t>(threads) * worker;
}

std::vector<checkpoint::FileIdentity> identities(const Plan& plan) {
  std::vector<checkpoint::FileIdentity> files;
  for (const auto* input : plan.inputs()) files.insert(files.end(), input->files().begin(), input->files().end());
  return files;
}

std::string published_file(const Plan& plan, const std::string& out) {
  return checkpoint::is_single_file(out) ? plan.layout.files.front().name : "";
}

Work::Work(Plan& plan, const ExecuteOptions& options, Progress& progress, const std::string& staging, Journal& journal,
           int threads, std::vector<bool> files)
    : plan_(plan),
      options_(options),
      progress_(progress),
      files_(std::move(files)),
      tensors_(tensors_in(plan, files_)),
      pool_(threads),
      journal_(journal),
      writer_(staging, plan.layout, uses()) {
  engine_.pool = &pool_;
  engine_.allow_nonfinite = options.allow_nonfinite;
  engine_.on_bytes_read = [this](std::uint64_t bytes) {
    read_ += bytes;
    if (surveying_) progress_.advance(bytes);
  };
  const auto operands = static_cast<int>(widest(plan));
  engine_.blocking = options.blocks_per_chunk > 0
                         ? weights::Blocking{options.block, options.blocks_per_chunk}
                         : weights::fit_blocking(options.memory - std::min(options.memory, fixed_memory(plan, threads)),
                                                 threads, operands, options.block);
}

// A file with complete tensors must be as it was left.
std::vector<checkpoint::FileUse> Work::uses() const {
  std::vector<checkpoint::FileUse> uses(files_.size(), checkpoint::FileUse::kNone);
  for (std::size_t f = 0; f < files_.size(); ++f)
    if (files_[f]) uses[f] = checkpoint::FileUse::kCreate;
  for (const std::size_t i : tensors_)
    if (journal_.done()[i]) uses[static_cast<std::size_t>(plan_.layout.places[i].file)] = checkpoint::FileUse::kResume;
  return uses;
}

bool Work::wants_survey() const {
  return plan_.program && plan_.program->wants_survey() &&
         std::any_of(tensors_.begin(), tensors_.end(), [&](std::size_t i) {
           return plan_.tensors[i].action == TensorPlan::Action::kMerge && !journal_.done()[i];
         });
}

void Work::survey() {
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

void Work::make_tensors() {
  std::uint64_t total = 0;
  for (const std::size_t i : tensors_) total += plan_.tensors[i].out.bytes();
  progress_.begin("merge", total, "bytes");
  try {
    std::vector<std::size_t> streamed;
    for (const std::size_t i : tensors_)
      extra_memory(plan_, plan_.tensors[i]) > 0 ? finish_tensor(i) : streamed.push_back(i);
    pool_.for_each(static_cast<std::int64_t>(streamed.size()),
                   [&](std::int64_t k, int) { finish_tensor(streamed[static_cast<std::size_t>(k)]); });
    for (const auto* input : plan_.inputs()) input->check();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInterrupted) record();
    throw;
  }
  writer_.sync();
  record();
  progress_.end();
}

ExecuteReport Work::report() const {
  ExecuteReport report;
  report.bytes_read = read_;
  for (std::size_t f = 0; f < files_.size(); ++f)
    if (files_[f]) report.bytes_written += plan_.layout.files[f].bytes;
  report.tensors = tensors_.size();
  report.resumed = static_cast<std::size_t>(
      std::count_if(tensors_.begin(), tensors_.end(), [&](std::size_t i) { return journal_.done()[i]; }));
  return report;
}

TensorPass Work::pass_of(const TensorPlan& tensor, weights::Sink* sink) const {
  return {tensor.out.name, tensor.out.shape, tensor.operands, tensor.has_base, engine_, sink, tensor.statistics};
}

void Work::finish_tensor(std::size_t i) {
  if (!journal_.done()[i]) make(i);
  progress_.advance(plan_.tensors[i].out.bytes());
  if (!journal_.done()[i]) completed(i);
}

void Work::make(std::size_t i) {
  const TensorPlan& tensor = plan_.tensors[i];
  if (tensor.action == TensorPlan::Action::kCopy)
    return weights::copy_tensor(engine_, tensor.operands.front(), tensor.out.dtype, writer_, i);
  weights::TensorSink sink(writer_, i, tensor.out.dtype);
  plan_.program->merge(tensor.bound, pass_of(tensor, &sink));
}

void Work::completed(std::size_t i) {
  const std::lock_guard lock(mutex_);
  pending_.push_back(i);
  pending_bytes_ += plan_.tensors[i].out.bytes();
  if (pending_bytes_ < options_.journal_bytes) return;
  record_locked();
}

void Work::record() {
  const std::lock_guard lock(mutex_);
  record_locked();
}

void Work::record_locked() {
  if (pending_.empty()) return;
  writer_.sync();
  journal_.append(pending_);
  pending_.clear();
  pending_bytes_ = 0;
}

}  // namespace solera::merge
