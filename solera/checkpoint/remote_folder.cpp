#include <algorithm>
#include <array>
#include <map>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/checkpoint/hub.h"
#include "solera/checkpoint/model_folder.h"
#include "solera/checkpoint/remote.h"
#include "solera/checkpoint/remote_cache.h"

namespace solera::checkpoint {
namespace {

constexpr int kConnections = 8;
constexpr std::uint64_t kMaxWholeBytes = 1u << 30;

// A server lists no folder: these are asked for, and the first six decide which weights are taken.
constexpr std::array<std::string_view, 38> kUsualNames = {
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "adapter_model.safetensors",
    "adapter_config.json",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "vocab.bpe",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "source.spm",
    "target.spm",
    "sentencepiece.bpe.model",
    "tekken.json",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "image_processor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "LICENSE",
    "LICENSE.txt",
    "LICENSE.md",
    "LICENCE",
    "NOTICE",
    "NOTICE.txt",
    "NOTICE.md",
    "USE_POLICY.md",
    "Notice.txt",
    "license.txt",
};

std::vector<std::string> names_there(const std::string& folder) {
  std::array<bool, kUsualNames.size()> there = {};
  Pool(kConnections).for_each(static_cast<std::int64_t>(kUsualNames.size()), [&](std::int64_t i, int) {
    const auto k = static_cast<std::size_t>(i);
    const Address address = address_of(join_path(folder, kUsualNames[k]));
    there[k] = probe(address, true).has_value();  // some stores answer 403 for what is not there
  });
  std::vector<std::string> names;
  for (std::size_t k = 0; k < there.size(); ++k)
    if (there[k]) names.emplace_back(kUsualNames[k]);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> below(const std::vector<std::string>& files, const std::string& folder) {
  std::vector<std::string> names;
  const std::string prefix = folder.empty() ? "" : folder + "/";
  for (const std::string& file : files)
    if (file.starts_with(prefix) && is_plain_path(file)) names.push_back(file.substr(prefix.size()));
  return names;
}

}  // namespace

bool is_remote(std::string_view path) {
  return path.starts_with("https://") || path.starts_with("http://") || is_hub_path(path);
}

bool is_remote_file(std::string_view path) {
  if (!is_remote(path)) return false;
  path = path.substr(0, path.find_first_of("?#"));
  constexpr std::array<std::string_view, 8> kEndings = {".safetensors", ".gguf", ".npz",  ".pt",
                                                        ".pth",         ".bin",  ".ckpt", ".json"};
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return std::any_of(kEndings.begin(), kEndings.end(), [&](std::string_view end) { return name.ends_with(end); }) &&
         !(is_hub_path(path) && parse_hub_name(path).file.empty());
}

std::string canonical_remote(const std::string& path) {
  if (is_hub_path(path)) return parse_hub_name(path).text();
  std::string name = parse_url(path).shown();
  while (name.ends_with('/')) name.pop_back();
  return name;
}

std::string read_remote(const std::string& path, std::string* version) {
  const Address address = address_of(path);
  const KeptFile kept = kept_file(address.url.text());
  auto file = fetch_whole(address, kMaxWholeBytes, kept.version);
  if (!file) throw io_error("the server has no such file", address.name);
  if (version) *version = file->version;
  if (file->unchanged) return kept.content;
  keep_file(address.url.text(), {file->content, file->version});
  return std::move(file->content);
}

RemoteFolder::RemoteFolder(const std::string& path) {
  if (is_hub_path(path)) {
    HubName name = parse_hub_name(path);
    const HubListing listing = list_hub(name);
    name.revision = listing.commit;
    path_ = name.text();
    names_ = below(listing.files, name.file);
    if (names_.empty()) throw io_error("the hub has no such folder", path);
    return;
  }
  const Url url = parse_url(path);
  if (!url.query.empty())
    throw usage_error("a folder's URL has no query", url.shown(), "give the URL of the file itself");
  path_ = canonical_remote(path);
  const bool hub = url.origin() == hub_endpoint().origin();
  if (hub && url.path.find("/resolve/") == std::string::npos)
    throw usage_error("this is the page of a model, not its folder", path_, cat("write hf:/", url.path));
  names_ = names_there(path_);
  if (!names_.empty()) return;
  (void)probe(address_of(join_path(path_, kUsualNames.front())));  // says so if access is what is missing
  throw io_error("the server has no file of a model in this folder: no config.json, model.safetensors or its index",
                 path_, "give the URL of the file itself");
}

std::shared_ptr<const RemoteFolder> RemoteFolder::open(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<const RemoteFolder>> known;
  const std::lock_guard lock(mutex);
  const std::string name = canonical_remote(path);
  if (auto folder = known[name].lock()) return folder;
  auto folder = std::make_shared<const RemoteFolder>(path);
  known[name] = known[folder->path()] = folder;
  return folder;
}

bool RemoteFolder::has(std::string_view name) const { return std::binary_search(names_.begin(), names_.end(), name); }

const std::string& RemoteFolder::local() const {
  std::call_once(fetched_, [this] {
    std::vector<std::string> wanted;
    for (const std::string& name : names_)
      if (is_side_file(name)) wanted.push_back(name);
    Pool(kConnections).for_each(static_cast<std::int64_t>(wanted.size()), [&](std::int64_t i, int) {
      const std::string& name = wanted[static_cast<std::size_t>(i)];
      const std::string target = local_ / name;
      make_folders(parent_folder(target));
      write_atomically(target, read_remote(join_path(path_, percent_encoded(name))));
    });
  });
  return local_.path();
}

}  // namespace solera::checkpoint
