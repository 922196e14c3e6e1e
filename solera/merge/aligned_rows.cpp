#include "solera/merge/aligned_rows.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/weights/elements.h"

namespace solera::merge {
namespace {

using checkpoint::Tensor;

std::int64_t row_elements(const Tensor& table) {
  std::int64_t count = 1;
  for (std::size_t k = 1; k < table.shape.size(); ++k) count *= table.shape[k];
  return count;
}

class AlignedRows final : public checkpoint::Source {
 public:
  AlignedRows(std::vector<Tensor> tables, std::size_t own, std::shared_ptr<const RowPlan> plan)
      : tables_(std::move(tables)),
        own_(own),
        plan_(std::move(plan)),
        elements_(row_elements(tables_[own])),
        row_bytes_(checkpoint::byte_count(tables_[own].dtype, elements_)),
        path_(tables_[own].source->path()) {}

  const std::string& path() const override { return path_; }
  std::uint64_t size() const override { return row_bytes_ * static_cast<std::uint64_t>(plan_->rows()); }

  std::span<const std::byte> view(std::uint64_t offset, std::uint64_t length,
                                  std::vector<std::byte>& scratch) const override {
    if (offset > size() || length > size() - offset)
      throw internal_error(cat("bytes past the rows of ", tables_[own_].name), path_);
    if (scratch.size() < length) scratch.resize(length);
    std::vector<std::byte> row(row_bytes_);
    for (std::uint64_t done = 0; done < length;) {
      const std::uint64_t at = offset + done, inside = at % row_bytes_;
      const std::uint64_t count = std::min(length - done, row_bytes_ - inside);
      make_row(static_cast<std::int64_t>(at / row_bytes_), row.data());
      std::memcpy(scratch.data() + done, row.data() + inside, count);
      done += count;
    }
    return std::span(scratch).first(length);
  }

  void check() const override {
    for (const Tensor& table : tables_)
      if (table.source) table.source->check();
  }

 private:
  void make_row(std::int64_t row, std::byte* target) const {
    const auto whole = static_cast<std::int64_t>(plan_->first.size()) - 1;
    if (row >= whole) {
      std::call_once(padded_, [&] { make_padding(whole); });
      std::copy(padding_.begin(), padding_.end(), target);
      return;
    }
    const std::uint64_t begin = plan_->first[static_cast<std::size_t>(row)];
    const std::uint64_t end = plan_->first[static_cast<std::size_t>(row) + 1];
    std::vector<std::byte> scratch;
    if (end - begin == 1) {
      const RowPlan::Origin& origin = plan_->origins[begin];
      const Tensor& table = tables_[origin.table];
      if (table.dtype == tables_[own_].dtype) {
        const auto bytes = stored(origin, scratch);
        std::copy(bytes.begin(), bytes.end(), target);
        return;
      }
    }
    std::vector<double> sum(static_cast<std::size_t>(elements_));
    for (std::uint64_t k = begin; k < end; ++k) add_row(plan_->origins[k], sum);
    store_mean(sum, static_cast<double>(end - begin), target);
  }

  std::span<const std::byte> stored(const RowPlan::Origin& origin, std::vector<std::byte>& scratch) const {
    const Tensor& table = tables_[origin.table];
    const std::uint64_t bytes = checkpoint::byte_count(table.dtype, elements_);
    return table.source->view(table.offset + bytes * static_cast<std::uint64_t>(origin.row), bytes, scratch);
  }

  void add_row(const RowPlan::Origin& origin, std::vector<double>& sum) const {
    std::vector<std::byte> scratch;
    std::vector<double> values(sum.size());
    weights::load(tables_[origin.table].dtype, stored(origin, scratch).data(), elements_, values.data());
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = sum[i] + values[i];
  }

  void store_mean(std::vector<double>& sum, double count, std::byte* target) const {
    if (count > 1)
      for (double& value : sum) value /= count;
    weights::store(tables_[own_].dtype, sum.data(), elements_, target);
  }

  void make_padding(std::int64_t whole) const {
    std::vector<double> sum(static_cast<std::size_t>(elements_)), values(sum.size());
    std::vector<std::byte> row(row_bytes_);
    for (std::int64_t r = 0; r < whole; ++r) {
      make_row(r, row.data());
      weights::load(tables_[own_].dtype, row.data(), elements_, values.data());
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = sum[i] + values[i];
    }
    padding_.resize(row_bytes_);
    store_mean(sum, static_cast<double>(whole), padding_.data());
  }

  std::vector<Tensor> tables_;
  std::size_t own_;
  std::shared_ptr<const RowPlan> plan_;
  std::int64_t elements_;
  std::uint64_t row_bytes_;
  std::string path_;
  mutable std::once_flag padded_;
  mutable std::vector<std::byte> padding_;
};

}  // namespace

void RowPlan::add(std::vector<Origin> row) {
  origins.insert(origins.end(), row.begin(), row.end());
  first.push_back(origins.size());
}

Tensor aligned_tensor(std::vector<Tensor> tables, std::size_t own, std::shared_ptr<const RowPlan> plan) {
  Tensor tensor = tables[own];
  tensor.shape[0] = plan->rows();
  tensor.storage.clear();
  tensor.source = std::make_shared<AlignedRows>(std::move(tables), own, std::move(plan));
  tensor.offset = 0;
  return tensor;
}

}  // namespace solera::merge
