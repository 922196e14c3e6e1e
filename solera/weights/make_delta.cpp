#include "solera/weights/make_delta.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <deque>
#include <numeric>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"
#include "solera/checkpoint/delta.h"
#include "solera/checkpoint/writer.h"
#include "solera/weights/content_hash.h"
#include "solera/weights/staging.h"

namespace solera::weights {

namespace {

using checkpoint::Change;
using checkpoint::Checkpoint;
using checkpoint::DeltaTensor;
using checkpoint::Tensor;

std::int64_t width_of(DType dtype) { return checkpoint::bits(dtype) / 8; }

// A pair of tensors, cut into chunks of one hashed piece of the base each, and what the first pass learns of them.
struct Job {
  TensorPair pair;
  bool exact = true;
  enum class Rule { kNothing, kChanged, kRanked } rule = Rule::kNothing;
  std::size_t segment = 0;  // of the rule
  std::vector<std::string> base_pieces, result_pieces;
  std::vector<std::int64_t> kept;  // of each chunk; after the first pass, of all before it

  std::int64_t chunk() const { return static_cast<std::int64_t>(kHashPiece) / width_of(pair.base->dtype); }
  std::int64_t elements() const { return pair.base->elements(); }
};

// One chunk of a job in memory.
struct Chunk {
  std::int64_t first = 0, count = 0;
  std::span<const std::byte> base, tuned;
  std::vector<std::byte> base_scratch, tuned_scratch;
  std::vector<std::uint8_t> mask;
  std::vector<std::byte> values;
};

class Maker {
 public:
  Maker(const Checkpoint& base, const Checkpoint& tuned, const DeltaOptions& options, Pool& pool, Progress& progress)
      : base_(base), tuned_(tuned), options_(options), pool_(pool), progress_(progress) {
    exact_ = options.values.value_or(options.sparsity.random() ? DeltaValues::kDifference : DeltaValues::kExact) ==
             DeltaValues::kExact;
    options.sparsity.check();
    if (exact_ && options.sparsity.random())
      throw usage_error("exact values cannot be multiplied, which random and q do", "", "leave --values exact out");
    if (!exact_ || options.sparsity.how != Sparsify::kChanged)
      for (const Checkpoint* model : {&base, &tuned}) checkpoint::require_unquantized(*model, "subtract");
    engine_ = {&pool, {}, true, [this](std::uint64_t bytes) { progress_.advance(bytes); }};
    prepare();
  }

  DeltaReport make() {
    progress_.begin("compare", total_bytes(), "bytes");
    changed_.emplace(engine_, changed_segments_, Sparsity{});
    ranked_.emplace(engine_, ranked_segments_, options_.sparsity);
    each_chunk([this](Job& job, std::size_t i, Chunk& chunk) { look(job, i, chunk); });
    progress_.end();
    describe();
    const checkpoint::Layout layout = checkpoint::plan_delta(tensors_, made());
    in_staging(options_.out, ".making", [&](const std::string& staging) {
      checkpoint::ShardWriter writer(staging, layout);
      progress_.begin("delta", total_bytes(), "bytes");
      each_chunk([&](Job& job, std::size_t i, Chunk& chunk) { write(job, i, chunk, layout, writer); });
      base_.check();
      tuned_.check();
      writer.sync();
      checkpoint::publish(staging, options_.out);
      progress_.end();
    });
    report_.bytes = layout.total_bytes();
    return report_;
  }

 private:
  void prepare() {
    const bool sparsified = options_.sparsity.how != Sparsify::kChanged;
    for (const TensorPair& pair : match_pairs(base_, tuned_, options_.include, options_.exclude, exact_)) {
      Job& job = jobs_.emplace_back();
      job.pair = pair;
      (void)checkpoint::bits_type(pair.base->dtype, pair.base->name);  // whole bytes
      const bool number = checkpoint::is_float(pair.base->dtype);
      const bool whole = !sparsified || (!options_.whole.empty() && selected(pair.base->name, options_.whole, {}));
      job.exact = exact_ || !number || (sparsified && whole && pair.base->dtype == pair.tuned->dtype);
      job.rule = whole ? Job::Rule::kChanged : number ? Job::Rule::kRanked : Job::Rule::kNothing;
      job.base_pieces.resize(static_cast<std::size_t>((job.elements() + job.chunk() - 1) / job.chunk()));
      job.result_pieces.resize(job.base_pieces.size());
      job.kept.resize(job.base_pieces.size());
      operands_.push_back(
          {Operand{&base_, pair.base, {}, base_.path()}, Operand{&tuned_, pair.tuned, {}, tuned_.path()}});
    }
    for (std::size_t i = 0; i < jobs_.size(); ++i) {
      if (jobs_[i].rule == Job::Rule::kNothing) continue;
      std::vector<Segment>& segments = jobs_[i].rule == Job::Rule::kRanked ? ranked_segments_ : changed_segments_;
      jobs_[i].segment = segments.size();
      segments.push_back({operands_[i]});
    }
    for (const Pattern& pattern : options_.whole)
      if (std::none_of(jobs_.begin(), jobs_.end(),
                       [&](const Job& job) { return pattern.matches(job.pair.base->name); }))
        throw usage_error(cat("--whole '", pattern.text(), "' matches no tensor that is compared"));
    if (sparsified && ranked_segments_.empty())
      throw input_error("no floating-point tensor is selected", base_.path(), "look at --include and --exclude");
  }

  std::uint64_t total_bytes() const {
    return std::accumulate(jobs_.begin(), jobs_.end(), std::uint64_t{0}, [](std::uint64_t sum, const Job& job) {
      return sum + job.pair.base->bytes() + job.pair.tuned->bytes();
    });
  }

  template <class Body>
  void each_chunk(Body body) {
    pool_.for_each(static_cast<std::int64_t>(jobs_.size()), [&](std::int64_t number, int) {
      Job& job = jobs_[static_cast<std::size_t>(number)];
      pool_.for_each(static_cast<std::int64_t>(job.kept.size()), [&](std::int64_t i, int) {
        throw_if_stopped();
        static thread_local Chunk chunk;
        chunk.first = i * job.chunk();
        chunk.count = std::min(job.chunk(), job.elements() - chunk.first);
        chunk.base = read(base_, *job.pair.base, chunk, chunk.base_scratch);
        chunk.tuned = read(tuned_, *job.pair.tuned, chunk, chunk.tuned_scratch);
        fill_mask(job, chunk);
        body(job, static_cast<std::size_t>(i), chunk);
        engine_.on_bytes_read(chunk.base.size() + chunk.tuned.size());
        job.pair.base->source->check();
        job.pair.tuned->source->check();
      });
    });
  }

  void fill_mask(const Job& job, Chunk& chunk) const {
    chunk.mask.assign(static_cast<std::size_t>((chunk.count + 7) / 8), 0);
    if (job.rule == Job::Rule::kNothing) return;
    const KeepRule& rule = job.rule == Job::Rule::kRanked ? *ranked_ : *changed_;
    rule.mask(job.segment, chunk.first, chunk.count, chunk.base.data(), chunk.tuned.data(), chunk.mask.data());
  }

  static std::span<const std::byte> read(const Checkpoint& model, const Tensor& tensor, const Chunk& chunk,
                                         std::vector<std::byte>& scratch) {
    const auto width = static_cast<std::uint64_t>(width_of(tensor.dtype));
    return model.read(tensor, static_cast<std::uint64_t>(chunk.first) * width,
                      static_cast<std::uint64_t>(chunk.count) * width, scratch);
  }

  // f(i) for every entry of the chunk that is kept.
  template <class F>
  static void each_kept(const Chunk& chunk, F f) {
    for (std::size_t byte = 0; byte < chunk.mask.size(); ++byte)
      for (unsigned bits = chunk.mask[byte]; bits != 0; bits &= bits - 1)
        f(byte * 8 + static_cast<std::size_t>(std::countr_zero(bits)));
  }

  // The first pass: how many are kept, and the hashes.
  void look(Job& job, std::size_t i, Chunk& chunk) {
    std::int64_t kept = 0;
    for (const std::uint8_t byte : chunk.mask) kept += std::popcount(byte);
    job.kept[i] = kept;
    job.base_pieces[i] = hash_bytes(chunk.base);
    if (!differs_ && (chunk.base.size() != chunk.tuned.size() ||
                      std::memcmp(chunk.base.data(), chunk.tuned.data(), chunk.base.size()) != 0))
      differs_ = true;
    if (!job.exact) {
      moved_ += kept;
      return;
    }
    const auto width = static_cast<std::size_t>(width_of(job.pair.base->dtype));
    chunk.values.assign(chunk.base.begin(), chunk.base.end());
    std::int64_t moved = 0;
    each_kept(chunk, [&](std::size_t k) {
      const std::byte* tuned = chunk.tuned.data() + k * width;
      moved += std::memcmp(chunk.values.data() + k * width, tuned, width) != 0;
      std::memcpy(chunk.values.data() + k * width, tuned, width);
    });
    moved_ += moved;
    job.result_pieces[i] = hash_bytes(chunk.values);
  }

  void describe() {
    std::int64_t integers = 0;
    Engine quiet = engine_;
    quiet.on_bytes_read = nullptr;
    for (Job& job : jobs_) {
      DeltaTensor& tensor = tensors_.emplace_back();
      tensor.base = *job.pair.base;
      tensor.base_hash = content_hash(tensor.base, job.base_pieces);
      tensor.kept = std::accumulate(job.kept.begin(), job.kept.end(), std::int64_t{0});
      std::exclusive_scan(job.kept.begin(), job.kept.end(), job.kept.begin(), std::int64_t{0});
      report_.entries += job.elements();
      report_.kept += tensor.kept;
      integers += job.rule == Job::Rule::kNothing && content_hash(quiet, tuned_, *job.pair.tuned) != tensor.base_hash;
      if (tensor.kept == 0) continue;
      tensor.change = job.exact ? Change::kXor : Change::kDifference;
      if (job.exact) tensor.result_hash = content_hash(tensor.base, job.result_pieces);
      if (job.pair.base->dtype == DType::kF64 || job.pair.tuned->dtype == DType::kF64) tensor.value_type = DType::kF64;
      const std::int64_t width = width_of(job.exact ? tensor.base.dtype : tensor.value_type);
      const std::int64_t saved = (job.elements() - tensor.kept) * width;
      tensor.sparse = saved > (job.elements() + 7) / 8;
      // Entries that a mask chose are a region, which has a mask however large it is.
      if (job.rule == Job::Rule::kRanked) tensor.sparse = true;
      if (!tensor.sparse) tensor.kept = job.elements();
      ++report_.changed;
    }
    report_.tensors = jobs_.size();
    report_.moved = moved_;
    if (!differs_ && options_.sparsity.how != Sparsify::kChanged)
      report_.warnings.push_back(cat(tuned_.path(), " equals ", base_.path(), ": the delta changes nothing"));
    if (integers > 0)
      report_.warnings.push_back(
          cat(integers, integers == 1 ? " integer tensor changes, and is" : " integer tensors change, and are",
              " left as the base's: a sparse delta chooses among floating-point numbers"));
  }

  std::string made() const { return cat(options_.sparsity.describe(), exact_ ? ", exact" : ", difference"); }

  // The second pass: mask and values go to their places.
  void write(Job& job, std::size_t i, Chunk& chunk, const checkpoint::Layout& layout, checkpoint::ShardWriter& writer) {
    const DeltaTensor& tensor = tensors_[static_cast<std::size_t>(&job - jobs_.data())];
    if (tensor.change == Change::kNone) return;
    const std::int64_t place = tensor.sparse ? job.kept[i] : chunk.first;
    if (tensor.sparse)
      writer.write(index_of(layout, tensor.mask_name()), static_cast<std::uint64_t>(chunk.first / 8),
                   std::as_bytes(std::span(chunk.mask)));
    const std::int64_t width = job.exact ? exact_values(job, tensor, chunk) : differences(job, tensor, chunk);
    writer.write(index_of(layout, tensor.values_name()), static_cast<std::uint64_t>(place * width), chunk.values);
  }

  static std::int64_t exact_values(const Job& job, const DeltaTensor& tensor, Chunk& chunk) {
    const std::int64_t width = width_of(job.pair.base->dtype);
    chunk.values.resize(chunk.base.size());
    for (std::size_t k = 0; k < chunk.base.size(); ++k) chunk.values[k] = chunk.base[k] ^ chunk.tuned[k];
    if (tensor.sparse) compress(chunk, static_cast<std::size_t>(width));
    return width;
  }

  std::int64_t differences(const Job& job, const DeltaTensor& tensor, Chunk& chunk) const {
    const TensorPair& pair = job.pair;
    const std::int64_t width = width_of(tensor.value_type);
    chunk.values.resize(static_cast<std::size_t>(chunk.count * width));
    std::array<double, kTile> base, change;
    const double scale = job.rule == Job::Rule::kRanked ? options_.sparsity.scale(pair.base->name) : 1;
    for (std::int64_t at = 0; at < chunk.count; at += kTile) {
      const std::int64_t n = std::min(kTile, chunk.count - at);
      const bool finite = load(pair.base->dtype, chunk.base.data() + at * width_of(pair.base->dtype), n, base.data()) &&
                          load_change(pair.tuned->dtype, chunk.tuned.data() + at * width_of(pair.tuned->dtype),
                                      base.data(), n, change.data());
      if (!finite)
        throw input_error(cat(pair.tuned->name, " holds a value that is not finite among entries ", chunk.first + at,
                              " to ", chunk.first + at + n - 1),
                          tuned_.path(), "--values exact stores any value");
      for (std::int64_t k = 0; k < n; ++k) change[static_cast<std::size_t>(k)] *= scale;
      store(tensor.value_type, change.data(), n, chunk.values.data() + at * width);
    }
    if (tensor.sparse) compress(chunk, static_cast<std::size_t>(width));
    return width;
  }

  // Moves the kept values to the front.
  static void compress(Chunk& chunk, std::size_t width) {
    std::size_t used = 0;
    each_kept(chunk, [&](std::size_t k) {
      std::memmove(chunk.values.data() + used, chunk.values.data() + k * width, width);
      used += width;
    });
    chunk.values.resize(used);
  }

  static std::size_t index_of(const checkpoint::Layout& layout, const std::string& name) {
    const auto found = std::lower_bound(
        layout.tensors.begin(), layout.tensors.end(), name,
        [](const checkpoint::TensorInfo& info, const std::string& wanted) { return info.name < wanted; });
    return static_cast<std::size_t>(found - layout.tensors.begin());
  }

  const Checkpoint &base_, &tuned_;
  const DeltaOptions& options_;
  Pool& pool_;
  Progress& progress_;
  bool exact_ = true;
  Engine engine_;
  std::vector<Job> jobs_;
  std::deque<std::array<Operand, 2>> operands_;  // of the job of the same number; addresses stable
  std::vector<Segment> changed_segments_, ranked_segments_;
  std::optional<KeepRule> changed_, ranked_;
  std::vector<DeltaTensor> tensors_;  // of the job of the same number
  std::atomic<std::int64_t> moved_ = 0;
  std::atomic<bool> differs_ = false;
  DeltaReport report_;
};

}  // namespace

std::vector<TensorPair> match_pairs(const Checkpoint& base, const Checkpoint& tuned, std::span<const Pattern> include,
                                    std::span<const Pattern> exclude, bool same_types) {
  std::vector<TensorPair> pairs;
  const auto leave_out = [](const std::string& name) { return cat("leave it out with --exclude '", name, "'"); };
  for (const Tensor& tensor : tuned.tensors())
    if (selected(tensor.name, include, exclude) && !base.find(tensor.name))
      throw input_error(cat(tensor.name, " is in ", tuned.path(), " but not in ", base.path()), "",
                        leave_out(tensor.name));
  for (const Tensor& tensor : base.tensors()) {
    if (!selected(tensor.name, include, exclude)) continue;
    const Tensor* other = tuned.find(tensor.name);
    if (!other)
      throw input_error(cat(tensor.name, " is in ", base.path(), " but not in ", tuned.path()), "",
                        leave_out(tensor.name));
    if (other->shape != tensor.shape)
      throw input_error(cat(tensor.name, " is ", shape_text(tensor.shape), " in ", base.path(), " and ",
                            shape_text(other->shape), " in ", tuned.path()),
                        "", leave_out(tensor.name));
    const bool numbers = checkpoint::is_float(tensor.dtype) && checkpoint::is_float(other->dtype);
    if (other->dtype != tensor.dtype && (same_types || !numbers))
      throw input_error(cat(tensor.name, " is ", checkpoint::name(tensor.dtype), " in ", base.path(), " and ",
                            checkpoint::name(other->dtype), " in ", tuned.path()),
                        "", numbers ? "use --values difference, or convert one of the models" : leave_out(tensor.name));
    pairs.push_back({&tensor, other});
  }
  for (const auto& [flag, patterns] : {std::pair("--include", include), std::pair("--exclude", exclude)})
    for (const Pattern& pattern : patterns) {
      const auto matches = [&](const Tensor& tensor) { return pattern.matches(tensor.name); };
      if (std::none_of(base.tensors().begin(), base.tensors().end(), matches) &&
          std::none_of(tuned.tensors().begin(), tuned.tensors().end(), matches))
        throw usage_error(cat(flag, " '", pattern.text(), "' matches no tensor"));
    }
  if (pairs.empty()) throw input_error("no tensor is selected", base.path(), "look at --include and --exclude");
  return pairs;
}

void require_delta_output(const DeltaOptions& options, std::span<const std::string> inputs) {
  if (!checkpoint::is_single_file(options.out))
    throw usage_error(cat("a delta is one file, *.safetensors, not ", options.out));
  checkpoint::require_writable(options.out, options.force, inputs);
}

DeltaReport make_delta(const Checkpoint& base, const Checkpoint& tuned, const DeltaOptions& options, Pool& pool,
                       Progress& progress) {
  const std::array<std::string, 2> inputs = {base.path(), tuned.path()};
  require_delta_output(options, inputs);
  return Maker(base, tuned, options, pool, progress).make();
}

}  // namespace solera::weights
