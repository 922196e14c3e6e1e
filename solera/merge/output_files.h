// What goes beside the weights of an output folder: config.json, a model card, the configuration that made it.
#pragma once

#include <optional>
#include <string>

#include "solera/base/document.h"
#include "solera/base/table.h"
#include "solera/merge/plan.h"

namespace solera::merge {

// The donor's config.json, mended: the type of the tensors, the size of a new vocabulary, under stacking the number of
// layers and the lists that have an entry for each layer, and tie_word_embeddings: false where the output has a head
// that the donor ties. Null if the donor has none.
Node output_config(const Plan& plan);

// README.md: what was merged, how, and the configuration. `name` is its title.
std::string model_card(const Plan& plan, const std::string& name);

// Under stacking, a row for each run of output layers: "0-2" and "a 0-2, b 2-4".
Table layer_table(const Plan& plan);

// Writes README.md and mergekit_config.yml into a folder; nothing for a configuration that is not from a file.
void write_model_card(const Plan& plan, const std::string& folder, const std::string& name);

// All that lies beside the weights of an output folder; `name` is the card's title where there is to be one.
void write_side_files(const Plan& plan, const std::string& folder, const std::optional<std::string>& card_title);

}  // namespace solera::merge
