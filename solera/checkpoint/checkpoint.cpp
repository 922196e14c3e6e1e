#include "solera/checkpoint/checkpoint.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/checkpoint/gguf.h"
#include "solera/checkpoint/gguf_model.h"
#include "solera/checkpoint/model_folder.h"
#include "solera/checkpoint/npz.h"
#include "solera/checkpoint/remote.h"
#include "solera/checkpoint/safetensors.h"
#include "solera/checkpoint/torch.h"

namespace solera::checkpoint {
namespace {

// The formats of single files
// ---------------------------------------------------------------------------------------------

struct FileContent {
  std::vector<Tensor> tensors;
  std::map<std::string, std::string> metadata;
  std::string header_hash;
  Node config = {};
  std::vector<std::string> warnings = {};
};

FileContent from_safetensors(std::shared_ptr<const Source> source, const OpenOptions&) {
  SafetensorsFile file = parse_safetensors(std::move(source));
  return {std::move(file.tensors), std::move(file.metadata), std::move(file.header_hash)};
}

FileContent from_torch(std::shared_ptr<const Source> source, const OpenOptions&) {
  TorchFile file = parse_torch(std::move(source));
  return {std::move(file.tensors), {}, std::move(file.header_hash)};
}

FileContent from_npz(std::shared_ptr<const Source> source, const OpenOptions&) {
  NpzFile file = parse_npz(std::move(source));
  return {std::move(file.tensors), {}, std::move(file.header_hash)};
}

FileContent from_gguf(std::shared_ptr<const Source> source, const OpenOptions& options) {
  const std::string path = source->path();
  GgufFile file = parse_gguf(std::move(source));
  FileContent content = {{}, {}, std::move(file.header_hash)};
  for (const auto& [key, value] : file.metadata) content.metadata.emplace(key, value.summary());
  if (options.as_stored) {
    content.tensors = std::move(file.tensors);
    return content;
  }
  HuggingFaceModel model = to_hugging_face(std::move(file), path);
  content.tensors = std::move(model.tensors);
  content.config = std::move(model.config);
  content.warnings = std::move(model.warnings);
  return content;
}

// `head`: the file's first bytes, at most kHeadBytes.
constexpr std::uint64_t kHeadBytes = 512;

bool is_zip(std::string_view head) { return head.starts_with("PK\3\4") || head.starts_with("PK\5\6"); }

// The first member of an .npz is an array; the local header has its name's length at 26 and the name at 30.
bool first_member_is_array(std::string_view head) {
  if (head.size() < 30) return false;
  const std::size_t length = static_cast<unsigned char>(head[26]) + 256u * static_cast<unsigned char>(head[27]);
  return head.substr(30, length).ends_with(".npy");
}

bool looks_like_safetensors(std::string_view head, std::string_view path) {
  return path.ends_with(".safetensors") ||
         (head.size() > 8 && head[8] == '{' && head.substr(5, 3) == std::string_view("\0\0\0", 3));
}

bool looks_like_gguf(std::string_view head, std::string_view path) {
  return head.starts_with("GGUF") || path.ends_with(".gguf");
}

bool looks_like_npz(std::string_view head, std::string_view path) {
  return is_zip(head) && (first_member_is_array(head) || path.ends_with(".npz"));
}

// Also pickles and the tar that came before them: parse_torch refuses these by name.
bool looks_like_torch(std::string_view head, std::string_view path) {
  return is_zip(head) || head.starts_with('\x80') || path.ends_with(".pt") || path.ends_with(".pth") ||
         path.ends_with(".bin") || path.ends_with(".ckpt");
}

struct FormatRow {
  Format format;
  bool (*matches)(std::string_view head, std::string_view path);
  FileContent (*parse)(std::shared_ptr<const Source> source, const OpenOptions& options);
};

// The first row that matches is taken.
constexpr std::array<FormatRow, 4> kFormats = {{
    {Format::kGguf, looks_like_gguf, from_gguf},
    {Format::kNpz, looks_like_npz, from_npz},
    {Format::kSafetensors, looks_like_safetensors, from_safetensors},
    {Format::kTorch, looks_like_torch, from_torch},
}};

bool is_index(std::string_view path) { return path.ends_with(".json"); }

void add_file(const std::string& path, const OpenOptions& options, Checkpoint::Parts& parts) {
  std::shared_ptr<const Source> source = open_file(path, options.access);
  const std::string name = source->path(), version = source->version();  // the path, of a URL what may be shown of it
  const std::uint64_t size = source->size();
  std::vector<std::byte> scratch;
  const auto bytes = source->view(0, std::min(kHeadBytes, size), scratch);
  const std::string head(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (head.starts_with("version https://git-lfs")) {
    throw input_error(cat(name, " is a Git LFS pointer, not the file itself"), "", "run `git lfs pull`");
  }
  const auto row = std::find_if(kFormats.begin(), kFormats.end(),
                                [&](const FormatRow& format) { return format.matches(head, name); });
  if (row == kFormats.end()) throw input_error(cat(name, " is not a safetensors, GGUF, PyTorch or NumPy .npz file"));

  FileContent content = row->parse(std::move(source), options);
  parts.format = row->format;
  parts.files.push_back(version.empty() ? identify(path, std::move(content.header_hash))
                                        : FileIdentity{name, size, 0, std::move(content.header_hash), version});
  parts.metadata.merge(content.metadata);
  parts.warnings.insert(parts.warnings.end(), content.warnings.begin(), content.warnings.end());
  if (parts.config.is_null()) parts.config = std::move(content.config);  // a folder's config.json comes first
  if (parts.tensors.empty()) {
    parts.tensors = std::move(content.tensors);
  } else {
    parts.tensors.insert(parts.tensors.end(), std::make_move_iterator(content.tensors.begin()),
                         std::make_move_iterator(content.tensors.end()));
  }
}

}  // namespace

// What a tensor is
// --------------------------------------------------------------------------------------------------------

std::int64_t element_count(std::span<const std::int64_t> shape) {
  // The product of all extents but zeros must fit, so that no order of multiplying them overflows.
  std::int64_t count = 1;
  bool empty = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) throw input_error(cat("shape ", shape_text(shape), " has a negative extent"));
    if (extent == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(count, extent, &count)) {
      throw input_error(cat("shape ", shape_text(shape), " has more entries than 63 bits count"));
    }
  }
  return empty ? 0 : count;
}

std::uint64_t byte_count(DType dtype, std::int64_t elements) {
  if (dtype == DType::kF4) {
    if (elements % 2 != 0) throw input_error(cat(elements, " entries of F4 do not fill whole bytes"));
    return static_cast<std::uint64_t>(elements) / 2;
  }
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::uint64_t>(elements), static_cast<std::uint64_t>(bits(dtype) / 8),
                             &bytes) ||
      bytes > INT64_MAX) {
    throw input_error(cat(elements, " entries of ", name(dtype), " take more bytes than 63 bits count"));
  }
  return bytes;
}

// Checkpoint
// --------------------------------------------------------------------------------------------------------------

Checkpoint::Checkpoint(Parts parts) {
  std::sort(parts.tensors.begin(), parts.tensors.end(),
            [](const Tensor& a, const Tensor& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(parts.tensors.begin(), parts.tensors.end(),
                                        [](const Tensor& a, const Tensor& b) { return a.name == b.name; });
  if (twice != parts.tensors.end()) {
    const auto file_of = [](const Tensor& tensor) { return tensor.source ? file_name(tensor.source->path()) : ""; };
    const std::string first = file_of(twice[0]), second = file_of(twice[1]);
    throw input_error(
        first == second ? cat(twice->name, " appears twice") : cat(twice->name, " is in both ", first, " and ", second),
        parts.path);
  }
  for (const Tensor& tensor : parts.tensors) {
    if (tensor.source && (parts.sources.empty() || parts.sources.back() != tensor.source)) {
      parts.sources.push_back(tensor.source);
    }
  }
  std::sort(parts.sources.begin(), parts.sources.end());
  parts.sources.erase(std::unique(parts.sources.begin(), parts.sources.end()), parts.sources.end());
  parts_ = std::make_shared<const Parts>(std::move(parts));
}

const std::string& Checkpoint::path() const { return parts_->path; }
Format Checkpoint::format() const { return parts_->format; }
bool Checkpoint::is_folder() const { return parts_->is_folder; }
std::span<const Tensor> Checkpoint::tensors() const { return parts_->tensors; }
std::span<const FileIdentity> Checkpoint::files() const { return parts_->files; }
const std::map<std::string, std::string>& Checkpoint::metadata() const { return parts_->metadata; }
std::span<const std::string> Checkpoint::warnings() const { return parts_->warnings; }
const Node& Checkpoint::config() const { return parts_->config; }
std::span<const std::string> Checkpoint::side_files() const { return parts_->side_files; }
std::string Checkpoint::folder() const { return parts_->remote ? parts_->remote->local() : parts_->folder; }
const Checkpoint::Parts& Checkpoint::parts() const { return *parts_; }

const Tensor* Checkpoint::find(std::string_view name) const {
  const auto found =
      std::lower_bound(parts_->tensors.begin(), parts_->tensors.end(), name,
                       [](const Tensor& tensor, std::string_view wanted) { return tensor.name < wanted; });
  return found != parts_->tensors.end() && found->name == name ? &*found : nullptr;
}

const Tensor& Checkpoint::at(std::string_view name) const {
  if (const Tensor* tensor = find(name)) return *tensor;
  std::vector<std::string> names;
  for (const Tensor& tensor : parts_->tensors) names.push_back(tensor.name);
  throw input_error(cat("no tensor ", name), path(), did_you_mean(name, names));
}

std::uint64_t Checkpoint::tensor_bytes() const {
  std::uint64_t sum = 0;
  for (const Tensor& tensor : parts_->tensors) sum += tensor.bytes();
  return sum;
}

std::uint64_t Checkpoint::stored_bytes() const {
  std::uint64_t sum = 0;
  for (const Tensor& tensor : parts_->tensors) sum += tensor.stored_bytes();
  return sum;
}

std::span<const std::byte> Checkpoint::read(const Tensor& tensor, std::uint64_t first, std::uint64_t count,
                                            std::vector<std::byte>& scratch) const {
  const std::uint64_t bytes = tensor.bytes();
  if (first > bytes || count > bytes - first) {
    throw usage_error(
        cat(count, " bytes at ", first, " pass the end of ", tensor.name, ", which has ", bytes, " bytes"),
        tensor.source->path());
  }
  tensor.source->expect(tensor.offset, bytes);  // who reads a part of a tensor reads it all
  return tensor.source->view(tensor.offset + first, count, scratch);
}

void Checkpoint::check() const {
  for (const auto& source : parts_->sources) source->check();
  for (const FileIdentity& file : parts_->files) {
    if (!file.version.empty()) {
      require_same_version(file.path, file.version);
      continue;
    }
    const FileIdentity now = identify(file.path, "");
    if (now.size != file.size || now.modified_ns != file.modified_ns) {
      throw io_error(cat(file.path, ": the file changed while it was read"), "",
                     "run again when nothing else writes to it");
    }
  }
}

FileIdentity identify(const std::string& path, std::string header_hash) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) throw missing_file(path);
    throw io_error(cat("cannot look at the file: ", errno_text(errno)), path);
  }
  return {path, static_cast<std::uint64_t>(status.st_size),
          static_cast<std::int64_t>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec,
          std::move(header_hash), ""};
}

namespace {

// The weights of `parts` by the index of their shards.
Checkpoint open_shards(const ShardIndex& index, FileIdentity identity, const OpenOptions& options,
                       Checkpoint::Parts parts) {
  parts.files.push_back(std::move(identity));
  const std::string folder = parent_folder(index.path);
  for (const std::string& shard : index.shards) add_file(join_path(folder, shard), options, parts);
  Checkpoint model(std::move(parts));
  require_agreement(index, model.tensors());
  return model;
}

// Also of the index of a folder.
Checkpoint open_remote_checkpoint(const std::string& path, const OpenOptions& options) {
  Checkpoint::Parts parts;
  std::string weights = path;
  const bool index = is_remote_file(path) && is_index(path);
  if (index || !is_remote_file(path)) {
    const auto folder = RemoteFolder::open(index ? parent_folder(path) : path);
    weights = index ? join_path(folder->path(), file_name(path)) : find_weights(folder->path(), folder->names());
    parts.is_folder = true;
    for (const std::string& name : folder->names())
      if (is_side_file(name)) parts.side_files.push_back(name);
    const std::string config = join_path(folder->path(), "config.json");
    if (folder->has("config.json")) parts.config = parse_json(read_remote(config), config);
    parts.path = folder->path();
    parts.remote = folder;
  }
  if (!is_index(weights)) {
    add_file(weights, options, parts);
    if (!parts.is_folder) parts.path = parts.files.back().path;
    parts.folder = parent_folder(parts.files.back().path);
    return Checkpoint(std::move(parts));
  }
  std::string version;
  const std::string text = read_remote(weights, &version);
  const ShardIndex read = parse_index(text, weights);
  return open_shards(read, {weights, text.size(), 0, read.text_hash, version}, options, std::move(parts));
}

}  // namespace

Checkpoint open_checkpoint(const std::string& path, const OpenOptions& options) {
  if (is_remote(path)) return open_remote_checkpoint(path, options);
  if (!exists(path)) throw missing_file(path);
  Checkpoint::Parts parts;
  parts.path = path;
  const bool folder = solera::is_folder(path);
  const std::string weights = folder ? find_weights(path) : path;
  parts.folder = folder ? path : parent_folder(path);
  parts.is_folder = folder || is_index(weights);
  if (parts.is_folder) {
    parts.side_files = find_side_files(parts.folder);
    const std::string config = join_path(parts.folder, "config.json");
    if (exists(config)) parts.config = read_json(config);
  }
  if (!is_index(weights)) {
    add_file(weights, options, parts);
    return Checkpoint(std::move(parts));
  }
  const ShardIndex index = read_index(weights);
  return open_shards(index, identify(weights, index.text_hash), options, std::move(parts));
}

void require_unquantized(const Checkpoint& model, std::string_view purpose) {
  constexpr const char* kHint = "use the model that it was quantized from";
  if (const Node* settings = model.config().is_map() ? model.config().find("quantization_config") : nullptr;
      settings != nullptr && !settings->is_null()) {
    const Node* method = settings->is_map() ? settings->find("quant_method") : nullptr;
    const std::string by = method != nullptr && method->is_scalar() ? cat(" (", method->as_text(), ")") : "";
    throw input_error(cat(purpose, ": ", model.path(), " is quantized", by),
                      join_path(model.parts().folder, "config.json"), kHint);
  }
  // Scales mean packed codes only beside integers: some models have a parameter of that name.
  const auto is_code = [&](const std::string& tensor) {
    const Tensor* found = model.find(tensor);
    return found != nullptr && is_integer(found->dtype);
  };
  for (const Tensor& tensor : model.tensors()) {
    const std::string& text = tensor.name;
    const auto has_codes = [&](std::string_view suffix, std::initializer_list<const char*> siblings) {
      if (!text.ends_with(suffix)) return false;
      const std::string stem = text.substr(0, text.size() - suffix.size());
      return std::any_of(siblings.begin(), siblings.end(), [&](const char* end) { return is_code(stem + end); });
    };
    if (tensor.dtype == DType::kF8E8M0 || tensor.dtype == DType::kF4 || text.ends_with("_scale_inv") ||
        has_codes(".scales", {".qweight", ".qzeros", ".weight"}) || has_codes("_scales", {"_blocks"})) {
      throw input_error(cat(purpose, ": ", text, " (", name(tensor.dtype), ") belongs to a quantized model"),
                        tensor.source->path(), kHint);
    }
  }
}

}  // namespace solera::checkpoint
