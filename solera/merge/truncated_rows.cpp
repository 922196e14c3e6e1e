#include "solera/merge/truncated_rows.h"

#include <algorithm>

#include "solera/base/text.h"
#include "solera/merge/names.h"

namespace solera::merge {
namespace {

using checkpoint::Shape;
using checkpoint::Tensor;

bool differ_in_rows_alone(const Shape& a, const Shape& b) {
  return !a.empty() && a.size() == b.size() && a[0] != b[0] && std::equal(a.begin() + 1, a.end(), b.begin() + 1);
}

// The shortest of the tables; none where they are alike, or differ in more than their rows.
std::optional<std::int64_t> common_rows(const Match& match) {
  const Tensor* first = nullptr;
  std::optional<std::int64_t> least;
  for (const Tensor* tensor : match.tensors) {
    if (!tensor) continue;
    if (!first) first = tensor;
    if (tensor->shape == first->shape) continue;
    if (!differ_in_rows_alone(tensor->shape, first->shape)) return std::nullopt;
    least = std::min({tensor->shape[0], first->shape[0], least.value_or(first->shape[0])});
  }
  return least;
}

}  // namespace

TruncatedRows truncate_rows(const Inputs& inputs, std::span<std::vector<Match>> slices,
                            std::vector<std::string>& warnings) {
  TruncatedRows result;
  for (std::vector<Match>& matches : slices)
    for (Match& match : matches) {
      if (name_facts(match.name).role == Role::kBody) continue;
      const std::optional<std::int64_t> rows = common_rows(match);
      if (!rows) continue;
      result.rows = std::min(*rows, result.rows.value_or(*rows));
      for (std::size_t i = 0; i < match.tensors.size(); ++i) {
        if (!match.tensors[i] || match.tensors[i]->shape[0] == *rows) continue;
        warnings.push_back(cat(match.name, " of ", inputs.labels[i], ": ", *rows, " of its ",
                               match.tensors[i]->shape[0], " rows are used; they may be other tokens'"));
        auto cut = std::make_unique<Tensor>(*match.tensors[i]);
        cut->shape[0] = *rows;
        match.tensors[i] = result.tensors.emplace_back(std::move(cut)).get();
      }
    }
  return result;
}

}  // namespace solera::merge
