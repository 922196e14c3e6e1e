#include "solera/merge/tokenizer.h"

#include <algorithm>
#include <map>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/merge/aligned_rows.h"
#include "solera/merge/names.h"
#include "solera/merge/vocabulary.h"

namespace solera::merge {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Tensor;
using Origin = RowPlan::Origin;

// config.json's vocab_size, of the model or of its text part; 0 if it does not say.
std::int64_t vocab_size(const Node& config) {
  if (const Node* size = config.find("vocab_size"); size && size->is_scalar()) return size->as_int();
  const Node* text = config.find("text_config");
  return text && text->is_map() ? vocab_size(*text) : 0;
}

class Alignment {
 public:
  Alignment(const MergeConfig& config, const Inputs& inputs)
      : config_(config), wishes_(*config.tokenizer), inputs_(inputs), models_(inputs.taking_part()) {
    if (!config.base_model.empty() && std::find(models_.begin(), models_.end(), 0u) == models_.end())
      models_.insert(models_.begin(), 0);
    vocabularies_.resize(inputs.models.size());
    sizes_.resize(inputs.models.size());
    for (const std::size_t i : models_) {
      vocabularies_[i] = read_vocabulary(*inputs.models[i], inputs.labels[i]);
      sizes_[i] = vocab_size(inputs.models[i]->config());
      if (sizes_[i] == 0)
        throw input_error(cat(inputs.labels[i], ": config.json gives no vocab_size"), inputs.models[i]->path(),
                          "add it, or merge without tokenizer_source");
    }
  }

  MergedTokenizer run(std::span<std::vector<Match>> matches, std::vector<std::string>& warnings) {
    MergedTokenizer result;
    result.donor = donor_ = donor();
    out_ = vocabularies_[donor_];
    drop_late_tokens(donor_, warnings);
    if (wishes_.source == "union") unite();
    for (const TokenWish& wish : wishes_.tokens)
      if (!out_.id(wish.token)) append_token(out_, wish.token, {});
    if (!out_.appended.empty()) result.json = tokenizer_json(out_);
    plan_rows(warnings);
    result.rows = plans_.empty() ? 0 : plans_.begin()->second->rows();
    for (std::vector<Match>& slice : matches)
      for (Match& match : slice) align(match, result);
    result.rules = to_json(wishes_.node);
    return result;
  }

 private:
  std::size_t donor() const {
    if (wishes_.source == "union") return config_.base_model.empty() ? models_.front() : 0;
    if (wishes_.source == "base") {
      if (config_.base_model.empty())
        throw usage_error("tokenizer_source is base, and the file has no base_model", wishes_.where,
                          "name a model, or use union");
      return 0;
    }
    return model_named(wishes_.source, wishes_.where);
  }

  std::size_t model_named(const std::string& name, const std::string& where) const {
    std::vector<std::string> labels;
    for (const std::size_t i : models_) {
      if (inputs_.labels[i] == name) return i;
      labels.push_back(inputs_.labels[i]);
    }
    throw usage_error(cat(name, " is none of the models of this merge"), where,
                      cat("use ", join(labels, ", "), wishes_.where == where ? ", union or base" : ""));
  }

  // The row that a model has for a token.
  std::optional<std::int64_t> row(std::size_t model, const std::string& token) const {
    const auto id = vocabularies_[model].id(token);
    return id && *id < sizes_[model] ? id : std::nullopt;
  }

  void drop_late_tokens(std::size_t donor, std::vector<std::string>& warnings) {
    const auto late = std::find_if(out_.tokens.begin(), out_.tokens.end(),
                                   [&](const std::string& token) { return out_.ids.at(token) >= sizes_[donor]; });
    if (late == out_.tokens.end()) return;
    const std::string what = cat(inputs_.labels[donor], ": the token \"", *late, "\" has the id ", out_.ids.at(*late),
                                 " and its embedding ", sizes_[donor], " rows");
    const bool of_base = !config_.base_model.empty() && donor == 0;
    if (!of_base) throw input_error(what, wishes_.where, "take the vocabulary of another model, or union");
    warnings.push_back(cat(what, "; it keeps no row of its own"));
  }

  void unite() {
    for (const std::size_t i : models_)
      for (const std::string& token : vocabularies_[i].tokens)
        if (!out_.id(token) && row(i, token)) {
          const auto added = vocabularies_[i].added.find(token);
          append_token(out_, token, added == vocabularies_[i].added.end() ? Node() : added->second);
        }
  }

  Origin origin(std::size_t model, std::int64_t at) const { return {static_cast<std::uint32_t>(model), at}; }

  // Where a token's row comes from in models that lack it, or in all if it is forced.
  std::vector<Origin> default_row(const std::string& token, const TokenWish* wish,
                                  std::vector<std::string>& warnings) const {
    if (wish && wish->kind != TokenWish::Kind::kDefault) return wished_row(*wish);
    std::vector<Origin> having;
    for (const std::size_t i : models_)
      if (const auto at = row(i, token)) having.push_back(origin(i, *at));
    if (!config_.base_model.empty())
      if (const auto at = row(0, token)) return {origin(0, *at)};
    if (having.empty()) warnings.push_back(cat("no model has the token \"", token, "\": its row is zero"));
    return having;
  }

  std::vector<Origin> wished_row(const TokenWish& wish) const {
    if (wish.kind == TokenWish::Kind::kZero) return {};
    const std::size_t model = model_named(wish.model, wish.where);
    if (wish.token_id) {
      if (*wish.token_id < 0 || *wish.token_id >= sizes_[model])
        throw usage_error(cat("token_id ", *wish.token_id, " is no row of ", wish.model, ", which has ", sizes_[model]),
                          wish.where);
      return {origin(model, *wish.token_id)};
    }
    const std::string& token = wish.source_token.empty() ? wish.token : wish.source_token;
    const auto at = row(model, token);
    if (!at) throw usage_error(cat(wish.model, " has no token \"", token, "\""), wish.where);
    return {origin(model, *at)};
  }

  // Ids that no token has keep the row that the donor has there.
  void skip_to(std::int64_t id, const std::vector<std::shared_ptr<RowPlan>>& plans) const {
    while (static_cast<std::int64_t>(plans.front()->first.size()) - 1 < id) {
      const std::int64_t at = static_cast<std::int64_t>(plans.front()->first.size()) - 1;
      for (const auto& plan : plans)
        plan->add(at < sizes_[donor_] ? std::vector<Origin>{origin(donor_, at)} : std::vector<Origin>{});
    }
  }

  void plan_rows(std::vector<std::string>& warnings) {
    std::map<std::string, const TokenWish*> wishes;
    for (const TokenWish& wish : wishes_.tokens) wishes[wish.token] = &wish;
    const std::int64_t tokens = out_.tokens.empty() ? 0 : out_.ids.at(out_.tokens.back()) + 1;
    const std::int64_t multiple = std::max<std::int64_t>(1, wishes_.pad_to_multiple_of);
    std::vector<std::shared_ptr<RowPlan>> plans;
    for (std::size_t k = 0; k < models_.size(); ++k) {
      plans.push_back(std::make_shared<RowPlan>());
      plans.back()->padding = (tokens + multiple - 1) / multiple * multiple - tokens;
    }
    for (const std::string& token : out_.tokens) {
      skip_to(out_.ids.at(token), plans);
      const auto found = wishes.find(token);
      const TokenWish* wish = found == wishes.end() ? nullptr : found->second;
      std::optional<std::vector<Origin>> instead;
      for (std::size_t k = 0; k < models_.size(); ++k) {
        const auto at = row(models_[k], token);
        if (at && !(wish && wish->force)) {
          plans[k]->add({origin(models_[k], *at)});
          continue;
        }
        if (!instead) instead = default_row(token, wish, warnings);
        plans[k]->add(*instead);
      }
    }
    for (std::size_t k = 0; k < models_.size(); ++k) plans_[models_[k]] = plans[k];
  }

  void align(Match& match, MergedTokenizer& result) const {
    if (!may_span_vocabulary(match.name)) return;
    std::vector<Tensor> tables(inputs_.models.size());
    std::int64_t width = -1;
    for (const std::size_t i : models_) {
      // A base that takes no part lends its rows too.
      const Tensor* tensor = match.tensors[i] ? match.tensors[i] : inputs_.models[i]->find(match.name);
      if (!tensor) continue;
      if (tensor->shape.empty() || tensor->shape[0] != sizes_[i]) return;
      const std::int64_t own = tensor->elements() / tensor->shape[0];
      if (width >= 0 && own != width) return;  // the planner names both shapes
      width = own;
      tables[i] = *tensor;
    }
    for (const std::size_t i : models_) {
      if (!match.tensors[i]) continue;
      const RowPlan& plan = *plans_.at(i);
      for (const Origin& one : plan.origins)
        if (!tables[one.table].source)
          throw input_error(cat(inputs_.labels[one.table], " has no ", match.name, " to take rows from"),
                            inputs_.models[one.table]->path());
      result.tensors.push_back(std::make_unique<Tensor>(aligned_tensor(tables, i, plans_.at(i))));
      match.tensors[i] = result.tensors.back().get();
    }
  }

  const MergeConfig& config_;
  const TokenizerWish& wishes_;
  const Inputs& inputs_;
  std::vector<std::size_t> models_;  // those whose vocabularies count, the base first
  std::vector<Vocabulary> vocabularies_;
  std::vector<std::int64_t> sizes_;  // rows of their embeddings
  std::size_t donor_ = 0;
  Vocabulary out_;
  std::map<std::size_t, std::shared_ptr<RowPlan>> plans_;
};

constexpr std::string_view kTokenizerFiles[] = {"tokenizer.json",
                                                "tokenizer_config.json",
                                                "special_tokens_map.json",
                                                "added_tokens.json",
                                                "tokenizer.model",
                                                "vocab.json",
                                                "merges.txt",
                                                "vocab.txt",
                                                "spiece.model",
                                                "sentencepiece.bpe.model",
                                                "chat_template.jinja",
                                                "chat_template.json"};

// What says everything of a tokenizer with more tokens than it was saved with.
bool stays_true(std::string_view file) {
  return file == "tokenizer_config.json" || file == "special_tokens_map.json" || file.starts_with("chat_template");
}

}  // namespace

MergedTokenizer merge_tokenizers(const MergeConfig& config, const Inputs& inputs, std::span<std::vector<Match>> matches,
                                 std::vector<std::string>& warnings) {
  return Alignment(config, inputs).run(matches, warnings);
}

void write_tokenizer(const MergedTokenizer& tokenizer, const Checkpoint& donor, const std::string& folder) {
  for (const std::string_view name : kTokenizerFiles) {
    const std::string target = join_path(folder, std::string(name)),
                      source = join_path(donor.folder(), std::string(name));
    remove_all(target);
    if (exists(source) && (tokenizer.json.is_null() || stays_true(name))) copy_file(source, target);
  }
  if (!tokenizer.json.is_null())
    write_atomically(join_path(folder, "tokenizer.json"), to_json(tokenizer.json, 2) + "\n");
}

}  // namespace solera::merge
