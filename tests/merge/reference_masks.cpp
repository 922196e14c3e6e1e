#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "tests/merge/reference_parts.h"

namespace solera::merge::reference {
namespace {

// --- masks of changes -------------------------------------------------------------------------------------------

// The places of all entries, largest magnitude first, equal ones in order.
std::vector<std::size_t> ranking(const Vector& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return std::abs(values[a]) > std::abs(values[b]); });
  return order;
}

// Zeroes the entries outside ranks [first, last), and marks those whose place float32 does not tell.
void keep_ranks(Vector& values, std::int64_t first, std::int64_t last, std::vector<bool>& undecided) {
  const auto n = static_cast<std::int64_t>(values.size());
  const std::vector<std::size_t> order = ranking(values);
  const Vector all = values;
  for (const std::int64_t cut : {first, last}) {
    if (cut <= 0 || cut >= n || first >= last) continue;
    const double above = std::abs(all[order[static_cast<std::size_t>(cut - 1)]]);
    const double below = std::abs(all[order[static_cast<std::size_t>(cut)]]);
    if (above - below > kMargin * above) continue;
    std::vector<std::size_t> near;
    bool equal = true;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (std::abs(std::abs(all[i]) - above) > 2 * kMargin * above) continue;
      near.push_back(i);
      equal = equal && std::abs(all[i]) == above;
    }
    for (const std::size_t i : near) undecided[i] = undecided[i] || !equal;
  }
  for (std::int64_t r = 0; r < n; ++r)
    if (r < first || r >= last) values[order[static_cast<std::size_t>(r)]] = 0;
}

std::pair<std::int64_t, std::int64_t> top_band(const Values&, const Values& model, std::size_t n) {
  const double density = model.at("density");
  if (density >= 1) return {0, static_cast<std::int64_t>(n)};
  return {0, std::max<std::int64_t>(1, floor_count(density, n))};
}

// `keep` of them after the `remove` largest, of which fewer go where not so many are left.
std::pair<std::int64_t, std::int64_t> middle_band(const Values& global, const Values& model, std::size_t n) {
  const auto size = static_cast<std::int64_t>(n);
  if (model.at("keep") >= 1) return {0, size};
  const std::int64_t keep = floor_count(model.at("keep"), n), remove = floor_count(model.at("remove"), n);
  if (keep == 0) return {0, global.at("small_tensor") == 0 ? size : 0};
  if (global.at("remove_first") == 0) return {std::min(remove, keep), keep};
  const std::int64_t first = std::min(remove, size - keep);
  return {first, first + keep};
}

using Band = std::pair<std::int64_t, std::int64_t> (*)(const Values& global, const Values& model, std::size_t n);

// What brings the kept changes to the L1 norm of all.
double l1_ratio(const Vector& all, const Vector& kept) {
  double before = 0, after = 0;
  for (std::size_t i = 0; i < all.size(); ++i) before += std::abs(all[i]), after += std::abs(kept[i]);
  return before < 1e-7 || after < 1e-7 ? 1 : before / after;
}

struct Masked {
  std::vector<Vector> changes;
  std::vector<bool> undecided;
};

// Changes of the entries that a band keeps in each of the groups of equal length.
Masked mask_groups(const Tensor& tensor, Band band, std::size_t length) {
  Masked masked{changes_of(tensor), std::vector<bool>(tensor.base.size())};
  for (std::size_t m = 0; m < masked.changes.size(); ++m)
    for (std::size_t first = 0; first < tensor.base.size(); first += length) {
      const auto begin = masked.changes[m].begin() + static_cast<std::ptrdiff_t>(first);
      Vector group(begin, begin + static_cast<std::ptrdiff_t>(length));
      std::vector<bool> undecided(length);
      const auto [from, to] = band(tensor.global, tensor.each[m], length);
      const Vector all = group;
      keep_ranks(group, from, to, undecided);
      for (const char* share : {"density", "keep", "remove"})
        if (const auto found = tensor.each[m].find(share); found != tensor.each[m].end())
          if (is_edge(found->second, length)) undecided.assign(length, true);
      if (tensor.global.at("rescale") != 0) {
        group = scaled(l1_ratio(all, group), group);
        if (std::find(undecided.begin(), undecided.end(), true) != undecided.end()) undecided.assign(length, true);
      }
      std::copy(group.begin(), group.end(), begin);
      for (std::size_t i = 0; i < length; ++i)
        if (undecided[i]) masked.undecided[first + i] = true;
    }
  return masked;
}

// granularity: 0 tensor, 1 row, 2 model.
std::vector<Masked> mask(const std::vector<Tensor>& tensors, Band band) {
  std::vector<Masked> result;
  if (tensors[0].global.at("granularity") != 2) {
    for (const Tensor& tensor : tensors)
      result.push_back(
          mask_groups(tensor, band, tensor.global.at("granularity") == 1 ? row_length(tensor) : tensor.base.size()));
    return result;
  }
  Tensor whole = tensors[0];
  for (std::size_t t = 1; t < tensors.size(); ++t) {
    whole.base.insert(whole.base.end(), tensors[t].base.begin(), tensors[t].base.end());
    for (std::size_t m = 0; m < whole.models.size(); ++m)
      whole.models[m].insert(whole.models[m].end(), tensors[t].models[m].begin(), tensors[t].models[m].end());
  }
  const Masked all = mask_groups(whole, band, whole.base.size());
  std::ptrdiff_t first = 0;
  for (const Tensor& tensor : tensors) {
    const auto n = static_cast<std::ptrdiff_t>(tensor.base.size());
    Masked one;
    for (const Vector& changes : all.changes)
      one.changes.emplace_back(changes.begin() + first, changes.begin() + first + n);
    one.undecided.assign(all.undecided.begin() + first, all.undecided.begin() + first + n);
    result.push_back(std::move(one));
    first += n;
  }
  return result;
}

Answer sum_masked(const Tensor& tensor, Masked masked, double factor) {
  Vector sum(tensor.base.size());
  for (std::size_t m = 0; m < masked.changes.size(); ++m)
    sum = added(1, sum, tensor.each[m].at("weight"), masked.changes[m]);
  const double divisor = tensor.global.at("normalize") != 0 ? weight_sum(tensor) : 1;
  return {added(1, tensor.base, factor / divisor, sum), std::move(masked.undecided)};
}

// The sum of votes of element i, and whether its sign is beyond float32's doubt.
double vote(const Tensor& tensor, const Masked& masked, std::size_t i, bool weighted, bool& doubtful) {
  double sum = 0, size = 0;
  for (std::size_t m = 0; m < masked.changes.size(); ++m) {
    const double one = masked.changes[m][i] * (weighted ? tensor.each[m].at("weight") : 1);
    sum += one;
    size += std::abs(one);
  }
  doubtful = size > 0 && std::abs(sum) <= kMargin * size && (weighted || sum != 0);
  return sum;
}

Answer elect(const Tensor& tensor, Masked masked, double lambda, bool weighted, bool zero_is_positive) {
  Answer answer = decided(tensor.base);
  for (std::size_t i = 0; i < tensor.base.size(); ++i) {
    bool doubtful = false;
    const double votes = vote(tensor, masked, i, weighted, doubtful);
    const bool positive = votes > 0 || (votes == 0 && zero_is_positive);
    double sum = 0, divisor = 0;
    for (std::size_t m = 0; m < masked.changes.size(); ++m) {
      const double change = masked.changes[m][i], w = tensor.each[m].at("weight");
      const double voted = weighted ? w * change : change;
      if (voted == 0 || (voted > 0) != positive) continue;
      sum += w * change;
      divisor += w;
    }
    if (tensor.global.at("normalize") == 0 || std::abs(divisor) < 1e-8) divisor = 1;
    answer.values[i] += lambda * sum / divisor;
    answer.undecided[i] = doubtful || masked.undecided[i];
  }
  return answer;
}

std::vector<Answer> task_arithmetic(const std::vector<Tensor>& tensors) {
  std::vector<Answer> answers;
  for (const Tensor& tensor : tensors)
    answers.push_back(
        sum_masked(tensor, {changes_of(tensor), std::vector<bool>(tensor.base.size())}, tensor.global.at("lambda")));
  return answers;
}

// Positive minus negative votes of a group, and how many of them are in doubt.
struct Balance {
  std::int64_t votes = 0, doubts = 0;
  bool doubtful() const { return doubts > 0 && std::abs(votes) <= 2 * doubts; }
};

std::vector<Answer> elected(const std::vector<Tensor>& tensors, Band band, const std::string& factor) {
  std::vector<Masked> masked = mask(tensors, band);
  const bool weighted = tensors[0].global.at("vote") == 1, majority = tensors[0].global.at("zero_vote") == 0;
  const double granularity = tensors[0].global.at("granularity");
  const auto group = [&](std::size_t t, std::size_t i) {
    return std::pair(granularity == 2 ? 0 : t, granularity == 1 ? i / row_length(tensors[t]) : 0);
  };
  std::map<std::pair<std::size_t, std::size_t>, Balance> balances;
  for (std::size_t t = 0; t < tensors.size(); ++t)
    for (std::size_t i = 0; i < tensors[t].base.size(); ++i) {
      bool doubtful = false;
      const double sum = vote(tensors[t], masked[t], i, weighted, doubtful);
      balances[group(t, i)].votes += (sum > 0) - (sum < 0);
      balances[group(t, i)].doubts += doubtful || masked[t].undecided[i];
    }
  std::vector<Answer> answers;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const double lambda = tensors[t].global.at(factor);
    Answer plus = elect(tensors[t], masked[t], lambda, weighted, true);
    if (majority) {
      const Answer minus = elect(tensors[t], masked[t], lambda, weighted, false);
      for (std::size_t i = 0; i < plus.values.size(); ++i) {
        const Balance& balance = balances[group(t, i)];
        if (balance.doubtful() && plus.values[i] != minus.values[i]) plus.undecided[i] = true;
        if (balance.votes < 0) plus.values[i] = minus.values[i];
      }
    }
    answers.push_back(std::move(plus));
  }
  return answers;
}

std::vector<Answer> ties(const std::vector<Tensor>& tensors) { return elected(tensors, top_band, "lambda"); }

std::vector<Answer> breadcrumbs_ties(const std::vector<Tensor>& tensors) {
  return elected(tensors, middle_band, "alpha");
}

std::vector<Answer> breadcrumbs(const std::vector<Tensor>& tensors) {
  std::vector<Masked> masked = mask(tensors, middle_band);
  std::vector<Answer> answers;
  for (std::size_t t = 0; t < tensors.size(); ++t)
    answers.push_back(sum_masked(tensors[t], std::move(masked[t]), tensors[t].global.at("alpha")));
  return answers;
}

// The variance of each entry over the models; and by what share float32, which rounds the changes, may be off.
struct Variances {
  Vector values, doubt;
  std::size_t differing = 0;
};

Variances variances_of(const std::vector<Vector>& changes) {
  Variances result{Vector(changes[0].size()), Vector(changes[0].size()), 0};
  for (std::size_t i = 0; i < changes[0].size(); ++i) {
    double mean = 0, low = changes[0][i], high = low;
    for (const Vector& change : changes) {
      mean += change[i] / static_cast<double>(changes.size());
      low = std::min(low, change[i]);
      high = std::max(high, change[i]);
    }
    if (low == high) continue;
    ++result.differing;
    for (const Vector& change : changes)
      result.values[i] += (change[i] - mean) * (change[i] - mean) / static_cast<double>(changes.size());
    result.doubt[i] = kMargin * (1 + std::max(std::abs(low), std::abs(high)) / (high - low));
  }
  return result;
}

// Could float32 choose other entries than the `keep` with the largest variances, or count others as differing?
bool is_doubtful(const Variances& variances, std::int64_t keep) {
  for (const double doubt : variances.doubt)
    if (doubt > 0.1) return true;
  const std::vector<std::size_t> order = ranking(variances.values);
  const auto at = static_cast<std::size_t>(keep);
  if (at == 0 || at >= order.size()) return false;
  const double least = variances.values[order[at - 1]], next = variances.values[order[at]];
  for (std::size_t r = 0; r < order.size(); ++r) {
    const double value = variances.values[order[r]], distance = r < at ? value - next : least - value;
    if (value > 0 && distance <= 2 * variances.doubt[order[r]] * std::max(value, least)) return true;
  }
  return false;
}

Answer sce(const Tensor& tensor) {
  Tensor weighed = tensor;
  Masked masked{changes_of(tensor), std::vector<bool>(tensor.base.size())};
  const std::size_t n = tensor.base.size(), models = masked.changes.size();
  if (const double share = tensor.global.at("select_topk"); share < 1) {
    Variances variances = variances_of(masked.changes);
    const std::int64_t keep = floor_count(share, variances.differing);
    // Another choice changes the shares of the models, and so every element.
    if (is_doubtful(variances, keep) || is_edge(share, variances.differing)) masked.undecided.assign(n, true);
    std::vector<bool> close(n);
    keep_ranks(variances.values, 0, keep, close);
    for (std::size_t i = 0; i < n; ++i)
      if (variances.values[i] == 0)
        for (Vector& change : masked.changes) change[i] = 0;
  }
  double total = 0;
  for (const Vector& change : masked.changes) total += dot(change, change) / static_cast<double>(n);
  for (std::size_t m = 0; m < models; ++m)
    weighed.each[m]["weight"] = total < 1e-6
                                    ? 1 / static_cast<double>(models)
                                    : dot(masked.changes[m], masked.changes[m]) / static_cast<double>(n) / total;
  Answer answer = decided(tensor.base);
  for (std::size_t i = 0; i < n; ++i) {
    bool doubtful = false;
    const bool positive = vote(weighed, masked, i, false, doubtful) >= 0;
    double sum = 0, divisor = 0;
    for (std::size_t m = 0; m < models; ++m) {
      const double change = masked.changes[m][i], w = weighed.each[m].at("weight");
      if (change == 0 || (change > 0) != positive) continue;
      sum += w * change;
      divisor += w;
    }
    answer.values[i] += sum / std::max(divisor, 1e-6);
    answer.undecided[i] = doubtful || masked.undecided[i];
  }
  return answer;
}

Answer ram(const Tensor& tensor, const std::function<double(std::size_t model)>& gain) {
  const std::vector<Vector> changes = changes_of(tensor);
  const double epsilon = tensor.global.at("epsilon");
  Answer answer = decided(tensor.base);
  for (std::size_t i = 0; i < tensor.base.size(); ++i) {
    double sum = 0;
    std::size_t active = 0, last = 0;
    for (std::size_t m = 0; m < changes.size(); ++m) {
      if (std::abs(changes[m][i]) <= epsilon) continue;
      sum += changes[m][i];
      ++active;
      last = m;
    }
    if (active > 0) answer.values[i] += active == 1 ? gain(last) * sum : sum / static_cast<double>(active);
  }
  return answer;
}

Answer plain_ram(const Tensor& tensor) {
  return ram(tensor, [](std::size_t) { return 1.0; });
}

Answer ramplus_tl(const Tensor& tensor) {
  const std::vector<Vector> changes = changes_of(tensor);
  const double epsilon = tensor.global.at("epsilon");
  Vector alone(changes.size()), shared(changes.size());
  for (std::size_t i = 0; i < tensor.base.size(); ++i) {
    const auto active =
        std::count_if(changes.begin(), changes.end(), [&](const Vector& c) { return std::abs(c[i]) > epsilon; });
    for (std::size_t m = 0; m < changes.size(); ++m)
      if (std::abs(changes[m][i]) > epsilon) (active == 1 ? alone : shared)[m] += 1;
  }
  return ram(tensor, [&](std::size_t m) {
    const double ratio = shared[m] / std::max(alone[m], epsilon);
    return 1 + tensor.global.at("r") * std::clamp(ratio, 0.0, tensor.global.at("alpha"));
  });
}

Vector softmax(const Vector& row) {
  const double most = *std::max_element(row.begin(), row.end());
  Vector result;
  double sum = 0;
  for (const double v : row) sum += std::exp(v - most);
  for (const double v : row) result.push_back(std::exp(v - most) / sum + 1e-8);
  return result;
}

Answer arcee_fusion(const Tensor& tensor) {
  const Vector &a = tensor.base, &b = tensor.models[0];
  const std::size_t length = row_length(tensor);
  Vector scores(a.size());
  for (std::size_t first = 0; first < a.size(); first += length) {
    const auto row = [&](const Vector& v) {
      return Vector(v.begin() + static_cast<std::ptrdiff_t>(first),
                    v.begin() + static_cast<std::ptrdiff_t>(first + length));
    };
    const Vector p = softmax(row(b)), q = softmax(row(a));
    double divergence = 0;
    for (std::size_t i = 0; i < length; ++i) divergence += p[i] * std::log(p[i] / q[i]);
    for (std::size_t i = 0; i < length; ++i)
      scores[first + i] = length < 2 ? 0 : std::abs(b[first + i] - a[first + i]) * std::max(divergence, 0.0);
  }
  Vector sorted = scores;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t last = a.size() - 1;
  const double cut = sorted[last / 2] + 1.5 * (sorted[3 * last / 4] - sorted[last / 4]);
  Answer answer = decided(a);
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (scores[i] >= cut) answer.values[i] = b[i];
    answer.undecided[i] = cut > 0 && std::abs(scores[i] - cut) <= kMargin * cut;
  }
  return answer;
}

}  // namespace

std::map<std::string, OfAll> masking_methods() {
  return {{"task_arithmetic", task_arithmetic},
          {"ties", ties},
          {"breadcrumbs", breadcrumbs},
          {"breadcrumbs_ties", breadcrumbs_ties},
          {"sce", one_by_one(sce)},
          {"ram", one_by_one(plain_ram)},
          {"ramplus_tl", one_by_one(ramplus_tl)},
          {"arcee_fusion", one_by_one(arcee_fusion)},
          {"pcb", pcb}};
}

}  // namespace solera::merge::reference
