// Which setting of a configuration counts for a tensor: a model's own, the slice's, the module's, the whole file's, in
// that order, and of each the first entry that matches. Parameters of the merge look at the tensor's output name, those
// of a model at the name that the tensor has in this model: the two differ where layers are stacked.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "solera/merge/config.h"
#include "solera/merge/method.h"
#include "solera/merge/values.h"

namespace solera::merge {

class Settings {
 public:
  // `slice`: the parameters of the slice that the tensors belong to, or null.
  Settings(const MergeConfig& config, const Method& method, const Node* slice = nullptr);

  // `place` is kept by value, with the name it points to; the settings and `own` outlive the lookup.
  Lookup global(const TensorPlace& place) const { return lookup(nullptr, place); }
  Lookup of_model(const Node& own, const TensorPlace& place) const { return lookup(&own, place); }

 private:
  Lookup lookup(const Node* own, const TensorPlace& place) const;
  bool discrete(std::string_view name) const;

  std::vector<const Node*> levels_;
  std::vector<std::string> discrete_;  // parameters that are no numbers
};

// A line for each filter, pattern or role that fits no tensor: most likely a slip of the pen.
void add_unmatched(const Node& parameters, std::span<const TensorPlace> places, std::vector<std::string>& lines);

}  // namespace solera::merge
