#include "solera/checkpoint/strided.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "solera/base/error.h"

namespace solera::checkpoint {
namespace {

constexpr std::uint64_t kWindow = 16u << 20;  // the most that is read at once where nothing is mapped

template <int kWidth>
void copy_row(const std::byte* from, std::int64_t step, std::int64_t count, std::byte* to) {
  for (std::int64_t i = 0; i < count; ++i) std::memcpy(to + i * kWidth, from + i * step, kWidth);
}

class Strided final : public Source {
 public:
  Strided(std::shared_ptr<const Source> source, std::uint64_t offset, int width, Shape shape, Shape strides)
      : source_(std::move(source)), offset_(offset), width_(width) {
    count_ = element_count(shape);
    if (count_ == 0) return;
    // Neighbouring dimensions that one step walks are one: rows get as long as they can be.
    for (std::size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] == 1) continue;
      if (!shape_.empty() && strides_.back() == strides[d] * shape[d]) {
        shape_.back() *= shape[d];
        strides_.back() = strides[d];
      } else {
        shape_.push_back(shape[d]);
        strides_.push_back(strides[d]);
      }
    }
    if (shape_.empty()) {
      shape_.push_back(1);
      strides_.push_back(1);
    }
    std::vector<std::byte> probe;
    mapped_ = source_->view(offset_, static_cast<std::uint64_t>(width_), probe).data() != probe.data();
  }

  const std::string& path() const override { return source_->path(); }
  std::uint64_t size() const override {
    return static_cast<std::uint64_t>(count_) * static_cast<std::uint64_t>(width_);
  }
  void check() const override { source_->check(); }

  std::span<const std::byte> view(std::uint64_t offset, std::uint64_t length,
                                  std::vector<std::byte>& scratch) const override {
    if (offset > size() || length > size() - offset) throw io_error("a read past the end of a tensor", path());
    if (length == 0) return {};
    const auto width = static_cast<std::uint64_t>(width_);
    const std::uint64_t first = offset / width, last = (offset + length - 1) / width;
    const std::size_t whole = static_cast<std::size_t>((last - first + 1) * width);
    if (scratch.size() < whole) scratch.resize(whole);
    std::vector<std::byte> window;
    gather(static_cast<std::int64_t>(first), static_cast<std::int64_t>(last - first + 1), scratch.data(), window);
    return std::span<const std::byte>(scratch).subspan(static_cast<std::size_t>(offset - first * width),
                                                       static_cast<std::size_t>(length));
  }

 private:
  // Calls row(element of storage, elements) for each run along the last dimension.
  template <class F>
  void for_rows(std::int64_t first, std::int64_t count, F&& row) const {
    const std::size_t last = shape_.size() - 1;
    std::vector<std::int64_t> index(shape_.size());
    std::int64_t rest = first, place = 0;
    for (std::size_t d = shape_.size(); d-- > 0; rest /= shape_[d]) {
      index[d] = rest % shape_[d];
      place += index[d] * strides_[d];
    }
    while (count > 0) {
      const std::int64_t n = std::min(count, shape_[last] - index[last]);
      row(place, n);
      if ((count -= n) == 0) break;
      place -= index[last] * strides_[last];
      index[last] = 0;
      for (std::size_t d = last; d-- > 0;) {
        place += strides_[d];
        if (++index[d] < shape_[d]) break;
        place -= index[d] * strides_[d];
        index[d] = 0;
      }
    }
  }

  void gather(std::int64_t first, std::int64_t count, std::byte* out, std::vector<std::byte>& window) const {
    std::int64_t low = INT64_MAX, high = 0;
    for_rows(first, count, [&](std::int64_t place, std::int64_t n) {
      low = std::min(low, place);
      high = std::max(high, place + (n - 1) * strides_.back() + 1);
    });
    const auto width = static_cast<std::uint64_t>(width_);
    const std::uint64_t bytes = static_cast<std::uint64_t>(high - low) * width;
    if (!mapped_ && bytes > kWindow && count > 1) {
      gather(first, count / 2, out, window);
      gather(first + count / 2, count - count / 2, out + static_cast<std::uint64_t>(count / 2) * width, window);
      return;
    }
    const std::byte* from = source_->view(offset_ + static_cast<std::uint64_t>(low) * width, bytes, window).data();
    const std::int64_t step = strides_.back() * width_;
    for_rows(first, count, [&](std::int64_t place, std::int64_t n) {
      const std::byte* row = from + (place - low) * width_;
      if (step == width_) {
        std::memcpy(out, row, static_cast<std::size_t>(n * width_));
      } else {
        switch (width_) {
          case 1:
            copy_row<1>(row, step, n, out);
            break;
          case 2:
            copy_row<2>(row, step, n, out);
            break;
          case 4:
            copy_row<4>(row, step, n, out);
            break;
          default:
            copy_row<8>(row, step, n, out);
            break;
        }
      }
      out += n * width_;
    });
  }

  std::shared_ptr<const Source> source_;
  std::uint64_t offset_;
  std::int64_t width_, count_ = 0;
  Shape shape_, strides_;  // at least one dimension
  bool mapped_ = false;
};

}  // namespace

bool is_contiguous(std::span<const std::int64_t> shape, std::span<const std::int64_t> strides) {
  std::int64_t expected = 1;
  for (const std::int64_t n : shape)
    if (n == 0) return true;
  for (std::size_t d = shape.size(); d-- > 0;) {
    if (shape[d] != 1 && strides[d] != expected) return false;
    expected *= shape[d];
  }
  return true;
}

Shape column_strides(std::span<const std::int64_t> shape) {
  Shape strides(shape.size());
  std::int64_t step = 1;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    strides[d] = step;
    step *= shape[d];
  }
  return strides;
}

std::int64_t reach(std::span<const std::int64_t> shape, std::span<const std::int64_t> strides,
                   const std::string& where) {
  if (shape.size() != strides.size())
    throw input_error(cat("a tensor has ", shape.size(), " dimensions but ", strides.size(), " strides"), where);
  bool empty = false;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] < 0) throw input_error(cat("dimension ", d, " is ", shape[d], ", less than 0"), where);
    if (strides[d] < 0)
      throw input_error(cat("the stride of dimension ", d, " is ", strides[d], ", less than 0"), where);
    empty = empty || shape[d] == 0;
  }
  if (empty) return 0;
  std::int64_t result = 1;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    std::int64_t span = 0;
    if (__builtin_mul_overflow(shape[d] - 1, strides[d], &span) || __builtin_add_overflow(result, span, &result))
      throw input_error("shape and strides reach further than 63 bits", where);
  }
  return result;
}

std::shared_ptr<const Source> strided_source(std::shared_ptr<const Source> source, std::uint64_t offset, int width,
                                             Shape shape, Shape strides) {
  return std::make_shared<Strided>(std::move(source), offset, width, std::move(shape), std::move(strides));
}

}  // namespace solera::checkpoint
