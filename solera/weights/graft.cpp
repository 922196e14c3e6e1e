#include "solera/weights/graft.h"

#include <memory>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/checkpoint/writer.h"
#include "solera/weights/make_delta.h"
#include "solera/weights/staging.h"

namespace solera::weights {

namespace {

using checkpoint::Checkpoint;
using checkpoint::Delta;

class Grafter {
 public:
  Grafter(const Checkpoint& base, const GraftOptions& options, Pool& pool, Progress& progress,
          const std::string& scratch)
      : base_(base), options_(options), pool_(pool), progress_(progress), scratch_(scratch) {}

  GraftReport run(const std::vector<std::string>& inputs) {
    std::vector<Delta> regions;
    for (const std::string& input : inputs) {
      if (checkpoint::is_adapter(input))
        throw input_error(cat(input, " is an adapter: it has no region, it changes whole matrices"), "",
                          "apply it with `solera apply`");
      Checkpoint file = checkpoint::open_checkpoint(input);
      regions.push_back(checkpoint::is_delta(file) ? Delta(std::move(file))
                                                   : make(file, options_.region, regions.size()));
    }
    report_.overlap = find_overlap({&pool_, {}, true, {}}, regions);
    if (options_.out.empty()) return report_;
    std::vector<Term> terms;
    if (options_.from.empty()) {
      for (Delta& region : regions) terms.push_back({std::move(region), 1});
    } else {
      Sparsity within{.how = Sparsify::kRegion};
      within.regions = regions;
      terms.push_back({make(checkpoint::open_checkpoint(options_.from), within, regions.size()), 1});
    }
    report_.combined = combine(
        base_, std::move(terms),
        {.out = options_.out, .force = options_.force, .shared = options_.shared, .shard_bytes = options_.shard_bytes},
        pool_, progress_);
    return report_;
  }

 private:
  Delta make(const Checkpoint& model, const Sparsity& sparsity, std::size_t number) {
    DeltaOptions delta{.out = join_path(scratch_, cat("region-", number, ".safetensors"))};
    delta.include = options_.include;
    delta.exclude = options_.exclude;
    delta.sparsity = sparsity;
    const DeltaReport made = make_delta(base_, model, delta, pool_, progress_);
    for (const std::string& line : made.warnings) report_.warnings.push_back(cat(model.path(), ": ", line));
    if (made.moved == 0)
      throw input_error(cat(model.path(), " equals ", base_.path(), " wherever its region was looked for"), "",
                        "is it the right model?");
    return checkpoint::open_delta(delta.out);
  }

  const Checkpoint& base_;
  const GraftOptions& options_;
  Pool& pool_;
  Progress& progress_;
  std::string scratch_;
  GraftReport report_;
};

}  // namespace

GraftReport graft(const Checkpoint& base, const std::vector<std::string>& inputs, const GraftOptions& options,
                  Pool& pool, Progress& progress) {
  GraftReport report;
  if (options.out.empty()) {
    const TemporaryFolder scratch;
    return Grafter(base, options, pool, progress, scratch.path()).run(inputs);
  }
  std::vector<std::string> all = inputs;
  all.push_back(base.path());
  if (!options.from.empty()) all.push_back(options.from);
  checkpoint::require_writable(options.out, options.force, all);
  in_staging(without_slashes(options.out), ".grafting", [&](const std::string& scratch) {
    report = Grafter(base, options, pool, progress, scratch).run(inputs);
    remove_all(scratch);
  });
  return report;
}

}  // namespace solera::weights
