// A model in memory whose tensors can be operands.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "solera/checkpoint/checkpoint.h"
#include "solera/weights/pass.h"
#include "tests/support/support.h"

namespace solera::test {

struct Model {
  TemporaryFolder folder;
  std::unique_ptr<checkpoint::Checkpoint> checkpoint;

  explicit Model(const std::vector<checkpoint::NamedBytes>& tensors) {
    checkpoint = std::make_unique<checkpoint::Checkpoint>(
        checkpoint::open_checkpoint(write_model(folder / "model.safetensors", tensors)));
  }
  weights::Operand operand(const std::string& name) const {
    return {checkpoint.get(), &checkpoint->at(name), {}, "model"};
  }
};

// Keeps what a map writes.
template <class T>
struct VectorSink final : weights::Sink {
  std::vector<T> values;
  explicit VectorSink(std::int64_t n) : values(static_cast<std::size_t>(n)) {}
  void write(std::int64_t first, std::span<const float> part, bool) override { put(first, part); }
  void write(std::int64_t first, std::span<const double> part, bool) override { put(first, part); }
  template <class U>
  void put(std::int64_t first, std::span<const U> part) {
    for (std::size_t i = 0; i < part.size(); ++i) values[static_cast<std::size_t>(first) + i] = static_cast<T>(part[i]);
  }
};

}  // namespace solera::test
