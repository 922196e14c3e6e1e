#include "solera/weights/mask.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace solera::weights {

template <class T>
void keep_top(std::span<T> values, std::int64_t k) {
  const Cut<T> cut = select_cut(std::span<const T>(values), k);
  keep_between(Cut<T>{}, cut, 0, 0, static_cast<std::int64_t>(values.size()), values.data());
}

template <class T>
void keep_random(const RandomStream& stream, double p, std::int64_t first, std::span<T> values) {
  if (p >= 1) return;
  const auto threshold = static_cast<std::uint64_t>(std::max(0.0, p) * 0x1p32);
  std::array<std::uint32_t, 1024> draws;
  for (std::size_t at = 0; at < values.size(); at += draws.size()) {
    const std::span<std::uint32_t> piece(draws.data(), std::min(draws.size(), values.size() - at));
    stream.fill_u32(static_cast<std::uint64_t>(first) + at, piece);
    for (std::size_t i = 0; i < piece.size(); ++i)
      if (piece[i] >= threshold) values[at + i] = 0;
  }
}

template void keep_top<float>(std::span<float>, std::int64_t);
template void keep_top<double>(std::span<double>, std::int64_t);
template void keep_random<float>(const RandomStream&, double, std::int64_t, std::span<float>);
template void keep_random<double>(const RandomStream&, double, std::int64_t, std::span<double>);

}  // namespace solera::weights
