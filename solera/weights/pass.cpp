#include "solera/weights/pass.h"

#include <algorithm>
#include <cmath>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/weights/vector.h"

namespace solera::weights {

namespace {

// Rows of numbers and, for sources that are read and not mapped, bytes. One a thread, kept between passes.
template <class T>
struct Scratch {
  std::vector<T> numbers;
  std::vector<std::vector<std::byte>> bytes;
  std::vector<std::span<const std::byte>> views;
  std::vector<T*> rows;
  bool in_use = false;
};

// The thread's own scratch, or a fresh one for a pass inside a pass.
template <class T>
class ScratchLease {
 public:
  ScratchLease(std::size_t operands, std::size_t rows, std::int64_t row) : scratch_(own_.in_use ? fresh_ : own_) {
    scratch_.in_use = true;
    scratch_.numbers.resize(rows * static_cast<std::size_t>(row));
    scratch_.bytes.resize(std::max(scratch_.bytes.size(), operands));
    scratch_.views.resize(operands);
    scratch_.rows.resize(rows);
    for (std::size_t k = 0; k < rows; ++k)
      scratch_.rows[k] = scratch_.numbers.data() + k * static_cast<std::size_t>(row);
  }
  ~ScratchLease() { scratch_.in_use = false; }
  ScratchLease(const ScratchLease&) = delete;
  ScratchLease& operator=(const ScratchLease&) = delete;
  Scratch<T>* operator->() { return &scratch_; }
  Scratch<T>& operator*() { return scratch_; }

 private:
  static thread_local Scratch<T> own_;
  Scratch<T> fresh_;
  Scratch<T>& scratch_;
};
template <class T>
thread_local Scratch<T> ScratchLease<T>::own_;

std::uint64_t bytes_of(const Operand& operand, std::int64_t elements) {
  return checkpoint::byte_count(operand.tensor->dtype, elements);
}

bool loses_bits(DType from, DType to) {
  return checkpoint::is_float(from) && checkpoint::is_float(to) && checkpoint::promote(from, to) != to;
}

template <class T>
[[noreturn]] void refuse_nonfinite(const Operand& operand, std::int64_t first, std::span<const T> values) {
  const auto bad = std::find_if(values.begin(), values.end(), [](T v) { return !std::isfinite(v); });
  const std::int64_t index = first + (bad - values.begin());
  throw input_error(cat(operand.label, ": ", operand.tensor->name, " holds ", std::isnan(*bad) ? "NaN" : "an infinity",
                        " at element ", index),
                    operand.tensor->source->path(), "use --allow-nonfinite to let it through");
}

template <class T>
void convert(const Engine& engine, const Operand& operand, std::int64_t first, std::int64_t count,
             const std::byte* bytes, T* target, const T* base) {
  const DType dtype = operand.tensor->dtype;
  const bool rounds = operand.cast && loses_bits(dtype, *operand.cast);
  const bool finite =
      base && !rounds ? load_change(dtype, bytes, base, count, target) : load(dtype, bytes, count, target);
  if (!finite && !engine.allow_nonfinite) {
    load(dtype, bytes, count, target);
    refuse_nonfinite(operand, first, std::span<const T>(target, static_cast<std::size_t>(count)));
  }
  if (!rounds) return;
  round_to(*operand.cast, target, count);
  if (base) difference(target, base, count, target);
}

// Elements [at, at + count) of all operands become rows; their views begin at element `begin`.
template <class T>
void convert_all(Scratch<T>& scratch, const Engine& engine, std::span<const Operand> operands, std::int64_t begin,
                 std::int64_t at, std::int64_t count, Reading reading) {
  for (std::size_t k = 0; k < operands.size(); ++k)
    convert<T>(engine, operands[k], at, count, scratch.views[k].data() + bytes_of(operands[k], at - begin),
               scratch.rows[k], reading == Reading::kChanges && k > 0 ? scratch.rows[0] : nullptr);
}

// Elements [first, last) of every operand become views; the range after them is asked for ahead of its use.
template <class T>
void open_views(Scratch<T>& scratch, const Engine& engine, std::span<const Operand> operands, std::int64_t first,
                std::int64_t last, std::int64_t ahead) {
  throw_if_stopped();
  std::uint64_t read = 0;
  for (std::size_t k = 0; k < operands.size(); ++k) {
    const Operand& operand = operands[k];
    const std::uint64_t from = bytes_of(operand, first), length = bytes_of(operand, last - first);
    scratch.views[k] = operand.model->read(*operand.tensor, from, length, scratch.bytes[k]);
    const std::uint64_t next = from + length * static_cast<std::uint64_t>(ahead), end = operand.tensor->bytes();
    if (next < end) operand.tensor->source->want(operand.tensor->offset + next, std::min(length, end - next));
    read += length;
  }
  if (engine.on_bytes_read) engine.on_bytes_read(read);
}

// What a pass reads begins to come, if it is far away.
void expect_all(std::span<const Operand> operands) {
  for (const Operand& operand : operands)
    operand.tensor->source->expect(operand.tensor->offset, operand.tensor->bytes());
}

void require_alike(std::span<const Operand> operands) {
  for (const Operand& operand : operands)
    if (operand.tensor->elements() != operands.front().tensor->elements())
      throw internal_error(cat("a pass over tensors of different sizes: ", operand.tensor->name));
}

void check_sources(std::span<const Operand> operands) {
  for (const Operand& operand : operands) operand.tensor->source->check();
}

}  // namespace

template <class T>
void for_tiles(const Engine& engine, std::span<const Operand> operands, int extra,
               const std::function<void(const Tile<T>&, std::int64_t, int)>& tile, Reading reading) {
  require_alike(operands);
  expect_all(operands);
  const std::int64_t n = operands.front().tensor->elements(), block = engine.blocking.block;
  const std::int64_t chunk = block * engine.blocking.blocks_per_chunk;
  const std::size_t inputs = operands.size(), rows = inputs + static_cast<std::size_t>(extra);
  engine.pool->for_each((n + chunk - 1) / chunk, [&](std::int64_t index, int worker) {
    ScratchLease<T> scratch(inputs, rows, kTileOf<T>);
    const std::int64_t begin = index * chunk, end = std::min(n, begin + chunk);
    open_views(*scratch, engine, operands, begin, end, engine.pool->size());
    for (std::int64_t at = begin; at < end;) {
      const std::int64_t block_end = std::min(end, (at / block + 1) * block);
      const std::int64_t count = std::min(kTileOf<T>, block_end - at);
      convert_all(*scratch, engine, operands, begin, at, count, reading);
      tile(Tile<T>{at, count, scratch->rows, at + count == end}, at / block, worker);
      at += count;
    }
    check_sources(operands);
  });
}

std::int64_t rows_per_chunk(const Engine& engine, std::int64_t row) {
  return std::max<std::int64_t>(1, engine.blocking.block / row);
}

template <class T>
void for_rows(const Engine& engine, std::span<const Operand> operands, std::int64_t row, int extra,
              const std::function<void(const Tile<T>&)>& tile, Reading reading) {
  require_alike(operands);
  expect_all(operands);
  const std::int64_t n = operands.front().tensor->elements();
  if (n == 0) return;
  const std::int64_t rows = rows_per_chunk(engine, row), count = n / row;
  const std::size_t inputs = operands.size();
  engine.pool->for_each((count + rows - 1) / rows, [&](std::int64_t index, int) {
    ScratchLease<T> scratch(inputs, inputs + static_cast<std::size_t>(extra), row);
    const std::int64_t begin = index * rows * row, end = std::min(n, begin + rows * row);
    open_views(*scratch, engine, operands, begin, end, engine.pool->size());
    for (std::int64_t at = begin; at < end; at += row) {
      convert_all(*scratch, engine, operands, begin, at, row, reading);
      tile(Tile<T>{at, row, scratch->rows, at + row == end});
    }
    check_sources(operands);
  });
}

template <class T>
void load_range(const Engine& engine, const Operand& operand, std::int64_t first, std::int64_t count, T* target,
                const T* base) {
  std::vector<std::byte> scratch;
  const auto bytes = operand.model->read(*operand.tensor, bytes_of(operand, first), bytes_of(operand, count), scratch);
  convert(engine, operand, first, count, bytes.data(), target, base);
}

template void for_tiles<float>(const Engine&, std::span<const Operand>, int,
                               const std::function<void(const Tile<float>&, std::int64_t, int)>&, Reading);
template void for_tiles<double>(const Engine&, std::span<const Operand>, int,
                                const std::function<void(const Tile<double>&, std::int64_t, int)>&, Reading);
template void for_rows<float>(const Engine&, std::span<const Operand>, std::int64_t, int,
                              const std::function<void(const Tile<float>&)>&, Reading);
template void for_rows<double>(const Engine&, std::span<const Operand>, std::int64_t, int,
                               const std::function<void(const Tile<double>&)>&, Reading);
template void load_range<float>(const Engine&, const Operand&, std::int64_t, std::int64_t, float*, const float*);
template void load_range<double>(const Engine&, const Operand&, std::int64_t, std::int64_t, double*, const double*);

bool needs_double(std::span<const Operand> operands) {
  return std::any_of(operands.begin(), operands.end(), [](const Operand& operand) {
    return operand.cast.value_or(operand.tensor->dtype) == DType::kF64;
  });
}

std::uint64_t scratch_bytes(const Blocking& blocking, int operands) {
  const auto inputs = static_cast<std::uint64_t>(operands);
  const auto chunk = static_cast<std::uint64_t>(blocking.block * blocking.blocks_per_chunk);
  constexpr std::uint64_t kWidest = 8, kExtraRows = 4;
  return (inputs + kExtraRows) * kTile * kWidest + (inputs + 1) * chunk * kWidest;
}

Blocking fit_blocking(std::uint64_t memory, int threads, int operands, std::int64_t block) {
  Blocking blocking{block, 64};
  while (blocking.blocks_per_chunk > 1 &&
         scratch_bytes(blocking, operands) * static_cast<std::uint64_t>(threads) > memory)
    blocking.blocks_per_chunk /= 2;
  return blocking;
}

}  // namespace solera::weights
