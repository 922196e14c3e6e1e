// What one delta does to one tensor, chunk by chunk: the pieces that combine.cpp adds up.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "solera/checkpoint/delta.h"
#include "solera/weights/low_rank.h"
#include "solera/weights/mask_index.h"
#include "solera/weights/pass.h"

namespace solera::weights {

inline constexpr std::int64_t kCombineChunk = 16384;  // entries; a multiple of 8

// One chunk of a tensor while it is made. One a thread.
struct CombineChunk {
  std::int64_t number = 0, first = 0, count = 0;
  DType dtype = DType::kF32;
  std::span<const std::byte> bytes;  // the base's
  std::vector<double> base, sum;     // of each entry
  std::vector<std::uint8_t> owners;  // how many parts change it, up to 255
  std::vector<std::uint8_t> whole;   // 1 where `tuned` holds the bits that it gets if it has one owner
  std::vector<std::byte> tuned;
  std::vector<double> numbers;    // scratch
  std::vector<std::byte> buffer;  // scratch
};

class CombinePart {
 public:
  virtual ~CombinePart() = default;
  virtual void add(CombineChunk& chunk) const = 0;  // to sum and owners. Thread-safe
};

// Bits. `whole`: the coefficient is 1, so that bits may be taken as they are.
class XorPart final : public CombinePart {
 public:
  XorPart(const Engine& engine, const checkpoint::Delta& delta, const checkpoint::DeltaEntry& entry, double c);
  void add(CombineChunk& chunk) const override;
  // The chunk's bytes with the bits changed, nothing else: for a part that is alone. `target` holds the base's bytes.
  void flip(std::int64_t number, std::int64_t first, std::int64_t count, std::byte* target) const;

 private:
  std::span<const std::byte> values(std::int64_t number, std::int64_t first, std::int64_t count) const;
  std::span<const std::byte> mask(std::int64_t first, std::int64_t count) const;
  const checkpoint::Delta& delta_;
  const checkpoint::DeltaEntry& entry_;
  double c_;
  std::unique_ptr<MaskIndex> index_;  // null for a dense one
};

std::unique_ptr<CombinePart> difference_part(const Engine& engine, const checkpoint::Delta& delta,
                                             const checkpoint::DeltaEntry& entry, double c);
std::unique_ptr<CombinePart> low_rank_part(LowRank factors, double c);

}  // namespace solera::weights
