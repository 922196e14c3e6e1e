#include "solera/weights/columns.h"

#include <array>
#include <numeric>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/weights/mixing.h"

namespace solera::weights {

namespace {

constexpr std::int64_t kBytes = 24;  // a column of a group: three sums

// As many as keep the sums below 64 MiB; a matter of the shape alone.
std::int64_t groups_of(std::int64_t rows, std::int64_t columns) {
  const std::int64_t room = (std::int64_t{64} << 20) / (kBytes * std::max<std::int64_t>(1, columns));
  return std::clamp<std::int64_t>(std::min(room, rows), 1, 16);
}

ColumnProducts zeros(std::int64_t columns) {
  const std::vector<double> none(static_cast<std::size_t>(columns));
  return {none, none, none};
}

void add(const std::vector<double>& part, std::vector<double>& sum) {
  for (std::size_t j = 0; j < sum.size(); ++j) sum[j] = sum[j] + part[j];
}

}  // namespace

template <class T>
ColumnProducts column_products(const Engine& engine, std::span<const Operand> operands, std::int64_t rows,
                               Reading reading, std::size_t a, std::size_t b) {
  const std::int64_t n = operands.front().tensor->elements(), columns = rows > 0 ? n / rows : 0;
  if (n == 0) return zeros(columns);
  const std::int64_t groups = groups_of(rows, columns);
  std::vector<ColumnProducts> parts(static_cast<std::size_t>(groups));
  engine.pool->for_each(groups, [&](std::int64_t g, int) {
    ColumnProducts& sums = parts[static_cast<std::size_t>(g)];
    sums = zeros(columns);
    std::array<T, kTile> base, of_a, of_b;
    const T* origin = reading == Reading::kChanges ? base.data() : nullptr;
    const std::int64_t end = rows * (g + 1) / groups * columns;
    for (std::int64_t first = rows * g / groups * columns; first < end; first += kTile) {
      throw_if_stopped();
      const std::int64_t count = std::min(kTile, end - first);
      if (origin) load_range(engine, operands[0], first, count, base.data());
      load_range(engine, operands[a], first, count, of_a.data(), origin);
      load_range(engine, operands[b], first, count, of_b.data(), origin);
      for_row_pieces(first, count, columns, [&](std::int64_t at, std::int64_t column, std::int64_t piece) {
        const T *x = of_a.data() + at, *y = of_b.data() + at;
        add_products(x, x, piece, sums.aa.data() + column);
        add_products(y, y, piece, sums.bb.data() + column);
        add_products(x, y, piece, sums.ab.data() + column);
      });
    }
    const std::int64_t read = end - rows * g / groups * columns;
    for (const Operand& operand : operands) {
      operand.tensor->source->check();
      if (engine.on_bytes_read) engine.on_bytes_read(checkpoint::byte_count(operand.tensor->dtype, read));
    }
  });
  for (std::size_t g = 1; g < parts.size(); ++g) {
    add(parts[g].aa, parts[0].aa);
    add(parts[g].bb, parts[0].bb);
    add(parts[g].ab, parts[0].ab);
  }
  return std::move(parts.front());
}

std::uint64_t column_memory(std::span<const std::int64_t> shape) {
  const std::int64_t columns =
      std::accumulate(shape.begin() + 1, shape.end(), std::int64_t{1}, [](auto x, auto y) { return x * y; });
  return static_cast<std::uint64_t>(groups_of(shape.front(), columns) * columns * kBytes);
}

template ColumnProducts column_products<float>(const Engine&, std::span<const Operand>, std::int64_t, Reading,
                                               std::size_t, std::size_t);
template ColumnProducts column_products<double>(const Engine&, std::span<const Operand>, std::int64_t, Reading,
                                                std::size_t, std::size_t);

}  // namespace solera::weights
