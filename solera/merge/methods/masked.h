// Merging by masks: of each model's changes a mask keeps some, and what is left is added to the base. TIES, Breadcrumbs
// and their relatives are one program with different masks.
//
//   tau_t = x_t - base                                  float32, n entries a group
//   d_t   = tau_t where model t's mask keeps it, else 0
//   m     = sum_t w_t d_t                               without an election; divided by sum_t w_t if normalize
//   s     = sign(sum_t v_t d_t)                         with one; v_t = 1 (vote: change) or w_t (vote: weighted)
//   m     = sum_{t agrees} w_t d_t                      agrees: v_t d_t has the sign s; divided by sum_{t agrees} w_t
//                                                       if normalize
//   out   = base + lambda m                             rounded once, to the output type; lambda = 0: the base's bits
//
// A method fills in a MaskedMerge for every tensor; the passes, in bounded memory, are here.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "solera/merge/method.h"
#include "solera/merge/methods/bands.h"

namespace solera::merge {

enum class Vote { kChange, kWeighted };
enum class ZeroVote { kMajority, kPositive };
inline constexpr const char* kVoteNames = "change | weighted";
inline constexpr const char* kZeroVoteNames = "majority | positive";

struct SignVote {
  Vote vote = Vote::kChange;
  ZeroVote zero_vote = ZeroVote::kMajority;  // where votes cancel: the sign that most entries of the group elect, or +
};

// Which changes of one model survive, and what they count.
struct ModelMask {
  double weight = 1;
  std::function<RankBand(std::int64_t n)> band;  // the ranks kept among n entries of a group
};

// What a tensor gets.
struct MaskedMerge {
  std::vector<ModelMask> models;
  Granularity granularity = Granularity::kTensor;  // of a group; a whole model takes the first tensor's masks
  std::optional<SignVote> election;
  double lambda = 1;
  bool normalize = false;
};

// All tensors of a merge, in the order of their binding.
class MaskedTensors {
 public:
  void add(MaskedMerge merge) { merges_.push_back(std::move(merge)); }
  bool wants_survey() const;
  void survey(std::span<const TensorPass> passes);
  void merge(std::size_t index, const TensorPass& pass) const;

 private:
  template <class T>
  void run(std::size_t index, const TensorPass& pass) const;

  std::vector<MaskedMerge> merges_;
  ModelBands bands_;              // of a whole model
  bool zero_is_positive_ = true;  // likewise
};

// One group in memory. `out` may be `base` itself. Requires equal sizes; granularity is the caller's.
void merge_masked(const MaskedMerge& merge, std::span<const float> base, std::span<const std::span<const float>> tuned,
                  std::span<float> out);

template <class Params, class ModelParams>
class MaskedProgram final : public TypedProgram<Params, ModelParams> {
 public:
  using Rule = MaskedMerge (*)(const Params&, std::span<const ModelParams>);

  explicit MaskedProgram(Rule rule, CheckFunction<Params, ModelParams> check = nullptr)
      : TypedProgram<Params, ModelParams>(nullptr, check), rule_(rule) {}

  void bind(std::size_t index, const Binding& binding) override {
    TypedProgram<Params, ModelParams>::bind(index, binding);
    tensors_.add(rule_(this->params(index), this->models(index)));
  }
  bool wants_survey() const override { return tensors_.wants_survey(); }
  void survey(std::span<const TensorPass> passes) override { tensors_.survey(passes); }
  void merge(std::size_t index, const TensorPass& pass) override { tensors_.merge(index, pass); }

 private:
  Rule rule_;
  MaskedTensors tensors_;
};

}  // namespace solera::merge
