// The UCI optical digits, embedded: 1797 images of 8 x 8 pixels in [0, 1], their labels, and what can be done to them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace solera::examples {

struct Digits {
  static constexpr int kSide = 8, kPixels = kSide * kSide;
  std::vector<float> pixels;      // [count, 64], row by row, sixteenths
  std::vector<int> labels;        // [count], 0..9 or a task's classes
  std::vector<std::int64_t> ids;  // [count], place in the whole set
  std::int64_t count() const { return static_cast<std::int64_t>(labels.size()); }
  std::span<const float> image(std::int64_t i) const { return {pixels.data() + i * kPixels, kPixels}; }
};

const Digits& all_digits();

// A part of the set, permuted by the seed: "A:B" as in Python (both may be left out or count from the end), or a name:
// pretrain 0:400, fine_tune 400:1000, held_out 1000:1300, test 1300:1797, all. Throws Error (usage).
Digits digits_split(const std::string& split, std::uint64_t seed);

// Keeps the images of some digits, as "0-4" or "1,3,7-9"; nothing changes for "". Throws Error (usage) for another text
// or if none is left.
void keep_digits(Digits& digits, const std::string& which);

// Appends four copies of every image, moved by one pixel up, down, left and right; zeros come in.
void add_shifted(Digits& digits);

// What a test set suffers, in this order. The draws belong to (seed, image), so that a split changes none of them.
struct Distortion {
  int shift_down = 0;  // pixels; zeros come in
  double noise = 0.0;  // standard deviation of Gaussian noise
  bool clip = false;   // back into [0, 1] after the noise
  double drop = 0.0;   // probability that a pixel becomes zero
};
void distort(Digits& digits, const Distortion& distortion, std::uint64_t seed);
// "noise=0.35,clip", "shift_down=1", "drop=0.3", "none". Throws Error (usage).
Distortion parse_distortion(const std::string& text);

// Questions about a digit: digit (10 classes), parity, ge5, mod3, loop {0, 6, 8, 9}, prime {2, 3, 5, 7}, mod4.
// Replaces the labels by the answers and returns the number of classes. Throws Error (usage).
int apply_task(Digits& digits, const std::string& task);

}  // namespace solera::examples
