// From a configuration and open models to a plan: every output tensor with its inputs, types and resolved parameters.
// All that can be wrong is found here, before a byte of a tensor is read or written.
//
//   Plan plan = make_plan(read_merge_config("blend.yaml"), {.single_file = true});
//   execute(plan, {.out = "blend.safetensors"}, progress);
//
// Which tensors there will be: those of the models, matched by canonical name (names.h). Where models differ:
//   a pooler or position_ids that some lack   merged over those that have it, copied where only one has
//   a head of a class the base is not         left out, with a warning
//   lm_head.weight of a tied model            its embedding
//   anything else                             Error, unless allow_missing
// Types: `dtype` is put on every operand as a cast; the output has `out_dtype`, else `dtype`, else what PyTorch
// promotes all operands to. Integer tensors are copied. A copy whose output type differs from the input's is converted.
//
// Slices: output layer k is merged from the layers of its slice's sources that follow their first ones; embeddings come
// from the first slice, the final norm and heads from the last (match.h). What goes beside the weights is
// output_files.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "solera/base/pattern.h"
#include "solera/checkpoint/checkpoint.h"
#include "solera/checkpoint/statistics.h"
#include "solera/checkpoint/writer.h"
#include "solera/merge/config.h"
#include "solera/merge/method.h"
#include "solera/merge/tokenizer.h"
#include "solera/merge/truncated_rows.h"

namespace solera::merge {

struct PlanOptions {
  bool allow_missing = false;        // tensors that some models lack are merged over those that have them
  bool truncate_embeddings = false;  // tables of different vocabularies are cut to their common rows (truncated_rows.h)
  std::vector<Pattern> include,
      exclude;  // tensors not selected are taken from the base (else the first model) as they are
  std::uint64_t shard_bytes = 5'000'000'000;
  bool single_file = false;
};

struct TensorPlan {
  checkpoint::TensorInfo out;
  enum class Action { kMerge, kCopy } action = Action::kMerge;
  std::vector<weights::Operand> operands;  // as TensorPass wants them; one for a copy
  bool has_base = false;
  std::size_t statistics = 0;  // the last so many operands
  std::size_t bound = 0;       // number in the program, for kMerge
  std::string note;            // why a copy: "integer tensor", "not selected", "only in fine-a"
};

// Output layers [first, end), and where they come from: layer k of the output is layer k - first + From::first.
struct LayerRun {
  struct From {
    std::size_t model = 0;
    int first = 0;
  };
  int first = 0, end = 0;
  std::vector<From> from;  // base first
};

struct Plan {
  MergeConfig config;
  const Method* method = nullptr;
  std::vector<std::unique_ptr<checkpoint::Checkpoint>>
      models;                          // all inputs, base first where there is one; addresses stable
  std::vector<std::string> labels;     // their names in messages
  std::vector<std::string> hub_names;  // "org/name" of those from the hub's cache, else ""
  std::vector<std::unique_ptr<checkpoint::Statistics>> statistics;  // files that the models' parameters name
  int donor = 0;                                                    // whose config and side files are carried
  std::vector<LayerRun> layers;                                     // where layers are stacked; empty otherwise
  std::vector<TensorPlan> tensors;                                  // sorted by output name; as layout.tensors
  std::optional<MergedTokenizer> tokenizer;                         // where the file asks for one
  TruncatedRows truncated;                                          // where the caller asks for it
  std::string chat_template;                                        // likewise; may be empty
  checkpoint::Layout layout;
  std::unique_ptr<Program> program;
  std::vector<std::string> warnings;  // each once

  std::vector<const checkpoint::Checkpoint*> inputs() const;  // models and statistics: every file that is read
  std::uint64_t bytes_to_read() const;                        // one pass over all inputs
  std::uint64_t bytes_to_write() const;
  std::string hash() const;  // method, parameters, inputs' identity, layout: what a resume must agree on
};

Plan make_plan(MergeConfig config, const PlanOptions& options);

}  // namespace solera::merge
