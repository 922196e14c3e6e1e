#include "solera/weights/dense.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "solera/weights/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "solera/weights/dense.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace solera::weights::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows by two vectors of sums stay in registers through the whole depth.
template <int kRows>
HWY_INLINE void add_strip(const Product& p, std::int64_t i, std::int64_t j) {
  const hn::ScalableTag<double> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  decltype(hn::Zero(d)) left[kRows], right[kRows];
  for (int r = 0; r < kRows; ++r) {
    left[r] = hn::LoadU(d, p.c + (i + r) * p.c_row + j);
    right[r] = hn::LoadU(d, p.c + (i + r) * p.c_row + j + lanes);
  }
  for (std::int64_t k = 0; k < p.depth; ++k) {
    const auto b_left = hn::LoadU(d, p.b + k * p.b_row + j), b_right = hn::LoadU(d, p.b + k * p.b_row + j + lanes);
    for (int r = 0; r < kRows; ++r) {
      const auto a = hn::Set(d, p.factor * p.a[(i + r) * p.a_row + k * p.a_column]);
      left[r] = hn::Add(left[r], hn::Mul(a, b_left));
      right[r] = hn::Add(right[r], hn::Mul(a, b_right));
    }
  }
  for (int r = 0; r < kRows; ++r) {
    hn::StoreU(left[r], d, p.c + (i + r) * p.c_row + j);
    hn::StoreU(right[r], d, p.c + (i + r) * p.c_row + j + lanes);
  }
}

void add_product_tile(const Product& p) {
  constexpr std::int64_t kRows = 4;
  const hn::ScalableTag<double> d;
  const std::int64_t step = 2 * static_cast<std::int64_t>(hn::Lanes(d)), whole = p.n / step * step;
  for (std::int64_t i = 0; i < p.m;) {
    const bool four = i + kRows <= p.m;
    for (std::int64_t j = 0; j < whole; j += step) four ? add_strip<kRows>(p, i, j) : add_strip<1>(p, i, j);
    i += four ? kRows : 1;
  }
  for (std::int64_t i = 0; i < p.m; ++i)
    for (std::int64_t j = whole; j < p.n; ++j) {
      double sum = p.c[i * p.c_row + j];
      for (std::int64_t k = 0; k < p.depth; ++k)
        sum = sum + p.factor * p.a[i * p.a_row + k * p.a_column] * p.b[k * p.b_row + j];
      p.c[i * p.c_row + j] = sum;
    }
}

}  // namespace solera::weights::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace solera::weights {
namespace {

HWY_EXPORT(add_product_tile);

constexpr std::int64_t kPanel = 64;                         // rows eliminated together
constexpr std::int64_t kTileRows = 64, kTileColumns = 256;  // with kPanel of depth, what a core's caches hold

std::int64_t pieces(std::int64_t n, std::int64_t size) { return (n + size - 1) / size; }

// Rows [first, last) of U from column `last` on, given their triangle: a strip of columns at a time.
void finish_panel(Pool& pool, double* g, std::int64_t n, std::int64_t first, std::int64_t last) {
  pool.for_each(pieces(n - last, kTileColumns), [&](std::int64_t strip, int) {
    const std::int64_t begin = last + strip * kTileColumns, end = std::min(n, begin + kTileColumns);
    for (std::int64_t k = first; k < last; ++k) {
      double* row = g + k * n;
      for (std::int64_t j = first; j < k; ++j) {
        const double c = g[j * n + k];
        const double* above = g + j * n;
        for (std::int64_t x = begin; x < end; ++x) row[x] = row[x] - c * above[x];
      }
      const double pivot = row[k];
      for (std::int64_t x = begin; x < end; ++x) row[x] = row[x] / pivot;
    }
  });
}

}  // namespace

void add_product(Pool& pool, const Product& product) {
  if (product.m <= 0 || product.n <= 0) return;
  const std::int64_t columns = pieces(product.n, kTileColumns);
  pool.for_each(pieces(product.m, kTileRows) * columns, [&](std::int64_t tile, int) {
    const std::int64_t i = tile / columns * kTileRows, j = tile % columns * kTileColumns;
    for (std::int64_t k = 0; k < product.depth; k += kPanel) {
      Product part = product;
      part.m = std::min(kTileRows, product.m - i);
      part.n = std::min(kTileColumns, product.n - j);
      part.depth = std::min(kPanel, product.depth - k);
      part.a += i * product.a_row + k * product.a_column;
      part.b += k * product.b_row + j;
      part.c += i * product.c_row + j;
      HWY_DYNAMIC_DISPATCH(add_product_tile)(part);
    }
  });
}

std::optional<std::int64_t> factor_cholesky(Pool& pool, double* g, std::int64_t n, double least) {
  std::vector<double> diagonal(static_cast<std::size_t>(n));
  for (std::int64_t k = 0; k < n; ++k) diagonal[static_cast<std::size_t>(k)] = g[k * n + k];
  for (std::int64_t first = 0; first < n; first += kPanel) {
    const std::int64_t last = std::min(n, first + kPanel);
    for (std::int64_t k = first; k < last; ++k) {
      double* row = g + k * n;
      for (std::int64_t j = first; j < k; ++j) {
        const double c = g[j * n + k];
        for (std::int64_t x = k; x < last; ++x) row[x] = row[x] - c * g[j * n + x];
      }
      const double pivot = row[k];
      if (!(pivot > least * diagonal[static_cast<std::size_t>(k)]) || !(pivot > 0)) return k;
      row[k] = std::sqrt(pivot);
      for (std::int64_t x = k + 1; x < last; ++x) row[x] = row[x] / row[k];
    }
    finish_panel(pool, g, n, first, last);
    // Bands of rows, each from its first column on: a little of what lies below the diagonal is computed in vain.
    pool.for_each(pieces(n - last, kTileRows), [&](std::int64_t band, int) {
      const std::int64_t i = last + band * kTileRows;
      add_product(pool, {.m = std::min(kTileRows, n - i),
                         .n = n - i,
                         .depth = last - first,
                         .factor = -1.0,
                         .a = g + first * n + i,
                         .a_row = 1,
                         .a_column = n,
                         .b = g + first * n + i,
                         .b_row = n,
                         .c = g + i * n + i,
                         .c_row = n});
    });
  }
  return std::nullopt;
}

void solve_cholesky(Pool& pool, const double* u, std::int64_t n, double* rows, std::int64_t m) {
  // y U = r, from the first panel of columns to the last.
  for (std::int64_t first = 0; first < n; first += kPanel) {
    const std::int64_t last = std::min(n, first + kPanel);
    pool.for_each(pieces(m, kTileRows), [&](std::int64_t band, int) {
      for (std::int64_t i = band * kTileRows; i < std::min(m, (band + 1) * kTileRows); ++i) {
        double* row = rows + i * n;
        for (std::int64_t k = first; k < last; ++k) {
          row[k] = row[k] / u[k * n + k];
          for (std::int64_t x = k + 1; x < last; ++x) row[x] = row[x] - row[k] * u[k * n + x];
        }
      }
    });
    add_product(pool, {.m = m,
                       .n = n - last,
                       .depth = last - first,
                       .factor = -1.0,
                       .a = rows + first,
                       .a_row = n,
                       .b = u + first * n + last,
                       .b_row = n,
                       .c = rows + last,
                       .c_row = n});
  }
  // x U^T = y, from the last panel to the first; U^T is copied a panel at a time.
  std::vector<double> transposed;
  for (std::int64_t first = (pieces(n, kPanel) - 1) * kPanel; first >= 0; first -= kPanel) {
    const std::int64_t last = std::min(n, first + kPanel), width = last - first;
    transposed.resize(static_cast<std::size_t>((n - last) * width));
    for (std::int64_t k = first; k < last; ++k)
      for (std::int64_t x = last; x < n; ++x)
        transposed[static_cast<std::size_t>((x - last) * width + k - first)] = u[k * n + x];
    add_product(pool, {.m = m,
                       .n = width,
                       .depth = n - last,
                       .factor = -1.0,
                       .a = rows + last,
                       .a_row = n,
                       .b = transposed.data(),
                       .b_row = width,
                       .c = rows + first,
                       .c_row = n});
    pool.for_each(pieces(m, kTileRows), [&](std::int64_t band, int) {
      for (std::int64_t i = band * kTileRows; i < std::min(m, (band + 1) * kTileRows); ++i) {
        double* row = rows + i * n;
        for (std::int64_t k = last - 1; k >= first; --k) {
          for (std::int64_t x = k + 1; x < last; ++x) row[k] = row[k] - row[x] * u[k * n + x];
          row[k] = row[k] / u[k * n + k];
        }
      }
    });
  }
}

}  // namespace solera::weights
#endif  // HWY_ONCE
