// PCB-Merging (parameter competition balancing): a weight of its own for every entry of every task. Large changes that
// agree with the other tasks' get weight, small or opposing ones are dropped.
//
//   tau_i = x_i - base, D entries a group, N tasks; Norm(x) = (x - min x) / (max x - min x) over a task's D entries
//   formulation: code
//     A_i = |tau_i| between its order statistics floor(c D) and floor((1 - c) D - 1);   T_i = sign(tau_i) A_i
//     B_i = exp(N Norm(A_i)^2) tanh(tau_i sum_j tau_j)            inter: sum_tanh
//           exp(N Norm(A_i)^2) tanh(tau_i sum_j n_j)              inter: sum_tanh_normed, n_j = sign(tau_j) Norm(A_j)
//           exp(N Norm(A_i)^2) sum_j tanh(n_i n_j)                inter: pairwise_tanh
//     S_i = Norm(max(B_i, b_i)), b_i the order statistic floor((1 - r) D) of B_i
//   formulation: paper
//     beta_i = Softmax(N Norm(tau_i^2)) sum_j Softmax(Norm(tau_i tau_j)), over the D entries; T_i = tau_i
//     S_i = beta_i where it is at least its order statistic floor((1 - r) D), else 0
//   out = base + lambda sum_i S_i w_i T_i / sum_i S_i             where a S_i is above 0, else the base
//
// Du et al., NeurIPS 2024, arXiv 2410.02396; `code` is what the authors ran (duguodong7/pcb-merging), which divides by
// max(sum_i S_i, 1e-12): that shrinks the change where all weights are tiny, and here it does not. r is `density`, c
// `clamp`. Shapes: any, all inputs alike. Float64, rounded once, to the output type; e^-N is taken out of B, which
// changes no S. Entries that tie with the threshold get weight 0 (code) or stay (paper), so code keeps at most
// ceil(r D) - 1. Softmax of equal values is 1 / D each. lambda = 0 gives the base's bits. Not random. Cost: three reads
// of each input (paper: four); memory: about 1 % of a group's scores.
#pragma once

#include <span>

#include "solera/merge/method.h"
#include "solera/weights/competition.h"

namespace solera::merge {

enum class PcbFormulation { kCode, kPaper };
enum class PcbGranularity { kModel, kTensor };

struct PcbParams {
  double density = 0.1;
  double lambda = 1.0;
  double clamp = 1e-4;
  PcbFormulation formulation = PcbFormulation::kCode;
  weights::InterScore inter = weights::InterScore::kSumTanh;
  PcbGranularity granularity = PcbGranularity::kModel;
};
struct PcbModel {
  double weight = 1.0;
};

template <class Visitor>
void fields(PcbParams& p, Visitor&& field) {
  field("density", p.density, "fraction of each model's changes kept (fewer by one, and by ties)", "(0, 1]")
      .alias("ratio")
      .per_group();
  field("lambda", p.lambda, "factor on the merged change", "finite").alias("alpha");
  field("clamp", p.clamp, "fraction of magnitudes clipped at both ends (formulation code)", "[0, 0.5)").per_group();
  field("formulation", p.formulation, "the authors' program, or the paper's text", "code | paper").per_group();
  field("inter", p.inter, "what agreement with the other models is (formulation code)",
        "sum_tanh | sum_tanh_normed | pairwise_tanh")
      .per_group();
  field("granularity", p.granularity, "group in which scores are normalized and the density counts", "model | tensor");
}
template <class Visitor>
void fields(PcbModel& m, Visitor&& field) {
  field("weight", m.weight, "factor on this model's changes", "finite");
}

// The formula for one group in memory. `out` may be `base` itself. Requires equal sizes; granularity is the caller's.
// Throws Error (usage) for parameters outside their range or a density that keeps nothing: "density 0.1 keeps none of 5
// entries"; Error (input) for changes that cannot be ranked: "model 1 equals the base".
void pcb(std::span<const float> base, std::span<const std::span<const float>> tuned, const PcbParams& params,
         std::span<const PcbModel> models, std::span<float> out);

Method pcb_method();

}  // namespace solera::merge
