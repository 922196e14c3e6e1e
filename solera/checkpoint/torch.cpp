#include "solera/checkpoint/torch.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"
#include "solera/checkpoint/pickle.h"
#include "solera/checkpoint/strided.h"
#include "solera/checkpoint/zip.h"

namespace solera::checkpoint {
namespace {

constexpr std::uint64_t kMaxPickle = 64u << 20;
constexpr std::size_t kMaxEntries = 1'000'000, kMaxName = 4096, kMaxRank = 64;
constexpr int kMaxDepth = 64;
constexpr std::uint64_t kExpandedBytes = std::uint64_t{1} << 30, kExpandedRatio = 1000;

struct StorageClass {
  std::string_view name;
  std::optional<DType> dtype;  // none: untyped, counted in bytes
};
constexpr std::array kStorages = {
    StorageClass{"torch.DoubleStorage", DType::kF64},
    StorageClass{"torch.FloatStorage", DType::kF32},
    StorageClass{"torch.HalfStorage", DType::kF16},
    StorageClass{"torch.BFloat16Storage", DType::kBF16},
    StorageClass{"torch.LongStorage", DType::kI64},
    StorageClass{"torch.IntStorage", DType::kI32},
    StorageClass{"torch.ShortStorage", DType::kI16},
    StorageClass{"torch.CharStorage", DType::kI8},
    StorageClass{"torch.ByteStorage", DType::kU8},
    StorageClass{"torch.BoolStorage", DType::kBool},
    StorageClass{"torch.storage.UntypedStorage", std::nullopt},
    StorageClass{"torch.UntypedStorage", std::nullopt},
};

constexpr std::string_view kTensor = "torch._utils._rebuild_tensor", kTensor2 = "torch._utils._rebuild_tensor_v2",
                           kTensor3 = "torch._utils._rebuild_tensor_v3", kParameter = "torch._utils._rebuild_parameter",
                           kParameterWithState = "torch._utils._rebuild_parameter_with_state";

std::vector<std::string_view> allowed_names() {
  std::vector<std::string_view> names = {"collections.OrderedDict", kTensor,      kTensor2,      kTensor3, kParameter,
                                         kParameterWithState,       "torch.Size", "torch.device"};
  for (const StorageClass& storage : kStorages) names.push_back(storage.name);
  for (const std::string_view dtype :
       {"torch.float64", "torch.float32", "torch.float16", "torch.bfloat16", "torch.float8_e4m3fn", "torch.float8_e5m2",
        "torch.float8_e8m0fnu", "torch.int64", "torch.int32", "torch.int16", "torch.int8", "torch.uint64",
        "torch.uint32", "torch.uint16", "torch.uint8", "torch.bool"})
    names.push_back(dtype);
  return names;
}

constexpr std::array kWrappers = {std::string_view("state_dict"), std::string_view("model_state_dict"),
                                  std::string_view("model")};

class Reader {
 public:
  Reader(std::shared_ptr<const Source> source, const std::vector<ZipMember>& members, std::string prefix, Pickle pickle)
      : source_(std::move(source)),
        prefix_(std::move(prefix)),
        pickle_(std::move(pickle)),
        holds_(pickle_.objects.size()) {
    for (const ZipMember& member : members) members_.emplace(member.name, &member);
  }

  TorchFile read() {
    const PickleObject& root = pickle_[pickle_.root];
    if (root.kind != PickleKind::kDict)
      throw input_error(is_tensor(root) ? "the archive holds one tensor without a name, not a state dict"
                                        : "the archive does not hold a dictionary of tensors",
                        path());
    const std::optional<std::uint32_t> inner = wrapped(root);
    for (std::size_t i = 0; i < root.items.size(); i += 2) {
      if (!inner)
        add(root.items[i + 1], key_text(root.items[i], ""), 1);
      else if (root.items[i + 1] != *inner)
        skip(key_text(root.items[i], ""));
    }
    if (inner) add_items(pickle_[*inner], "", 1);
    mark_ties();
    return std::move(file_);
  }

 private:
  struct View {
    std::string key;           // of the storage
    std::uint64_t offset = 0;  // in the storage, bytes
    Shape strides;
  };

  const std::string& path() const { return source_->path(); }
  std::string at(const std::string& name) const { return path() + ": " + name; }

  static bool is_tensor(const PickleObject& object) {
    return object.kind == PickleKind::kCall &&
           (object.text == kTensor || object.text == kTensor2 || object.text == kTensor3 || object.text == kParameter ||
            object.text == kParameterWithState);
  }
  static bool is_container(const PickleObject& object) {
    return object.kind == PickleKind::kDict || object.kind == PickleKind::kList || object.kind == PickleKind::kTuple;
  }

  // Is there a tensor at or below this object? Each object is looked at once.
  bool holds(std::uint32_t index, int depth) {
    const PickleObject& object = pickle_[index];
    if (is_tensor(object)) return true;
    if (!is_container(object)) return false;
    if (holds_[index] == Holds::kOpen) throw input_error("the pickle holds a container that contains itself", path());
    if (holds_[index] != Holds::kUnknown) return holds_[index] == Holds::kYes;
    if (depth > kMaxDepth) throw input_error(cat("the pickle is nested more than ", kMaxDepth, " deep"), path());
    holds_[index] = Holds::kOpen;
    bool found = false;
    const std::size_t step = object.kind == PickleKind::kDict ? 2 : 1;
    for (std::size_t i = step - 1; i < object.items.size(); i += step)
      found = holds(object.items[i], depth + 1) || found;
    holds_[index] = found ? Holds::kYes : Holds::kNo;
    return found;
  }

  std::optional<std::uint32_t> wrapped(const PickleObject& root) {
    std::optional<std::uint32_t> inner;
    int count = 0;
    for (std::size_t i = 0; i < root.items.size(); i += 2) {
      const PickleObject &key = pickle_[root.items[i]], &value = pickle_[root.items[i + 1]];
      if (is_tensor(value)) return std::nullopt;
      if (key.kind != PickleKind::kText || std::find(kWrappers.begin(), kWrappers.end(), key.text) == kWrappers.end())
        continue;
      if (value.kind != PickleKind::kDict || !holds(root.items[i + 1], 1)) continue;
      inner = root.items[i + 1];
      ++count;
    }
    return count == 1 ? inner : std::nullopt;
  }

  std::string key_text(std::uint32_t index, const std::string& parent) const {
    const PickleObject& key = pickle_[index];
    if (key.kind == PickleKind::kInteger) return std::to_string(key.integer);
    if (key.kind != PickleKind::kText)
      throw input_error("a key of the dictionary is neither text nor a whole number",
                        parent.empty() ? path() : at(parent));
    return key.text;
  }

  void count_entry(const std::string& name) {
    if (name.size() > kMaxName) throw input_error(cat("a tensor's name has more than ", kMaxName, " bytes"), path());
    name_bytes_ += name.size();
    if (++entries_ > kMaxEntries || name_bytes_ > kMaxEntries * 100)
      throw input_error(cat("the pickle unfolds to more than ", kMaxEntries, " entries or their names to more than ",
                            bytes_text(kMaxEntries * 100)),
                        path());
  }
  void skip(std::string name) {
    count_entry(name);
    file_.skipped.push_back(std::move(name));
  }

  void add(std::uint32_t index, const std::string& name, int depth) {
    const PickleObject& object = pickle_[index];
    if (is_tensor(object)) {
      count_entry(name);
      add_tensor(object, name);
    } else if (holds(index, depth)) {
      add_items(object, name + ".", depth);
    } else {
      skip(name);
    }
  }
  void add_items(const PickleObject& container, const std::string& prefix, int depth) {
    if (depth > kMaxDepth) throw input_error(cat("the pickle is nested more than ", kMaxDepth, " deep"), path());
    if (container.kind == PickleKind::kDict) {
      for (std::size_t i = 0; i < container.items.size(); i += 2)
        add(container.items[i + 1], prefix + key_text(container.items[i], prefix), depth + 1);
    } else {
      for (std::size_t i = 0; i < container.items.size(); ++i)
        add(container.items[i], prefix + std::to_string(i), depth + 1);
    }
  }

  std::int64_t whole(std::uint32_t index, const std::string& name) const {
    if (pickle_[index].kind != PickleKind::kInteger || pickle_[index].integer < 0)
      throw input_error("the tensor is described by something that is not a whole number of at least 0", at(name));
    return pickle_[index].integer;
  }
  Shape sizes(std::uint32_t index, const std::string& name) const {
    const PickleObject& tuple = pickle_[index];
    if (tuple.kind != PickleKind::kTuple || tuple.items.size() > kMaxRank)
      throw input_error("the tensor's shape is not a tuple of at most 64 numbers", at(name));
    Shape result;
    for (const std::uint32_t item : tuple.items) result.push_back(whole(item, name));
    return result;
  }

  std::optional<DType> named_dtype(std::uint32_t index) const {
    return pickle_[index].kind == PickleKind::kGlobal ? parse_dtype(pickle_[index].text) : std::nullopt;
  }

  void add_tensor(const PickleObject& call, const std::string& name) {
    const PickleObject* made = &call;
    while (made->text == kParameter || made->text == kParameterWithState) {
      const PickleObject& arguments = pickle_[made->items.front()];
      if (arguments.items.empty() || !is_tensor(pickle_[arguments.items.front()]))
        throw input_error("the parameter is made of something that is not a tensor", at(name));
      made = &pickle_[arguments.items.front()];
    }
    // storage, offset, size, stride; v2 adds requires_grad and hooks; v3 the dtype too
    const std::vector<std::uint32_t>& arguments = pickle_[made->items.front()].items;
    const bool typed = made->text == kTensor3;
    if (arguments.size() < (typed ? 7u : 4u))
      throw input_error(cat("the tensor is made of ", arguments.size(), " pieces, fewer than ", typed ? 7 : 4),
                        at(name));

    const PickleObject& persistent = pickle_[arguments[0]];
    const PickleObject* id = persistent.kind == PickleKind::kPersistent ? &pickle_[persistent.items.front()] : nullptr;
    if (!id || id->kind != PickleKind::kTuple || id->items.size() < 5 || pickle_[id->items[0]].text != "storage" ||
        pickle_[id->items[1]].kind != PickleKind::kGlobal || pickle_[id->items[2]].kind != PickleKind::kText)
      throw input_error("the tensor's storage is not named as PyTorch names it", at(name));
    const std::string &class_name = pickle_[id->items[1]].text, &key = pickle_[id->items[2]].text;
    const auto storage_class =
        std::find_if(kStorages.begin(), kStorages.end(), [&](const StorageClass& c) { return c.name == class_name; });
    if (storage_class == kStorages.end())
      throw input_error("the tensor is stored as " + class_name + ", which is no storage", at(name));
    const std::optional<DType> dtype = typed ? named_dtype(arguments[6]) : storage_class->dtype;
    if (!dtype.has_value()) throw input_error("the tensor's element type is not known", at(name));

    const auto found = members_.find(prefix_ + "data/" + key);
    if (found == members_.end()) throw input_error("the archive lacks the tensor's storage data/" + key, at(name));
    const ZipMember& member = *found->second;
    const std::uint64_t width = static_cast<std::uint64_t>(bits(*dtype)) / 8;
    const std::uint64_t unit = storage_class->dtype ? static_cast<std::uint64_t>(bits(*storage_class->dtype)) / 8 : 1;
    const auto count = static_cast<std::uint64_t>(whole(id->items[4], name));
    if (count > member.size / unit)
      throw input_error(cat("storage data/", key, " has ", member.size, " bytes, fewer than its ", count,
                            " elements of ", unit, unit == 1 ? " byte" : " bytes", " need"),
                        at(name));

    Tensor tensor;
    tensor.name = name;
    tensor.dtype = *dtype;
    tensor.shape = sizes(arguments[2], name);
    View view{key, 0, sizes(arguments[3], name)};
    const auto first = static_cast<std::uint64_t>(whole(arguments[1], name));
    const auto span = static_cast<std::uint64_t>(reach(tensor.shape, view.strides, at(name)));
    const std::uint64_t room = count * unit / width;
    if (first > room || span > room - first)
      throw input_error(
          cat("the tensor reaches to element ", first, " + ", span, " of storage data/", key, ", which has ", room),
          at(name));
    view.offset = first * width;
    const std::uint64_t bytes = byte_count(tensor.dtype, element_count(tensor.shape));
    if (bytes > kExpandedBytes && bytes / kExpandedRatio > member.size)
      throw input_error(cat("the tensor would expand ", bytes_text(member.size), " to ", bytes_text(bytes)), at(name));

    const std::uint64_t place = member.offset + view.offset;
    if (is_contiguous(tensor.shape, view.strides)) {
      tensor.source = source_;
      tensor.offset = place;
    } else {
      tensor.source = strided_source(source_, place, static_cast<int>(width), tensor.shape, view.strides);
    }
    file_.tensors.push_back(std::move(tensor));
    views_.push_back(std::move(view));
  }

  void mark_ties() {
    std::map<std::tuple<std::string_view, std::uint64_t, int, Shape, Shape>, std::vector<std::size_t>> groups;
    for (std::size_t i = 0; i < views_.size(); ++i)
      if (file_.tensors[i].bytes() > 0)
        groups[{views_[i].key, views_[i].offset, static_cast<int>(file_.tensors[i].dtype), file_.tensors[i].shape,
                views_[i].strides}]
            .push_back(i);
    for (const auto& [view, members] : groups)
      if (members.size() > 1)
        for (const std::size_t i : members) file_.tensors[i].storage = file_.tensors[members.front()].name;
  }

  enum class Holds : std::uint8_t { kUnknown, kOpen, kNo, kYes };
  std::shared_ptr<const Source> source_;
  std::string prefix_;
  Pickle pickle_;
  std::unordered_map<std::string_view, const ZipMember*> members_;
  std::vector<Holds> holds_;
  std::size_t entries_ = 0, name_bytes_ = 0;
  TorchFile file_;
  std::vector<View> views_;  // of file_.tensors
};

void refuse_other_formats(const Source& source) {
  // What torch.save wrote before 1.6: the number 0x1950a86a20f9469cfc6c as a pickle of its own.
  constexpr std::string_view kLegacy("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e", 15);
  std::vector<std::byte> scratch;
  const auto head = source.view(0, std::min<std::uint64_t>(source.size(), kLegacy.size()), scratch);
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  if (text == kLegacy)
    throw input_error("the file has the format that PyTorch wrote before 1.6", source.path(),
                      "load it with torch.load and save it again");
  if (text.size() >= 2 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5)
    throw input_error("the file is a plain pickle, not a PyTorch archive", source.path(), "save it with torch.save");
}

}  // namespace

TorchFile parse_torch(std::shared_ptr<const Source> source) {
  refuse_other_formats(*source);
  const std::string& path = source->path();
  const std::vector<ZipMember> members = read_zip_directory(*source);
  const ZipMember *pickled = nullptr, *order = nullptr;
  std::string prefix;
  for (const ZipMember& member : members) {
    const std::size_t slash = member.name.find('/');
    if (slash != member.name.npos && member.name.substr(slash + 1) == "data.pkl") {
      if (pickled) throw input_error("the archive has two data.pkl", path);
      pickled = &member;
      prefix = member.name.substr(0, slash + 1);
    }
  }
  if (!pickled) throw input_error("the zip archive has no data.pkl: it is not from torch.save", path);
  for (const ZipMember& member : members) {
    if (!member.name.starts_with(prefix)) continue;
    const std::string_view name = std::string_view(member.name).substr(prefix.size());
    if (name == "constants.pkl" || name.starts_with("code/"))
      throw input_error("the archive is a TorchScript program", path, "save the model's state_dict() alone");
    if (member.method != 0)
      throw input_error("the member is compressed, which torch.save never does", path + ": " + member.name);
    if (name == "byteorder") order = &member;
  }
  if (order) {
    const std::vector<std::byte> text = order->size <= 16 ? read_zip_member(*source, *order) : std::vector<std::byte>();
    if (std::string_view(reinterpret_cast<const char*>(text.data()), text.size()) != "little")
      throw input_error("the archive's byte order is not little", path);
  }
  if (pickled->size > kMaxPickle)
    throw input_error(cat("the pickle has ", bytes_text(pickled->size), ", more than ", bytes_text(kMaxPickle)),
                      path + ": " + pickled->name);
  static const std::vector<std::string_view> kAllowed = allowed_names();
  const std::vector<std::byte> bytes = read_zip_member(*source, *pickled);
  TorchFile file = Reader(source, members, prefix, read_pickle(bytes, kAllowed, path + ": " + pickled->name)).read();
  file.header_hash = zip_hash(members);
  return file;
}

}  // namespace solera::checkpoint
