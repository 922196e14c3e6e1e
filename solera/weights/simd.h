// What every SIMD file of this room includes before Highway: which targets are built. Four are enough to cover x86-64
// from 2008 on and to let tests compare them; the last (SCALAR or EMU128) is plain C++ and runs anywhere.
#pragma once

#include <hwy/detect_targets.h>

#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
