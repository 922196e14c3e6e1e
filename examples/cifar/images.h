// CIFAR-10's binary format: records of one label byte and 3072 pixel bytes (red, green, blue planes of 32 x 32).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace solera::examples {

struct ImageRange {
  std::int64_t first = -1, last = -1;  // that many from the start or the end; -1: not given; not both
};

struct CifarImages {
  static constexpr int kSide = 32, kChannels = 3, kRecord = 1 + kChannels * kSide * kSide;
  std::string bytes;  // whole records
  std::int64_t count() const { return static_cast<std::int64_t>(bytes.size()) / kRecord; }
  int label(std::int64_t image) const;

  // (x / 255 - mean) / std with the means .485 .456 .406 and deviations .229 .224 .225, channel-last inside a border of
  // zeros: 34 x 34 x 3 values.
  void load(std::int64_t image, float* target) const;
};

// Throws Error (input) for a size that is no multiple of 3073, a label over 9, or a range that the file cannot fill.
CifarImages read_cifar(const std::string& path, const ImageRange& range = {});

}  // namespace solera::examples
