// The statistics files of a merge: opened once each, checked against their models, one operand a model and tensor.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "solera/checkpoint/statistics.h"
#include "solera/merge/config.h"
#include "solera/merge/inputs.h"
#include "solera/merge/match.h"
#include "solera/merge/method.h"

namespace solera::merge {

class StatisticsFiles {
 public:
  StatisticsFiles(const MergeConfig& config, const Method& method, const Inputs& inputs)
      : config_(config), use_(method.statistics), inputs_(inputs) {}

  // What the files have for a tensor: an operand for each of `models` (indices into the inputs; `own[k]` are the
  // parameters of models[k]), or none if no file has anything or a model names none, which binding refuses. Throws
  // Error (io, input): a missing or unfitting file, one that lacks what another has.
  std::vector<weights::Operand> of(const Match& match, std::span<const std::size_t> models,
                                   std::span<const Lookup> own);

  // After the last tensor: files that no tensor could use are an Error (input), tensors without statistics a warning.
  void finish(std::vector<std::string>& warnings) const;

  std::vector<std::unique_ptr<checkpoint::Statistics>> release() { return std::move(files_); }

 private:
  const checkpoint::Statistics& open(std::size_t model, const Node& path);

  const MergeConfig& config_;
  const std::optional<StatisticsUse> use_;
  const Inputs& inputs_;
  std::map<std::pair<std::size_t, std::string>, std::size_t> opened_;  // (model, path as written): number in files_
  std::vector<std::unique_ptr<checkpoint::Statistics>> files_;
  std::vector<std::string> without_;
};

}  // namespace solera::merge
