#include "examples/cifar/convolution.h"

// Vectors in arrays need a size that the compiler knows.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "examples/cifar/convolution.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "examples/cifar/convolution.h"

HWY_BEFORE_NAMESPACE();
namespace solera::examples {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void convolve_block(const Convolution& layer, const float* input, int size, const float* shortcut, float* output) {
  const hn::CappedTag<float, kChannelBlock> d;
  using Vector = hn::Vec<decltype(d)>;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(d));
  constexpr int kVectors = kChannelBlock / kLanes;
  constexpr int kPixels = 8 / kVectors > 0 ? 8 / kVectors : 1;  // eight sums in flight hide the latency of an addition
  const int in = layer.in, out = layer.out;
  const int pitch = (size * layer.stride + 2) * in;
  const int step = layer.stride * in;
  const Vector zero = hn::Zero(d);

  for (int block = 0; block < out / kChannelBlock; ++block) {
    const float* block_weights = layer.weights.data() + static_cast<long>(block) * 9 * in * kChannelBlock;
    const float* bias = layer.bias.data() + block * kChannelBlock;
    for (int y = 0; y < size; ++y) {
      for (int x = 0; x < size; x += kPixels) {
        Vector sum[kPixels][kVectors];
        for (auto& row : sum) {
          for (int v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, bias + v * kLanes);
        }
        const float* w = block_weights;
        for (int ky = 0; ky < 3; ++ky) {
          const float* row = input + (y * layer.stride + ky) * pitch + x * step;
          // The three pixels under a row of the kernel are neighbors: one run of 3 * in values.
          for (int i = 0; i < 3 * in; ++i, w += kChannelBlock) {
            Vector weight[kVectors];
            for (int v = 0; v < kVectors; ++v) weight[v] = hn::LoadU(d, w + v * kLanes);
            for (int p = 0; p < kPixels; ++p) {
              const Vector value = hn::Set(d, row[p * step + i]);
              for (int v = 0; v < kVectors; ++v) sum[p][v] = hn::Add(sum[p][v], hn::Mul(value, weight[v]));
            }
          }
        }
        const long first = static_cast<long>((y + 1) * (size + 2) + x + 1) * out + block * kChannelBlock;
        for (int p = 0; p < kPixels; ++p) {
          for (int v = 0; v < kVectors; ++v) {
            const long at = first + static_cast<long>(p) * out + v * kLanes;
            Vector value = sum[p][v];
            if (shortcut) value = hn::Add(value, hn::LoadU(d, shortcut + at));
            hn::StoreU(hn::Max(value, zero), d, output + at);
          }
        }
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace solera::examples
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace solera::examples {

HWY_EXPORT(convolve_block);

void convolve(const Convolution& layer, const float* input, int size, const float* shortcut, float* output) {
  HWY_DYNAMIC_DISPATCH(convolve_block)(layer, input, size, shortcut, output);
}

}  // namespace solera::examples
#endif
