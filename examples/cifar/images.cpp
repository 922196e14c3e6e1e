#include "examples/cifar/images.h"

#include "solera/base/error.h"
#include "solera/base/files.h"

namespace solera::examples {

int CifarImages::label(std::int64_t image) const { return static_cast<unsigned char>(bytes[image * kRecord]); }

void CifarImages::load(std::int64_t image, float* target) const {
  constexpr float kMean[] = {0.485f, 0.456f, 0.406f};
  constexpr float kDeviation[] = {0.229f, 0.224f, 0.225f};
  const char* pixels = bytes.data() + image * kRecord + 1;
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      for (int c = 0; c < kChannels; ++c) {
        const auto value = static_cast<unsigned char>(pixels[(c * kSide + y) * kSide + x]);
        target[((y + 1) * (kSide + 2) + x + 1) * kChannels + c] =
            (static_cast<float>(value) / 255.0f - kMean[c]) / kDeviation[c];
      }
    }
  }
}

CifarImages read_cifar(const std::string& path, const ImageRange& range) {
  if (!exists(path)) throw missing_file(path);
  CifarImages images{read_file(path)};
  if (images.bytes.empty() || images.bytes.size() % CifarImages::kRecord != 0) {
    throw input_error(cat(images.bytes.size(), " bytes is no whole number of 3073-byte records"), path,
                      "CIFAR-10's binary version is wanted: a label and 3072 pixels an image");
  }
  const std::int64_t all = images.count();
  const std::int64_t wanted = range.first >= 0 ? range.first : range.last >= 0 ? range.last : all;
  if (range.first >= 0 && range.last >= 0) throw usage_error("--first and --last exclude each other");
  if (wanted == 0) throw usage_error("no images are asked for", "", "give --first or --last at least 1");
  if (wanted > all) {
    throw input_error(cat(range.first >= 0 ? "--first " : "--last ", wanted, ", but the file has ", all, " images"),
                      path);
  }
  const std::size_t length = static_cast<std::size_t>(wanted) * CifarImages::kRecord;
  const std::int64_t skipped = range.last >= 0 ? all - wanted : 0;
  images.bytes = images.bytes.substr(static_cast<std::size_t>(skipped) * CifarImages::kRecord, length);
  for (std::int64_t i = 0; i < wanted; ++i) {
    if (images.label(i) > 9)
      throw input_error(cat("image ", skipped + i, " has label ", images.label(i), ", more than 9"), path);
  }
  return images;
}

}  // namespace solera::examples
