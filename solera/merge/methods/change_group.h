// The changes of one group of entries, all of a model's or one tensor's, as what is asked of them: order statistics of
// their magnitudes or of scores made of them, and sums. Each question is a pass over what is stored.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "solera/weights/pass.h"
#include "solera/weights/select.h"

namespace solera::merge {

using Rows = std::span<double* const>;  // one a task

class ChangeGroup {
 public:
  using Numbers = std::vector<double>;
  using Write = std::function<void(Rows rows, std::int64_t n)>;
  using Feed = std::function<void(Rows rows, std::int64_t n, Numbers& numbers)>;
  using Join = std::function<void(Numbers& left, const Numbers& right)>;

  virtual ~ChangeGroup() = default;
  virtual std::int64_t entries() const = 0;
  virtual std::size_t tasks() const = 0;
  virtual std::string name(std::size_t task) const = 0;  // in messages
  virtual std::string where() const { return ""; }
  // The magnitudes at the requests' ranks (1 is the largest; those after all entries ask for `least`); stream i is
  // task i.
  virtual Numbers magnitudes(std::span<const weights::RankRequest> requests) = 0;
  // The same of scores that `write` puts in the place of changes.
  virtual Numbers scores(const Write& write, std::span<const weights::RankRequest> requests) = 0;
  // Numbers that begin as `start`, fed stretch by stretch and joined in a fixed tree.
  virtual Numbers fold(const Numbers& start, const Feed& feed, const Join& join) = 0;
};

class ChangesInMemory final : public ChangeGroup {
 public:
  ChangesInMemory(std::span<const float> base, std::span<const std::span<const float>> tuned);
  std::int64_t entries() const override { return n_; }
  std::size_t tasks() const override { return rows_.size(); }
  std::string name(std::size_t task) const override;
  Numbers magnitudes(std::span<const weights::RankRequest> requests) override;
  Numbers scores(const Write& write, std::span<const weights::RankRequest> requests) override;
  Numbers fold(const Numbers& start, const Feed& feed, const Join& join) override;
  std::vector<double*> rows();

 private:
  std::int64_t n_;
  std::vector<std::vector<double>> rows_;
};

// Operand 0 of each segment is the base.
class StoredChanges final : public ChangeGroup {
 public:
  StoredChanges(const weights::Engine& engine, std::vector<weights::Segment> segments, std::string where = "");
  std::int64_t entries() const override { return n_; }
  std::size_t tasks() const override { return segments_.front().operands.size() - 1; }
  std::string name(std::size_t task) const override { return segments_.front().operands[task + 1].label; }
  std::string where() const override { return where_; }
  Numbers magnitudes(std::span<const weights::RankRequest> requests) override;
  Numbers scores(const Write& write, std::span<const weights::RankRequest> requests) override;
  Numbers fold(const Numbers& start, const Feed& feed, const Join& join) override;

 private:
  const weights::Engine& engine_;
  std::vector<weights::Segment> segments_;
  std::string where_;
  std::int64_t n_ = 0;
};

}  // namespace solera::merge
