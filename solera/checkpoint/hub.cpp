#include "solera/checkpoint/hub.h"

#include <algorithm>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/process.h"
#include "solera/base/text.h"

namespace solera::checkpoint {
namespace {

constexpr std::string_view kScheme = "hf://";
constexpr std::uint64_t kMaxListingBytes = 100'000'000;

bool is_on(const std::string& value) { return value == "1" || value == "ON" || value == "YES" || value == "TRUE"; }

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

std::string token_file() {
  if (const std::string path = environment("HF_TOKEN_PATH"); !path.empty()) return path;
  if (const std::string home = environment("HF_HOME"); !home.empty()) return join_path(home, "token");
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty())
    return join_path(cache, "huggingface/token");
  if (const std::string home = environment("HOME"); !home.empty()) return join_path(home, ".cache/huggingface/token");
  return "";
}

// A line break in it would end the header.
std::string hub_token() {
  std::string token(trim(environment("HF_TOKEN")));
  if (const std::string path = token_file(); token.empty() && !path.empty() && exists(path) && !is_folder(path))
    token = trim(read_file(path, 65536));
  const bool plain = std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!plain) throw usage_error("the Hugging Face token has a character that no token has", "", "set HF_TOKEN anew");
  return token;
}

bool is_piece(std::string_view piece) {
  return !piece.empty() && piece.front() != '.' && std::all_of(piece.begin(), piece.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

}  // namespace

bool is_hub_path(std::string_view text) { return text.starts_with(kScheme); }

std::string HubName::text() const {
  return cat(kScheme, model, "@", replaced(revision, "/", "%2F"), file.empty() ? "" : "/", file);
}

HubName parse_hub_name(std::string_view text) {
  const std::string whole(text);
  const auto refused = [&](std::string_view why) {
    return usage_error(cat(whole, " ", why), "", "write hf://ORG/NAME, or hf://ORG/NAME@REVISION");
  };
  std::vector<std::string> pieces = split(text.substr(kScheme.size()), '/');
  while (!pieces.empty() && pieces.back().empty()) pieces.pop_back();
  if (pieces.empty()) throw refused("names no model");
  if (pieces.front() == "datasets" || pieces.front() == "spaces") throw refused("is no model");
  HubName name;
  // The revision follows the model's name; a model may have no organization.
  std::size_t used = pieces.front().find('@') != std::string::npos || pieces.size() == 1 ? 1 : 2;
  name.model = join(std::span(pieces).first(used), "/");
  if (const auto at = name.model.find('@'); at != std::string::npos) {
    name.revision = replaced(name.model.substr(at + 1), "%2F", "/");
    name.model.resize(at);
    if (name.revision == "refs" && pieces.size() >= used + 2) {  // refs/pr/1, as the hub writes it
      name.revision = cat("refs/", pieces[used], "/", pieces[used + 1]);
      used += 2;
    }
  }
  for (const std::string& piece : split(name.model, '/'))
    if (!is_piece(piece)) throw refused("names no model");
  for (const std::string& piece : split(name.revision, '/'))
    if (!is_piece(piece)) throw refused("has no valid revision");
  for (std::size_t i = used; i < pieces.size(); ++i)
    if (pieces[i].empty() || pieces[i] == "." || pieces[i] == "..") throw refused("has no valid file");
  name.file = join(std::span(pieces).subspan(used), "/");
  return name;
}

Url hub_endpoint() {
  const std::string set = environment("HF_ENDPOINT");
  return parse_url(set.empty() ? "https://huggingface.co" : set);
}

Address hub_address(Url url, std::string name) {
  Address address{std::move(url), std::move(name), "", false};
  if (address.url.origin() != hub_endpoint().origin()) return address;
  if (is_on(upper(environment("HF_HUB_OFFLINE"))))
    throw usage_error("HF_HUB_OFFLINE forbids to ask the Hugging Face hub", address.name,
                      "unset it, or give the model's folder");
  address.hub = true;
  address.token = hub_token();
  return address;
}

namespace {

Address below_endpoint(const std::string& path, std::string name) {
  Url url = hub_endpoint();
  if (url.path.ends_with('/')) url.path.pop_back();
  url.path += path;
  return hub_address(std::move(url), std::move(name));
}

}  // namespace

Address hub_file(const HubName& name) {
  const std::string revision = replaced(percent_encoded(name.revision), "/", "%2F");
  return below_endpoint(cat("/", name.model, "/resolve/", revision, "/", percent_encoded(name.file)), name.text());
}

Address address_of(const std::string& path) {
  if (is_hub_path(path)) return hub_file(parse_hub_name(path));
  return hub_address(parse_url(path), path.substr(0, path.find_first_of("?#")));
}

HubListing parse_hub_listing(std::string_view json, const std::string& where) {
  const Node root = parse_json(json, where);
  const Node* commit = root.is_map() ? root.find("sha") : nullptr;
  const Node* files = root.is_map() ? root.find("siblings") : nullptr;
  if (!commit || !commit->is_scalar() || !is_piece(commit->as_text()) || !files || !files->is_list())
    throw input_error("the hub's answer is no list of a model's files", where);
  HubListing listing;
  listing.commit = commit->as_text();
  for (const Node& file : files->items())
    if (const Node* name = file.is_map() ? file.find("rfilename") : nullptr; name && name->is_scalar())
      listing.files.push_back(name->as_text());
  std::sort(listing.files.begin(), listing.files.end());
  return listing;
}

HubListing list_hub(const HubName& name) {
  const std::string revision = replaced(percent_encoded(name.revision), "/", "%2F");
  const std::string shown = HubName{name.model, name.revision, ""}.text();
  const Address address = below_endpoint(cat("/api/models/", name.model, "/revision/", revision), shown);
  const auto answer = fetch_whole(address, kMaxListingBytes);
  if (!answer)
    throw io_error("the hub has no such model or revision", shown,
                   address.token.empty() ? "check the name; a private model needs HF_TOKEN" : "check the name");
  return parse_hub_listing(answer->content, shown);
}

}  // namespace solera::checkpoint
