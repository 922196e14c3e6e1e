// The output's vocabulary, where the models' differ: `tokenizer_source` and `tokenizer` of a configuration.
//
//   tokenizer_source: union                     # or base, or one of the models
//   tokenizer:                                  # the long form
//     source: union
//     tokens:
//       <pad>: {source: {kind: zero}, force: true}
//       <|im_end|>: {source: {kind: model_token, model: chat, token: </s>}}
//     pad_to_multiple_of: 64
//
// A union keeps the vocabulary of the base (without one, of the first model) and appends what the others have more, in
// the order of the models and of their ids. Every model's embedding and head are then read as if they had the output's
// rows (mergekit 0.1.5):
//   the model has the token, and it is not forced   its own row
//   the file gives the token a source               that row, or zeros
//   the base has the token                          the base's row
//   other models have it                            their mean
//   nobody has it                                   zeros, with a warning
//   a row of padding                                the mean of all rows before
// Tokens of a model beyond its embedding are as if it did not have them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "solera/base/document.h"
#include "solera/merge/config.h"
#include "solera/merge/inputs.h"
#include "solera/merge/match.h"

namespace solera::merge {

// What the output's tokenizer files are made of.
struct MergedTokenizer {
  std::size_t donor = 0;  // the model whose files they are
  Node json;              // tokenizer.json with the appended tokens; null where the donor's serves as it is
  std::int64_t rows = 0;  // of the embedding, padding included
  std::string rules;      // for the plan's hash
  std::vector<std::unique_ptr<checkpoint::Tensor>> tensors;  // the models' tables with the output's rows
};

// Reads the vocabularies and replaces, in `matches` (of each slice), every tensor whose first axis is the vocabulary.
// Throws Error (usage, input): a model without tokenizer.json, an unknown source, a token that its source lacks, a
// donor with tokens beyond its embedding.
MergedTokenizer merge_tokenizers(const MergeConfig& config, const Inputs& inputs, std::span<std::vector<Match>> matches,
                                 std::vector<std::string>& warnings);

// Writes the tokenizer files of the output into `folder`, over those that are there.
void write_tokenizer(const MergedTokenizer& tokenizer, const checkpoint::Checkpoint& donor, const std::string& folder);

}  // namespace solera::merge
