// Between float32 and float64.
#pragma once

#include <cstdint>

namespace solera::weights {

void widen(const float* source, std::int64_t n, double* target);
void widen_change(const float* source, const double* base, std::int64_t n, double* target);  // source - base

// Rounds to odd: a result that is not exact gets a last bit of 1, so that rounding it once more, to a half, is as right
// as rounding the source at once. Finite sources stay finite.
void narrow_to_odd(const double* source, std::int64_t n, float* target);

}  // namespace solera::weights
