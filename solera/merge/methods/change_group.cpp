#include "solera/merge/methods/change_group.h"

#include <algorithm>
#include <cmath>

#include "solera/base/error.h"

namespace solera::merge {
namespace {

using Numbers = ChangeGroup::Numbers;
using weights::Reading;

std::vector<double*> pointers(std::vector<std::vector<double>>& rows) {
  std::vector<double*> result;
  for (auto& row : rows) result.push_back(row.data());
  return result;
}

Numbers at_ranks(const std::vector<std::vector<double>>& rows, std::span<const weights::RankRequest> requests) {
  Numbers result;
  for (const weights::RankRequest& request : requests) {
    std::vector<double> sorted = rows[request.stream];
    for (double& v : sorted) v = std::isnan(v) ? 0.0 : std::abs(v);
    const auto nth = sorted.begin() + (request.rank - 1);
    std::nth_element(sorted.begin(), nth, sorted.end(), std::greater<>());
    result.push_back(*nth);
  }
  return result;
}

Numbers values(const std::vector<weights::Cut<double>>& cuts) {
  Numbers result;
  for (const auto& cut : cuts) result.push_back(cut.value);
  return result;
}

// A block's numbers; those of a block that nothing was fed to are nobody's.
struct State {
  Numbers numbers;
  const ChangeGroup::Join* join = nullptr;
  void merge(const State& right) {
    if (right.join) (*right.join)(numbers, right.numbers);
  }
};

}  // namespace

ChangesInMemory::ChangesInMemory(std::span<const float> base, std::span<const std::span<const float>> tuned)
    : n_(std::ssize(base)) {
  for (const auto& input : tuned) {
    std::vector<double>& row = rows_.emplace_back(base.size());
    std::transform(input.begin(), input.end(), base.begin(), row.begin(),
                   [](float x, float origin) { return static_cast<double>(x) - static_cast<double>(origin); });
  }
}

std::string ChangesInMemory::name(std::size_t task) const { return cat("model ", task); }

std::vector<double*> ChangesInMemory::rows() { return pointers(rows_); }

Numbers ChangesInMemory::magnitudes(std::span<const weights::RankRequest> requests) {
  return at_ranks(rows_, requests);
}

Numbers ChangesInMemory::scores(const Write& write, std::span<const weights::RankRequest> requests) {
  auto scored = rows_;
  write(pointers(scored), n_);
  return at_ranks(scored, requests);
}

Numbers ChangesInMemory::fold(const Numbers& start, const Feed& feed, const Join&) {
  Numbers numbers = start;
  feed(pointers(rows_), n_, numbers);
  return numbers;
}

StoredChanges::StoredChanges(const weights::Engine& engine, std::vector<weights::Segment> segments, std::string where)
    : engine_(engine), segments_(std::move(segments)), where_(std::move(where)) {
  for (const weights::Segment& segment : segments_) n_ += segment.operands.front().tensor->elements();
}

Numbers StoredChanges::magnitudes(std::span<const weights::RankRequest> requests) {
  return values(weights::select_cuts<double>(engine_, segments_, Reading::kChanges, requests));
}

Numbers StoredChanges::scores(const Write& write, std::span<const weights::RankRequest> requests) {
  const std::size_t streams = tasks();
  const weights::Score<double> score{streams, [&](std::size_t, std::int64_t, std::int64_t n, Rows rows) {
                                       write(rows.subspan(1), n);
                                       for (std::size_t t = 0; t < streams; ++t) std::copy_n(rows[t + 1], n, rows[t]);
                                     }};
  return values(weights::select_score_cuts<double>(engine_, segments_, Reading::kChanges, score, requests));
}

Numbers StoredChanges::fold(const Numbers& start, const Feed& feed, const Join& join) {
  Numbers all = start;
  for (const weights::Segment& segment : segments_) {
    const auto add = [&](const weights::Tile<double>& tile, State& state) {
      if (!state.join) state = {start, &join};
      feed(tile.inputs.subspan(1), tile.count, state.numbers);
    };
    const auto part = weights::reduce<double, State>(engine_, segment.operands, add, Reading::kChanges);
    if (part.join) join(all, part.numbers);
  }
  return all;
}

}  // namespace solera::merge
