#include "solera/checkpoint/model_folder.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/hash.h"
#include "solera/base/pattern.h"
#include "solera/base/text.h"
#include "solera/checkpoint/remote.h"
#include "solera/checkpoint/url.h"

namespace solera::checkpoint {
namespace {

constexpr std::uint64_t kMaxIndexBytes = 100'000'000;
constexpr std::string_view kIndexSuffix = ".index.json";

// What belongs to a model beside its weights. README.md is left out on purpose: it describes the input, not the output.
constexpr std::array<std::string_view, 20> kSideFiles = {
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",  // SentencePiece
    "*.tiktoken",
    "tekken.json",
    "chat_template.*",
    "preprocessor_config.json",
    "image_processor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "*.py",
    "LICEN[CS]E*",
    "NOTICE*",
    "USE_POLICY*",
};
constexpr std::string_view kTemplateFolder = "chat_templates";

bool has(const std::vector<std::string>& names, std::string_view name) {
  return std::binary_search(names.begin(), names.end(), name);
}

std::vector<std::string> ending_with(const std::vector<std::string>& names, std::string_view suffix) {
  std::vector<std::string> result;
  for (const std::string& name : names) {
    if (name.ends_with(suffix) && !name.starts_with('.') && !name.starts_with("adapter_model")) result.push_back(name);
  }
  return result;
}

std::string listed(std::vector<std::string> names) {
  constexpr std::size_t kMost = 5;
  const std::size_t more = names.size() > kMost ? names.size() - kMost : 0;
  names.resize(names.size() - more);
  const std::string text = join(names, ", ");
  return more > 0 ? cat(text, " and ", more, " more") : text;
}

// Hub caches keep every file as a link into the blobs beside the snapshots; any other link out of the folder is not
// followed.
bool stays_inside(const std::string& folder, const std::string& path) {
  const auto within = [target = canonical(path)](const std::string& root) {
    return target.starts_with(root.ends_with('/') ? root : root + '/');
  };
  const std::string real = canonical(folder);
  if (within(real)) return true;
  const std::string snapshots = parent_folder(real);
  return file_name(snapshots) == "snapshots" && within(join_path(parent_folder(snapshots), "blobs"));
}

void require_plain_shard(const std::string& folder, const std::string& shard, const std::string& where) {
  if (!is_plain_path(shard) || (is_remote(folder) && percent_encoded(shard) != shard)) {
    throw input_error(cat("the index names ", to_json(Node::text(shard)), ", which is not a path inside its folder"),
                      where);
  }
  if (is_remote(folder)) return;  // opening it says whether it is there
  const std::string path = join_path(folder, shard);
  if (!exists(path)) {
    throw input_error(cat("the index names ", shard, ", which is not there"), where, "the folder is incomplete");
  }
  if (!stays_inside(folder, path)) {
    throw input_error(cat("the index names ", shard, ", a link that leaves its folder"), where,
                      "put the file itself in its place");
  }
}

}  // namespace

bool is_plain_path(std::string_view name) {
  const std::vector<std::string> pieces = split(name, '/');
  return name.find('\0') == std::string_view::npos &&
         std::none_of(pieces.begin(), pieces.end(),
                      [](const std::string& piece) { return piece.empty() || piece == "." || piece == ".."; });
}

std::string find_weights(const std::string& folder) { return find_weights(folder, list_folder(folder)); }

std::string find_weights(const std::string& folder, const std::vector<std::string>& names) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"}) {
    if (has(names, name)) return join_path(folder, name);
  }
  for (const std::string& suffix : {cat(".safetensors", kIndexSuffix), std::string(".safetensors")}) {
    const std::vector<std::string> found = ending_with(names, suffix);
    if (found.size() == 1) return join_path(folder, found[0]);
    if (found.size() > 1) {
      throw input_error(cat(folder, " has ", found.size(), " files *", suffix, " and no model.safetensors",
                            suffix.ends_with(kIndexSuffix) ? "" : " or index", ": ", listed(found)),
                        "", "name one of them");
    }
  }
  for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (has(names, name)) return join_path(folder, name);
  }
  for (const char* name : {"adapter_model.safetensors", "adapter_model.bin"}) {
    if (has(names, name)) {
      throw input_error(cat(folder, " is an adapter (", name, "), not a whole model"), "",
                        "merge it into its base model first");
    }
  }
  if (const std::vector<std::string> found = ending_with(names, ".gguf"); !found.empty()) {
    if (found.size() == 1) return join_path(folder, found[0]);
    throw input_error(cat(folder, " has ", found.size(), " GGUF files: ", listed(found)), "", "name one of them");
  }
  throw input_error(cat(folder, " holds no model: no model.safetensors, pytorch_model.bin or index of either"));
}

ShardIndex read_index(const std::string& path) { return parse_index(read_file(path, kMaxIndexBytes), path); }

ShardIndex parse_index(std::string_view text, const std::string& path) {
  const Node root = parse_json(text, path);
  const Node* map = root.is_map() ? root.find("weight_map") : nullptr;
  if (map == nullptr) throw input_error("not an index of shards: no weight_map", path);
  if (!map->is_map() || map->entries().empty()) throw input_error("weight_map names no tensor", path);

  ShardIndex index;
  index.path = path;
  index.text_hash = hash_text(text);
  index.shards.reserve(map->entries().size());
  for (const auto& [tensor, shard] : map->entries()) index.shards.push_back(shard.as_text());
  std::sort(index.shards.begin(), index.shards.end());
  index.shards.erase(std::unique(index.shards.begin(), index.shards.end()), index.shards.end());
  for (const std::string& shard : index.shards) require_plain_shard(parent_folder(path), shard, path);

  index.places.reserve(map->entries().size());
  for (const auto& [tensor, shard] : map->entries()) {
    const auto found = std::lower_bound(index.shards.begin(), index.shards.end(), shard.as_text());
    index.places.emplace_back(tensor, static_cast<std::size_t>(found - index.shards.begin()));
  }
  std::sort(index.places.begin(), index.places.end());
  return index;
}

void require_agreement(const ShardIndex& index, std::span<const Tensor> tensors) {
  const std::string folder = parent_folder(index.path);
  auto at = tensors.begin();
  for (const auto& [name, shard] : index.places) {
    while (at != tensors.end() && at->name < name) ++at;
    const bool there = at != tensors.end() && at->name == name;
    if (there && at->source->path() == join_path(folder, index.shards[shard])) continue;
    throw input_error(cat(name, ": the index places it in ", index.shards[shard], ", but it is in ",
                          there ? file_name(at->source->path()) : "no shard"),
                      index.path);
  }
}

std::span<const std::string_view> side_file_patterns() { return kSideFiles; }

bool is_side_file(const std::string& name) {
  static const std::vector<Pattern> patterns = [] {
    std::vector<Pattern> result;
    for (const std::string_view text : kSideFiles) result.emplace_back(std::string(text));
    return result;
  }();
  if (const auto slash = name.find('/'); slash != std::string::npos)
    return name.substr(0, slash) == kTemplateFolder && name.find('/', slash + 1) == std::string::npos &&
           name.ends_with(".jinja");
  return selected(name, patterns, {});
}

std::vector<std::string> find_side_files(const std::string& folder) {
  std::vector<std::string> result;
  for (const std::string& name : list_folder(folder)) {
    const std::string path = join_path(folder, name);
    if (name == kTemplateFolder && is_folder(path)) {
      for (const std::string& entry : list_folder(path)) {
        if (is_side_file(join_path(name, entry))) result.push_back(join_path(name, entry));
      }
    } else if (is_side_file(name) && !is_folder(path)) {
      result.push_back(name);
    }
  }
  std::sort(result.begin(), result.end());
  return result;
}

}  // namespace solera::checkpoint
