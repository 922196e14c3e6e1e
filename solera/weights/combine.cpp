#include "solera/weights/combine.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"
#include "solera/checkpoint/writer.h"
#include "solera/weights/combine_part.h"
#include "solera/weights/content_hash.h"
#include "solera/weights/output.h"
#include "solera/weights/staging.h"

namespace solera::weights {

namespace {

using checkpoint::Adapter;
using checkpoint::AdapterModule;
using checkpoint::AdapterTarget;
using checkpoint::Change;
using checkpoint::Checkpoint;
using checkpoint::Delta;
using checkpoint::DeltaEntry;
using checkpoint::Tensor;

// What one term does to one tensor, before anything is read.
struct Plan {
  const Term* term = nullptr;
  double coefficient = 1;
  const DeltaEntry* entry = nullptr;      // of a delta file
  const AdapterModule* module = nullptr;  // of an adapter
  AdapterTarget target;
  bool is_bias = false;

  bool is_xor() const { return entry != nullptr && entry->change == Change::kXor; }
};

std::string content_of(const Term& term) {
  const auto* delta = std::get_if<Delta>(&term.delta);
  const Checkpoint& file = delta ? delta->file() : std::get<Adapter>(term.delta).file();
  Hasher hasher;
  for (const auto& one : file.files()) hasher.add(hash_file(one.path));
  return hasher.hex();
}

// By content, then by coefficient: the same sum in whatever order the deltas are named.
void sort_terms(std::vector<Term>& terms) {
  if (terms.size() < 3) return;  // a sum of two does not depend on their order
  std::vector<std::pair<std::string, Term>> keyed;
  for (Term& term : terms) keyed.emplace_back(content_of(term), std::move(term));
  std::stable_sort(keyed.begin(), keyed.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first, a.second.coefficient) < std::tie(b.first, b.second.coefficient);
  });
  for (std::size_t i = 0; i < terms.size(); ++i) terms[i] = std::move(keyed[i].second);
}

class Combiner {
 public:
  Combiner(const Checkpoint& base, std::vector<Term> terms, const CombineOptions& options, Pool& pool,
           Progress& progress)
      : base_(base), terms_(std::move(terms)), options_(options), pool_(pool), progress_(progress) {
    engine_ = {&pool, {}, true, [this](std::uint64_t bytes) { progress_.advance(bytes); }};
    sort_terms(terms_);
    for (const Term& term : terms_) plan(term);
    for (const auto& [name, plans] : plans_) {
      require_sum(name, plans);
      if (!flips(plans)) checkpoint::require_unquantized(base, options.revert ? "revert" : "apply");
    }
    require_base();
  }

  CombineReport make() {
    const std::string out = without_slashes(options_.out);
    const bool single = checkpoint::is_single_file(out);
    std::vector<checkpoint::TensorInfo> infos(base_.tensors().begin(), base_.tensors().end());
    const auto layout =
        checkpoint::plan_layout(std::move(infos), {.shard_bytes = options_.shard_bytes, .single_file = single});
    in_staging(out, ".applying", [&](const std::string& staging) {
      checkpoint::ShardWriter writer(staging, layout);
      progress_.begin("apply", base_.tensor_bytes(), "bytes");
      pool_.for_each(static_cast<std::int64_t>(layout.tensors.size()), [&](std::int64_t i, int) {
        const auto index = static_cast<std::size_t>(i);
        make_tensor(base_.at(layout.tensors[index].name), writer, index);
      });
      base_.check();
      for (const Term& term : terms_) file_of(term).check();
      writer.sync();
      if (!layout.index.empty()) write_atomically(join_path(staging, "model.safetensors.index.json"), layout.index);
      if (!single && base_.is_folder()) checkpoint::carry_side_files(base_, staging, base_.config());
      checkpoint::publish(staging, out);
      progress_.end();
    });
    report_.tensors = layout.tensors.size();
    report_.bytes = layout.total_bytes();
    report_.changed_tensors = plans_.size();
    for (const auto& info : layout.tensors) report_.entries += info.elements();
    report_.changed = changed_;
    report_.lost = lost_;
    return report_;
  }

 private:
  static const Checkpoint& file_of(const Term& term) {
    const auto* delta = std::get_if<Delta>(&term.delta);
    return delta ? delta->file() : std::get<Adapter>(term.delta).file();
  }

  void plan(const Term& term) {
    if (!std::isfinite(term.coefficient))
      throw usage_error(cat("the coefficient of ", term.path(), " is ", exact_text(term.coefficient), ", not finite"));
    const double c = options_.revert ? -term.coefficient : term.coefficient;
    if (const auto* delta = std::get_if<Delta>(&term.delta)) {
      for (const DeltaEntry& entry : delta->entries()) {
        const Tensor* tensor = base_.find(entry.base.name);
        if (!tensor)
          throw input_error(cat(delta->path(), " changes ", entry.base.name, ", which ", base_.path(), " lacks"), "",
                            "the delta was made for another base");
        if (tensor->shape != entry.base.shape ||
            (tensor->dtype != entry.base.dtype && (entry.change == Change::kXor || !options_.any_base)))
          throw input_error(
              cat(entry.base.name, " is ", checkpoint::name(tensor->dtype), " ", shape_text(tensor->shape), " in ",
                  base_.path(), ", ", checkpoint::name(entry.base.dtype), " ", shape_text(entry.base.shape), " in ",
                  delta->path()),
              "", "the delta was made for another base");
        if (entry.change != Change::kNone) plans_[entry.base.name].push_back({&term, c, &entry});
      }
      return;
    }
    const Adapter& adapter = std::get<Adapter>(term.delta);
    for (const std::string& line : adapter.config().warnings)
      report_.warnings.push_back(cat(adapter.path(), ": ", line));
    for (const AdapterModule& module : adapter.modules()) {
      const AdapterTarget target = checkpoint::target_of(adapter, module, base_);
      plans_[target.weight->name].push_back({&term, c, nullptr, &module, target, false});
      if (target.bias) plans_[target.bias->name].push_back({&term, c, nullptr, &module, target, true});
    }
  }

  // Is this a flip of bits alone? To revert, the coefficient 1 has become -1.
  bool flips(const std::vector<Plan>& plans) const {
    return plans.size() == 1 && plans[0].is_xor() && plans[0].coefficient == (options_.revert ? -1 : 1);
  }

  void require_sum(const std::string& name, const std::vector<Plan>& plans) const {
    if (!checkpoint::is_float(base_.at(name).dtype) && !flips(plans))
      throw usage_error(
          cat(name, " is ", checkpoint::name(base_.at(name).dtype), ": its changes are neither multiplied nor summed"),
          plans.back().term->path(), cat("make the delta with --exclude '", name, "'"));
    const bool bits = std::any_of(plans.begin(), plans.end(), [](const Plan& plan) { return plan.is_xor(); });
    if (options_.revert && bits && !flips(plans))
      throw usage_error(cat(name, ": changed bits are reverted exactly or not at all"), plans.back().term->path(),
                        "revert one delta at a time, without a coefficient");
  }

  // Every tensor that a delta speaks of must be the one that it was made from; to revert bits, the one that they made.
  void require_base() {
    std::map<std::string, std::string> hashes;
    const auto hash_of = [&](const std::string& name) -> const std::string& {
      std::string& hash = hashes[name];
      if (hash.empty()) hash = content_hash(engine_, base_, base_.at(name));
      return hash;
    };
    std::uint64_t total = 0;
    for (const Tensor& tensor : base_.tensors())
      if (std::any_of(terms_.begin(), terms_.end(), [&](const Term& term) { return is_checked(term, tensor.name); }))
        total += tensor.bytes();
    progress_.begin("check", total, "bytes");
    for (const Term& term : terms_) {
      const auto* delta = std::get_if<Delta>(&term.delta);
      if (!delta) continue;
      for (const DeltaEntry& entry : delta->entries()) {
        if (!is_checked(term, entry.base.name)) continue;
        const bool undo = options_.revert && entry.change == Change::kXor;
        const std::string& wanted = undo ? entry.result_hash : entry.base_hash;
        const std::string& found = hash_of(entry.base.name);
        if (found == wanted) continue;
        const bool bits = entry.change == Change::kXor;
        throw input_error(cat(delta->path(), undo ? " was not applied last to " : " was made for another base than ",
                              base_.path(), ": ", entry.base.name, " has the hash ", found, ", not ", wanted),
                          "",
                          bits ? "its changed bits mean nothing elsewhere; `solera delta --values difference` makes "
                                 "one that fits other bases"
                               : "--any-base applies it nevertheless");
      }
    }
    progress_.end();
  }

  bool is_checked(const Term& term, const std::string& name) const {
    const auto* delta = std::get_if<Delta>(&term.delta);
    const DeltaEntry* entry = delta ? delta->find(name) : nullptr;
    if (entry == nullptr) return false;
    return entry->change == Change::kXor || !(options_.any_base || options_.revert);
  }

  std::unique_ptr<CombinePart> part_of(const Plan& plan) const {
    const double c = plan.coefficient;
    if (plan.entry) {
      const Delta& delta = std::get<Delta>(plan.term->delta);
      if (plan.is_xor()) return std::make_unique<XorPart>(engine_, delta, *plan.entry, c);
      return difference_part(engine_, delta, *plan.entry, c);
    }
    const Adapter& adapter = std::get<Adapter>(plan.term->delta);
    return low_rank_part(plan.is_bias ? bias_of(adapter, *plan.module) : factors_of(adapter, *plan.module, plan.target),
                         c);
  }

  void make_tensor(const Tensor& tensor, checkpoint::ShardWriter& writer, std::size_t index) {
    const auto found = plans_.find(tensor.name);
    if (found == plans_.end())
      return copy_tensor(engine_, {&base_, &tensor, {}, base_.path()}, tensor.dtype, writer, index);
    std::vector<std::unique_ptr<CombinePart>> parts;
    for (const Plan& plan : found->second) parts.push_back(part_of(plan));
    const bool flip = flips(found->second);
    const std::int64_t n = tensor.elements(), width = checkpoint::bits(tensor.dtype) / 8;
    pool_.for_each((n + kCombineChunk - 1) / kCombineChunk, [&](std::int64_t number, int) {
      throw_if_stopped();
      static thread_local std::vector<std::byte> scratch, out;
      static thread_local CombineChunk chunk;
      chunk.number = number;
      chunk.first = number * kCombineChunk;
      chunk.count = std::min(kCombineChunk, n - chunk.first);
      chunk.dtype = tensor.dtype;
      chunk.bytes = base_.read(tensor, static_cast<std::uint64_t>(chunk.first * width),
                               static_cast<std::uint64_t>(chunk.count * width), scratch);
      out.assign(chunk.bytes.begin(), chunk.bytes.end());
      if (flip)
        static_cast<const XorPart&>(*parts[0]).flip(number, chunk.first, chunk.count, out.data());
      else
        add_up(tensor, parts, chunk, out);
      count_changes(chunk, out, flip);
      writer.write(index, static_cast<std::uint64_t>(chunk.first * width), out);
      tensor.source->check();
      engine_.on_bytes_read(chunk.bytes.size());
    });
  }

  void add_up(const Tensor& tensor, std::span<const std::unique_ptr<CombinePart>> parts, CombineChunk& chunk,
              std::vector<std::byte>& out) const {
    const auto n = static_cast<std::size_t>(chunk.count);
    const auto width = static_cast<std::size_t>(checkpoint::bits(chunk.dtype) / 8);
    chunk.base.resize(n);
    chunk.sum.assign(n, 0);
    chunk.owners.assign(n, 0);
    chunk.whole.assign(n, 0);
    chunk.tuned.resize(n * width);
    const bool finite = load(chunk.dtype, chunk.bytes.data(), chunk.count, chunk.base.data());
    for (const auto& part : parts) part->add(chunk);
    chunk.numbers.resize(n);
    for (std::size_t i = 0; i < n; ++i) {
      const double change =
          options_.shared == Shared::kMean && chunk.owners[i] > 1 ? chunk.sum[i] / chunk.owners[i] : chunk.sum[i];
      chunk.numbers[i] = chunk.base[i] + change;
    }
    chunk.buffer.resize(n * width);
    store(chunk.dtype, chunk.numbers.data(), chunk.count, chunk.buffer.data());
    if (finite && !load(chunk.dtype, chunk.buffer.data(), chunk.count, chunk.numbers.data()))
      throw input_error(cat(tensor.name, ": the result is not finite among entries ", chunk.first, " to ",
                            chunk.first + chunk.count - 1),
                        base_.path(), "a delta is broken, or a coefficient too large");
    for (std::size_t i = 0; i < n; ++i) {
      const bool whole = chunk.owners[i] == 1 && chunk.whole[i];
      if (!whole && chunk.sum[i] == 0) continue;  // keeps its bits, a minus zero's too
      std::memcpy(out.data() + i * width, (whole ? chunk.tuned : chunk.buffer).data() + i * width, width);
    }
  }

  void count_changes(const CombineChunk& chunk, std::span<const std::byte> out, bool flip) {
    const auto width = static_cast<std::size_t>(checkpoint::bits(chunk.dtype) / 8);
    std::int64_t changed = 0, lost = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(chunk.count); ++i) {
      const bool same = std::memcmp(out.data() + i * width, chunk.bytes.data() + i * width, width) == 0;
      changed += !same;
      lost += same && !flip && chunk.sum[i] != 0;
    }
    changed_ += changed;
    lost_ += lost;
  }

  const Checkpoint& base_;
  std::vector<Term> terms_;
  const CombineOptions& options_;
  Pool& pool_;
  Progress& progress_;
  Engine engine_;
  std::map<std::string, std::vector<Plan>> plans_;  // by tensor, in the order of the terms
  std::atomic<std::int64_t> changed_ = 0, lost_ = 0;
  CombineReport report_;
};

}  // namespace

const std::string& Term::path() const {
  const auto* file = std::get_if<Delta>(&delta);
  return file ? file->path() : std::get<Adapter>(delta).path();
}

Term open_term(const std::string& path, double coefficient) {
  if (checkpoint::is_adapter(path)) return {checkpoint::open_adapter(path), coefficient};
  return {checkpoint::open_delta(path), coefficient};
}

CombineReport combine(const Checkpoint& base, std::vector<Term> terms, const CombineOptions& options, Pool& pool,
                      Progress& progress) {
  std::vector<std::string> inputs = {base.path()};
  for (const Term& term : terms) inputs.push_back(term.path());
  checkpoint::require_writable(options.out, options.force, inputs);
  return Combiner(base, std::move(terms), options, pool, progress).make();
}

}  // namespace solera::weights
