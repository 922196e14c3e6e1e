// Stored elements to and from float32 and float64, at the machine's speed.
//
// Loading is exact. Storing rounds to nearest even once; halves and F8 overflow as PyTorch's casts do (infinity; NaN
// for F8_E4M3, which has none). NaN stays NaN. The SIMD target is chosen at run time (Highway); every target gives the
// same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "solera/checkpoint/dtype.h"

namespace solera::weights {

using checkpoint::DType;

// `n` elements from `source` (any alignment) into `target`. Returns whether all of them are finite. Integers and BOOL
// convert too (for statistics). Throws Error (internal) for F8_E8M0 and F4.
bool load(DType dtype, const std::byte* source, std::int64_t n, float* target);
bool load(DType dtype, const std::byte* source, std::int64_t n, double* target);
// The same minus `base`, in one sweep: target = stored - base, rounded once. Returns whether what is stored is finite.
bool load_change(DType dtype, const std::byte* source, const float* base, std::int64_t n, float* target);
bool load_change(DType dtype, const std::byte* source, const double* base, std::int64_t n, double* target);
void store(DType dtype, const float* source, std::int64_t n, std::byte* target);
void store(DType dtype, const double* source, std::int64_t n, std::byte* target);

// Rounds to `dtype` and back, in place: a cast on load.
void round_to(DType dtype, float* values, std::int64_t n);
void round_to(DType dtype, double* values, std::int64_t n);

// SIMD targets that this build and CPU offer ("AVX3", "AVX2", "SSE4", and last a portable one), best first; and a way
// to pin one, for tests. An empty name frees it again.
std::vector<std::string> simd_targets();
void pin_simd_target(const std::string& target);

}  // namespace solera::weights
