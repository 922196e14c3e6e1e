#include "examples/digits/data.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "solera/base/error.h"
#include "solera/base/random.h"
#include "solera/base/text.h"

// The packed file as bytes of the program.
asm(".section .rodata\n"
    ".global solera_digits_begin\n"
    ".global solera_digits_end\n"
    "solera_digits_begin:\n"
    ".incbin \"" SOLERA_DIGITS_FILE
    "\"\n"
    "solera_digits_end:\n"
    ".byte 0\n"
    ".text\n");
extern "C" const unsigned char solera_digits_begin[];
extern "C" const unsigned char solera_digits_end[];

namespace solera::examples {
namespace {

constexpr std::int64_t kCount = 1797;

Digits unpack() {
  std::vector<unsigned char> bytes(static_cast<std::size_t>(kCount) * (Digits::kPixels + 1));
  uLongf size = bytes.size();
  const auto packed = static_cast<uLong>(solera_digits_end - solera_digits_begin);
  if (uncompress(bytes.data(), &size, solera_digits_begin, packed) != Z_OK || size != bytes.size()) {
    throw internal_error("the embedded digits do not unpack");
  }
  Digits digits;
  const auto labels = bytes.begin() + kCount * Digits::kPixels;
  for (auto pixel = bytes.begin(); pixel != labels; ++pixel)
    digits.pixels.push_back(static_cast<float>(*pixel) / 16.0f);
  digits.labels.assign(labels, bytes.end());
  for (std::int64_t i = 0; i < kCount; ++i) digits.ids.push_back(i);
  return digits;
}

struct Range {
  std::int64_t first, last;
};

Range parse_range(const std::string& split) {
  struct Named {
    const char* name;
    Range range;
  };
  static const std::array<Named, 5> kNamed = {{{"pretrain", {0, 400}},
                                               {"fine_tune", {400, 1000}},
                                               {"held_out", {1000, 1300}},
                                               {"test", {1300, kCount}},
                                               {"all", {0, kCount}}}};
  for (const auto& named : kNamed) {
    if (split == named.name) return named.range;
  }
  const auto pieces = solera::split(split, ':');
  const auto place = [&](const std::string& text, std::int64_t otherwise) -> std::optional<std::int64_t> {
    if (text.empty()) return otherwise;
    auto value = parse_int(text);
    if (value && *value < 0) *value += kCount;
    return value;
  };
  if (pieces.size() == 2) {
    const auto first = place(pieces[0], 0), last = place(pieces[1], kCount);
    if (first && last && 0 <= *first && *first < *last && *last <= kCount) return {*first, *last};
  }
  throw usage_error(cat("\"", split, "\" is no part of the 1797 digits"), "",
                    "pretrain, fine_tune, held_out, test, all, or a range like 400:1000 or -597:");
}

// The image moved by (down, right) pixels.
void shift(std::span<const float> from, int down, int right, float* to) {
  for (int y = 0; y < Digits::kSide; ++y) {
    for (int x = 0; x < Digits::kSide; ++x) {
      const int v = y - down, u = x - right;
      const bool inside = v >= 0 && u >= 0 && v < Digits::kSide && u < Digits::kSide;
      to[y * Digits::kSide + x] = inside ? from[v * Digits::kSide + u] : 0.0f;
    }
  }
}

}  // namespace

const Digits& all_digits() {
  static const Digits digits = unpack();
  return digits;
}

Digits digits_split(const std::string& split, std::uint64_t seed) {
  const Range range = parse_range(split);
  const Digits& all = all_digits();
  const auto order = RandomStream({.seed = seed, .purpose = "split"}).permutation(kCount);
  Digits part;
  for (std::int64_t i = range.first; i < range.last; ++i) {
    const auto image = all.image(order[i]);
    part.pixels.insert(part.pixels.end(), image.begin(), image.end());
    part.labels.push_back(all.labels[order[i]]);
    part.ids.push_back(order[i]);
  }
  return part;
}

void keep_digits(Digits& digits, const std::string& which) {
  if (which.empty()) return;
  std::array<bool, 10> kept{};
  for (const auto& piece : split(which, ',')) {
    const auto ends = split(piece, '-');
    const auto first = parse_int(ends.front()), last = parse_int(ends.back());
    if (ends.size() > 2 || !first || !last || *first < 0 || *first > *last || *last > 9)
      throw usage_error(cat("\"", which, "\" is no list of digits"), "", "write it like 0-4 or 1,3,7-9");
    std::fill(kept.begin() + *first, kept.begin() + *last + 1, true);
  }
  Digits rest;
  for (std::int64_t i = 0; i < digits.count(); ++i) {
    if (!kept[digits.labels[i]]) continue;
    const auto image = digits.image(i);
    rest.pixels.insert(rest.pixels.end(), image.begin(), image.end());
    rest.labels.push_back(digits.labels[i]);
    rest.ids.push_back(digits.ids[i]);
  }
  if (rest.count() == 0) throw usage_error(cat("none of ", digits.count(), " images is of the digits ", which));
  digits = std::move(rest);
}

void add_shifted(Digits& digits) {
  const std::int64_t n = digits.count();
  digits.pixels.resize(static_cast<std::size_t>(5 * n) * Digits::kPixels);
  for (const auto& [down, right] : {std::pair{-1, 0}, {1, 0}, {0, -1}, {0, 1}}) {
    for (std::int64_t i = 0; i < n; ++i) {
      shift(digits.image(i), down, right, digits.pixels.data() + digits.count() * Digits::kPixels);
      digits.labels.push_back(digits.labels[i]);
      digits.ids.push_back(digits.ids[i]);
    }
  }
}

void distort(Digits& digits, const Distortion& distortion, std::uint64_t seed) {
  const RandomStream noise({.seed = seed, .purpose = "test noise"}), drops({.seed = seed, .purpose = "test drops"});
  std::array<float, Digits::kPixels> before, draws;
  for (std::int64_t i = 0; i < digits.count(); ++i) {
    float* image = digits.pixels.data() + i * Digits::kPixels;
    const auto first = static_cast<std::uint64_t>(digits.ids[i]) * Digits::kPixels;
    if (distortion.shift_down != 0) {
      std::copy_n(image, Digits::kPixels, before.data());
      shift(before, distortion.shift_down, 0, image);
    }
    if (distortion.noise > 0.0) {
      noise.fill_normal(first, draws);
      for (int p = 0; p < Digits::kPixels; ++p) {
        image[p] += static_cast<float>(distortion.noise) * draws[p];
        if (distortion.clip) image[p] = std::clamp(image[p], 0.0f, 1.0f);
      }
    }
    for (int p = 0; distortion.drop > 0.0 && p < Digits::kPixels; ++p) {
      if (drops.bernoulli(first + p, distortion.drop)) image[p] = 0.0f;
    }
  }
}

Distortion parse_distortion(const std::string& text) {
  Distortion result;
  const auto wrong = [&] {
    return usage_error(cat("\"", text, "\" is no distortion"), "",
                       "none, or some of noise=0.3, clip, shift_down=1 and drop=0.3 with commas between");
  };
  if (text == "none") return result;
  for (const auto& piece : split(text, ',')) {
    const auto parts = split(piece, '=');
    const double value = (parts.size() == 2 ? parse_double(parts[1]) : std::nullopt).value_or(std::nan(""));
    if (piece == "clip") {
      result.clip = true;
    } else if (parts[0] == "noise" && value >= 0.0 && value < 1e6) {
      result.noise = value;
    } else if (parts[0] == "drop" && value >= 0.0 && value <= 1.0) {
      result.drop = value;
    } else if (parts[0] == "shift_down" && value == static_cast<int>(value) && std::abs(value) <= 8.0) {
      result.shift_down = static_cast<int>(value);
    } else {
      throw wrong();
    }
  }
  return result;
}

int apply_task(Digits& digits, const std::string& task) {
  struct Task {
    std::string name;
    int classes;
    std::array<int, 10> answers;
  };
  static const std::vector<Task> kTasks = {
      {"digit", 10, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}, {"parity", 2, {0, 1, 0, 1, 0, 1, 0, 1, 0, 1}},
      {"ge5", 2, {0, 0, 0, 0, 0, 1, 1, 1, 1, 1}},    {"mod3", 3, {0, 1, 2, 0, 1, 2, 0, 1, 2, 0}},
      {"loop", 2, {1, 0, 0, 0, 0, 0, 1, 0, 1, 1}},   {"prime", 2, {0, 0, 1, 1, 0, 1, 0, 1, 0, 0}},
      {"mod4", 4, {0, 1, 2, 3, 0, 1, 2, 3, 0, 1}}};
  std::vector<std::string> names;
  for (const Task& known : kTasks) {
    names.push_back(known.name);
    if (known.name != task) continue;
    for (int& label : digits.labels) label = known.answers[label];
    return known.classes;
  }
  throw usage_error(cat("no task \"", task, "\""), "", cat("the tasks are ", join(names, ", ")));
}

}  // namespace solera::examples
