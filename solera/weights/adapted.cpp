#include "solera/weights/adapted.h"

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "solera/base/error.h"
#include "solera/weights/elements.h"
#include "solera/weights/low_rank.h"

namespace solera::weights {

namespace {

using checkpoint::Adapter;
using checkpoint::AdapterModule;
using checkpoint::AdapterTarget;
using checkpoint::Checkpoint;
using checkpoint::Source;
using checkpoint::Tensor;

// One changed tensor as a file of its own.
class AdaptedTensor final : public Source {
 public:
  AdaptedTensor(const Checkpoint& model, const Tensor& tensor, const Adapter& adapter, const AdapterModule& module,
                const AdapterTarget& target)
      : model_(model), tensor_(tensor), adapter_(adapter), module_(module), target_(target) {}

  const std::string& path() const override { return tensor_.source->path(); }
  std::uint64_t size() const override { return tensor_.bytes(); }

  std::span<const std::byte> view(std::uint64_t offset, std::uint64_t length,
                                  std::vector<std::byte>& scratch) const override {
    const auto width = static_cast<std::uint64_t>(checkpoint::bits(tensor_.dtype) / 8);
    if (offset % width != 0 || length % width != 0) throw internal_error("a part of an entry is read", tensor_.name);
    std::call_once(once_, [this] { change_ = read_change(); });
    static thread_local std::vector<std::byte> bytes;
    static thread_local std::vector<double> values;
    const auto first = static_cast<std::int64_t>(offset / width), count = static_cast<std::int64_t>(length / width);
    values.resize(static_cast<std::size_t>(count));
    load(tensor_.dtype, model_.read(tensor_, offset, length, bytes).data(), count, values.data());
    change_.add(first, count, 1, values.data());
    if (scratch.size() < length) scratch.resize(length);
    store(tensor_.dtype, values.data(), count, scratch.data());
    return {scratch.data(), length};
  }
  void want(std::uint64_t offset, std::uint64_t length) const override {
    tensor_.source->want(tensor_.offset + offset, length);
  }
  void expect(std::uint64_t offset, std::uint64_t length) const override {
    tensor_.source->expect(tensor_.offset + offset, length);
  }
  void release(std::uint64_t offset, std::uint64_t length) const override {
    tensor_.source->release(tensor_.offset + offset, length);
  }
  void check() const override { tensor_.source->check(); }

 private:
  LowRank read_change() const {
    if (target_.weight->name == tensor_.name) return factors_of(adapter_, module_, target_);
    return bias_of(adapter_, module_);
  }

  Checkpoint model_;
  Tensor tensor_;
  Adapter adapter_;
  AdapterModule module_;
  AdapterTarget target_;
  mutable std::once_flag once_;
  mutable LowRank change_;
};

}  // namespace

Checkpoint adapted(const Checkpoint& model, const Adapter& adapter) {
  std::map<std::string, std::pair<const AdapterModule*, AdapterTarget>> changes;
  for (const AdapterModule& module : adapter.modules()) {
    const AdapterTarget target = checkpoint::target_of(adapter, module, model);
    changes[target.weight->name] = {&module, target};
    if (target.bias) changes[target.bias->name] = {&module, target};
  }
  Checkpoint::Parts parts;
  parts.path = model.path();
  parts.folder = model.parts().folder;
  parts.remote = model.parts().remote;
  parts.format = model.format();
  parts.is_folder = model.is_folder();
  parts.tensors.assign(model.tensors().begin(), model.tensors().end());
  parts.files.assign(model.files().begin(), model.files().end());
  parts.files.insert(parts.files.end(), adapter.file().files().begin(), adapter.file().files().end());
  parts.metadata = model.metadata();
  parts.config = model.config();
  parts.side_files.assign(model.side_files().begin(), model.side_files().end());
  for (Tensor& tensor : parts.tensors) {
    const auto found = changes.find(tensor.name);
    if (found == changes.end()) continue;
    const auto& [module, target] = found->second;
    tensor.source = std::make_shared<AdaptedTensor>(model, model.at(tensor.name), adapter, *module, target);
    tensor.offset = 0;
    tensor.storage.clear();
  }
  return Checkpoint(std::move(parts));
}

}  // namespace solera::weights
