#include "solera/merge/references.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/process.h"
#include "solera/base/text.h"
#include "solera/checkpoint/hub.h"
#include "solera/checkpoint/remote.h"

namespace solera::merge {
namespace {

using checkpoint::HubName;

Error unsupported(std::string_view what, const Node& node, std::string hint) {
  return usage_error(cat(what, " is not supported yet"), node.where(), std::move(hint));
}

const Node* present(const Node& map, std::string_view key) {
  const Node* node = map.find(key);
  return node && !node->is_null() ? node : nullptr;
}

const std::string& text_of(const Node& node, std::string_view key) {
  if (!node.is_scalar() || node.as_text().empty()) throw usage_error(cat("\"", key, "\" is not a text"), node.where());
  return node.as_text();
}

// "org/name" or "name" of letters, digits and -._: what the hub calls a model. Paths that say they are paths are not.
bool is_hub_name(std::string_view name) {
  if (name.empty() || std::count(name.begin(), name.end(), '/') > 1 || name.ends_with(".safetensors")) return false;
  for (const std::string& piece : split(name, '/'))
    if (piece.empty() || piece.front() == '.' || piece.front() == '~') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.' || c == '/';
  });
}

std::string hub_cache() {
  if (const std::string cache = environment("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const std::string home = environment("HF_HOME"); !home.empty()) return join_path(home, "hub");
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty())
    return join_path(cache, "huggingface/hub");
  if (const std::string home = environment("HOME"); !home.empty()) return join_path(home, ".cache/huggingface/hub");
  return "";
}

// The folder of one revision; "" if the cache does not have it.
std::string cached_snapshot(const HubName& hub) {
  const std::string folder = join_path(hub_cache(), cat("models--", join(split(hub.model, '/'), "--")));
  if (!is_folder(folder)) return "";
  const std::string snapshots = join_path(folder, "snapshots");
  const bool plain = hub.revision.find("..") == std::string::npos && hub.revision.front() != '/';
  if (plain) {
    std::string commit = hub.revision;
    if (const std::string ref = join_path(join_path(folder, "refs"), hub.revision); exists(ref) && !is_folder(ref))
      commit = trim(read_file(ref, 4096));
    if (const std::string snapshot = join_path(snapshots, commit);
        !commit.empty() && commit.find('/') == std::string::npos && is_folder(snapshot))
      return snapshot;
  }
  return "";
}

// That it is there is seen when it is opened.
ModelPlace from_hub(const HubName& hub, const std::string& reference, const std::string& where) {
  try {
    (void)checkpoint::address_of(hub.text());
  } catch (const Error& error) {
    throw io_error(cat(reference, ": no such folder, and not in the Hugging Face cache; ", error.problem()), where,
                   error.hint());
  }
  return {hub.text(), hub.model};
}

}  // namespace

std::string model_reference(const Node& node, std::string_view key) {
  if (node.is_map()) {
    static const std::vector<std::string> kKeys = {"model", "lora", "override_architecture", "path", "revision"};
    require_known_keys(node, kKeys, cat("in \"", key, "\""));
    if (const Node* other = present(node, "override_architecture"))
      throw unsupported("override_architecture", *other, "remove it: no architecture is needed here");
    const Node* inner = present(node, node.find("path") ? "path" : "model");
    if (!inner) throw usage_error(cat("\"", key, "\" names no model"), node.where(), "write {model: FOLDER}");
    std::string path = model_reference(*inner, key);
    if (const Node* revision = present(node, "revision")) path += "@" + text_of(*revision, "revision");
    if (const Node* lora = present(node, "lora")) path += "+" + model_reference(*lora, "lora");
    return path;
  }
  return text_of(node, key);
}

AdapterReference split_adapter(const std::string& reference, const std::string& folder) {
  const auto plus = reference.rfind('+');
  if (plus == std::string::npos || plus == 0 || exists(reference) || exists(join_path(folder, reference)))
    return {reference, ""};
  return {reference.substr(0, plus), reference.substr(plus + 1)};
}

ModelPlace locate_model(const std::string& reference, const std::string& folder, const std::string& where) {
  if (checkpoint::is_hub_path(reference)) return {reference, checkpoint::parse_hub_name(reference).model};
  if (checkpoint::is_remote(reference) || exists(reference)) return {reference, ""};
  if (!reference.starts_with('/'))
    if (const std::string beside = join_path(folder, reference); exists(beside)) return {beside, ""};
  const std::string looked = cat("looked for it in the working folder", folder == "." ? "" : cat(" and in ", folder));

  const auto at = reference.find('@');
  HubName hub{reference.substr(0, at), at == std::string::npos ? "main" : reference.substr(at + 1), ""};
  const Error missing = missing_file(reference);
  if (!hub.revision.empty() && is_hub_name(hub.model)) {
    if (const std::string snapshot = cached_snapshot(hub); !snapshot.empty()) return {snapshot, hub.model};
    // A slip of a name that is here, or a bare name, is most likely not the hub's.
    const bool local = at == std::string::npos && (reference.find('/') == std::string::npos ||
                                                   (!missing.hint().empty() && is_folder(parent_folder(reference))));
    if (!local) return from_hub(hub, reference, where);
  }
  throw io_error(missing.problem(), where, missing.hint().empty() ? looked : missing.hint());
}

}  // namespace solera::merge
