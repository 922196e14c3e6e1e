#include "solera/merge/statistics_files.h"

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/checkpoint/remote.h"

namespace solera::merge {
namespace {

// From the working folder, else from the configuration's.
std::string locate(const std::string& path, const std::string& folder, const std::string& where) {
  if (checkpoint::is_remote(path) || exists(path)) return path;
  if (const std::string beside = join_path(folder, path); !path.starts_with('/') && exists(beside)) return beside;
  const Error missing = missing_file(path);
  const std::string looked = cat("looked for it in the working folder", folder == "." ? "" : cat(" and in ", folder));
  throw io_error(missing.problem(), where, missing.hint().empty() ? looked : missing.hint());
}

}  // namespace

const checkpoint::Statistics& StatisticsFiles::open(std::size_t model, const Node& path) {
  const auto [place, added] = opened_.emplace(std::pair(model, path.as_text()), files_.size());
  if (added) {
    const std::string found = locate(path.as_text(), config_.folder, path.where());
    files_.push_back(
        std::make_unique<checkpoint::Statistics>(checkpoint::open_statistics(found, *inputs_.models[model])));
    if (!files_.back()->holds(use_->kind))
      throw input_error(cat("holds no .", name(use_->kind), " tensor, so that ", config_.method, " can do nothing"),
                        found);
  }
  return *files_[place->second];
}

std::vector<weights::Operand> StatisticsFiles::of(const Match& match, std::span<const std::size_t> models,
                                                  std::span<const Lookup> own) {
  if (!use_) return {};
  std::vector<weights::Operand> operands;
  std::vector<std::string> have, lack;
  std::vector<Node> paths;
  for (const Lookup& lookup : own) {
    const auto path = lookup(use_->parameter);
    if (!path || !path->is_scalar() || path->as_text().empty()) return {};
    paths.push_back(*path);
  }
  for (std::size_t k = 0; k < models.size(); ++k) {
    const checkpoint::Statistics& file = open(models[k], paths[k]);
    const checkpoint::Tensor* tensor = file.find(match.tensors[models[k]]->name, use_->kind);
    const checkpoint::Tensor* stored = inputs_.models[models[k]]->find(match.tensors[models[k]]->name);
    if (tensor && use_->kind == checkpoint::Statistic::kFisher && stored != match.tensors[models[k]])
      throw input_error(cat(tensor->name, " is in the order of ", inputs_.labels[models[k]],
                            "'s own vocabulary, and the merge puts the rows of ", match.name, " in another"),
                        file.file().path(), cat("leave tokenizer_source out, or --exclude '", match.name, "'"));
    (tensor ? have : lack).push_back(file.file().path());
    if (tensor) operands.push_back({&file.file(), tensor, std::nullopt, paths[k].as_text()});
  }
  if (have.empty()) {
    without_.push_back(match.name);
  } else if (!lack.empty()) {
    throw input_error(cat(checkpoint::statistic_name(match.name, use_->kind), " is in ", join(have, ", "),
                          " but not in ", join(lack, ", ")),
                      config_.file,
                      cat("measure all models alike, or --exclude '", match.name, "' keeps that of ",
                          inputs_.labels[models.front()]));
  }
  return operands;
}

void StatisticsFiles::finish(std::vector<std::string>& warnings) const {
  if (without_.empty() || files_.empty()) return;
  const std::size_t more = without_.size() - 1;
  warnings.push_back(cat("no file has a .", name(use_->kind), " for ", without_.front(),
                         more > 0 ? cat(" and ", more, more == 1 ? " other tensor" : " other tensors") : "",
                         ": merged without"));
}

}  // namespace solera::merge
