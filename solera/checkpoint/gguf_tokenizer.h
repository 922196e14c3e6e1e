// tokenizer.json and tokenizer_config.json as GGUF's tokenizer.ggml.* metadata.
//
// Made: byte-level BPE ("gpt2": tokens, merges) and BPE with byte fallback, which comes from SentencePiece ("llama":
// tokens, scores). Scores are minus the rank of the first merge that makes a token, so that the pair that BPE merges
// first has the highest score.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "solera/checkpoint/checkpoint.h"
#include "solera/checkpoint/gguf.h"

namespace solera::checkpoint {

// `rows`: tokens that the embedding has; the vocabulary is filled up to them. What cannot be made is left out, with a
// line in `warnings`.
void add_tokenizer(const Checkpoint& model, std::int64_t rows, GgufMetadata& metadata,
                   std::vector<std::string>& warnings);

}  // namespace solera::checkpoint
