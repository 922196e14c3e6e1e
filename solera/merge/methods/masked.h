// Merging by masks: of each model's changes a mask keeps some, and what is left is added to the base. TIES,
// Breadcrumbs, DARE, DELLA and their relatives are one program with different masks.
//
//   tau_t = x_t - base                                  float32, n entries a group
//   d_t   = c_t tau_t where model t's mask keeps it, else 0
//   m     = sum_t w_t d_t                               without an election; divided by sum_t w_t if normalize
//   s     = sign(sum_t v_t d_t)                         with one; v_t = 1 (vote: change) or w_t (vote: weighted)
//   m     = sum_{t agrees} w_t d_t                      agrees: v_t d_t has the sign s; divided by sum_{t agrees} w_t
//                                                       if normalize
//   out   = base + lambda m                             rounded once, to the output type; lambda = 0: the base's bits
//
// A method fills in a MaskedMerge for every tensor; the passes, in bounded memory, are here. A random mask's draws are
// a function of seed, model, output name and element index (random.h): the same for any threads, tiles and methods.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "solera/base/random.h"
#include "solera/merge/method.h"
#include "solera/merge/methods/bands.h"

namespace solera::merge {

enum class Vote { kChange, kWeighted };
enum class ZeroVote { kMajority, kPositive };
enum class RescaleBy { kProbability, kL1 };
inline constexpr const char* kVoteNames = "change | weighted";
inline constexpr const char* kZeroVoteNames = "majority | positive";
inline constexpr const char* kRescaleNames = "probability | l1";

struct SignVote {
  Vote vote = Vote::kChange;
  ZeroVote zero_vote = ZeroVote::kMajority;  // where votes cancel: the sign that most entries of the group elect, or +
};

// Each change is kept with probability `density`, or, with an epsilon, with one that falls from density + epsilon for
// the largest magnitude of a row to density - epsilon for the smallest, in equal steps.
struct RandomMask {
  RandomStream stream;
  double density = 1;
  double epsilon = 0;
  bool divide = false;  // with an epsilon: each survivor is divided by its own probability

  bool ranked() const { return epsilon != 0 && density > 0 && density < 1; }
  double probability(std::int64_t rank, std::int64_t n) const;  // rank 0 is the largest; density where n is 1
};

// Which changes of one model survive, and what they count.
struct ModelMask {
  double weight = 1;
  std::function<RankBand(std::int64_t n)> band;  // the ranks kept among n entries of a group; empty with a draw
  std::optional<RandomMask> draw;
  double scale = 1;  // c_t, factor on the survivors
  bool l1 = false;   // it is sum |tau_t| / sum |d_t| of the group instead; 1 where one of them is below 1e-7 (mergekit)

  bool measures_draws() const { return l1 && draw; }
};

// What a tensor gets.
struct MaskedMerge {
  std::vector<ModelMask> models;
  Granularity granularity = Granularity::kTensor;  // of a group; the masks of a whole model are one for all tensors
  std::optional<SignVote> election;
  double lambda = 1;
  bool normalize = false;
  std::int64_t rank_row = 0;  // entries of a row whose magnitudes a random mask ranks
};

// What the planner knows of a tensor's masks.
struct MaskContext {
  std::uint64_t seed = 0;
  std::string_view tensor = {};                // output name
  std::span<const std::size_t> ordinals = {};  // the models' places in the configuration; empty: 0, 1, 2, ...
  std::int64_t row = 0, elements = 0;          // of the tensor: its last dimension, and all; in memory 0: all
  std::vector<std::string>* warnings = nullptr;

  RandomStream stream(std::size_t model) const;
};
MaskContext context_of(const Binding& binding);

// All tensors of a merge, in the order of their binding.
class MaskedTensors {
 public:
  void add(MaskedMerge merge, std::int64_t row, std::int64_t elements);
  bool wants_survey() const;
  void survey(std::span<const TensorPass> passes);
  void survey_state(SurveyState& state) { state(bands_, scales_, zero_is_positive_); }
  void merge(std::size_t index, const TensorPass& pass) const;
  std::uint64_t worker_memory(std::size_t index) const { return memory_[index]; }

 private:
  template <class T>
  void run(std::size_t index, const TensorPass& pass) const;
  template <class T>
  void measure_model(std::span<const TensorPass> passes);

  std::vector<MaskedMerge> merges_;
  std::vector<std::uint64_t> memory_;
  ModelBands bands_;              // of a whole model
  std::vector<double> scales_;    // likewise, and of every model
  bool zero_is_positive_ = true;  // likewise
};

// One group in memory. `out` may be `base` itself. Requires equal sizes; granularity is the caller's.
void merge_masked(MaskedMerge merge, std::span<const float> base, std::span<const std::span<const float>> tuned,
                  std::span<float> out);

template <class Params, class ModelParams>
class MaskedProgram final : public TypedProgram<Params, ModelParams> {
 public:
  using Rule = MaskedMerge (*)(const Params&, std::span<const ModelParams>, const MaskContext&);

  explicit MaskedProgram(Rule rule, CheckFunction<Params, ModelParams> check = nullptr)
      : TypedProgram<Params, ModelParams>(nullptr, check), rule_(rule) {}

  void bind(std::size_t index, const Binding& binding) override {
    TypedProgram<Params, ModelParams>::bind(index, binding);
    const MaskContext context = context_of(binding);
    tensors_.add(rule_(this->params(index), this->models(index), context), context.row, context.elements);
    if (tensors_.wants_survey()) this->require_values_of_group(index, binding);
  }
  bool wants_survey() const override { return tensors_.wants_survey(); }
  void survey(std::span<const TensorPass> passes) override { tensors_.survey(passes); }
  bool survey_state(SurveyState& state) override {
    tensors_.survey_state(state);
    return true;
  }
  void merge(std::size_t index, const TensorPass& pass) override { tensors_.merge(index, pass); }
  std::uint64_t worker_memory(std::size_t index) const override { return tensors_.worker_memory(index); }

 private:
  Rule rule_;
  MaskedTensors tensors_;
};

}  // namespace solera::merge
