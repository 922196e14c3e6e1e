// One 3x3 convolution with what follows it in a residual network: batch norm (folded), shortcut, ReLU.
//
//   out[y, x, o] = max(0, b_o + sum_ky,kx,i w_o,i,ky,kx in[s y + ky - 1, s x + kx - 1, i] + shortcut[y, x, o])
//
// Images lie channel-last inside a border of zeros one pixel wide, (size + 2)^2 pixels. Every output adds its products
// in the order (ky, kx, i), multiply and add apart, so that all SIMD targets (chosen at run time, Highway) give the
// same bits.
#pragma once

#include <vector>

namespace solera::examples {

inline constexpr int kChannelBlock = 16;      // output channels come in whole blocks of this many
inline constexpr double kNormEpsilon = 1e-5;  // of batch norm

struct Convolution {
  int in = 0, out = 0, stride = 1;
  std::vector<float> weights;  // [out / 16][3][3][in][16]
  std::vector<float> bias;     // [out]
};

// `size` is the output's side; a multiple of 8. `shortcut` has the output's shape, or is null.
void convolve(const Convolution& layer, const float* input, int size, const float* shortcut, float* output);

}  // namespace solera::examples
