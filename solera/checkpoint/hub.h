// Models of the Hugging Face hub by name: hf://org/name, hf://org/name@revision, hf://org/name@revision/file.
//
// $HF_ENDPOINT (else https://huggingface.co) is the only place that the token goes to: $HF_TOKEN, else the file
// $HF_TOKEN_PATH, $HF_HOME/token or ~/.cache/huggingface/token. $HF_HUB_OFFLINE forbids to ask it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "solera/checkpoint/http.h"

namespace solera::checkpoint {

struct HubName {
  std::string model;              // "org/name"
  std::string revision = "main";  // branch, tag, commit or "refs/pr/1"
  std::string file;               // in it; empty: the model as a folder
  std::string text() const;       // "hf://org/name@main/file", slashes of the revision as %2F
};

bool is_hub_path(std::string_view text);        // begins with hf://
HubName parse_hub_name(std::string_view text);  // throws Error (usage)

Url hub_endpoint();
// With the token, if `url` is the hub's. Throws Error (usage) if HF_HUB_OFFLINE forbids it.
Address hub_address(Url url, std::string name);
Address hub_file(const HubName& name);
// Of any remote file: the hub's by name, or a URL, which messages call by what precedes its query.
Address address_of(const std::string& path);

// The commit that a revision is now, and the names of all its files.
struct HubListing {
  std::string commit;
  std::vector<std::string> files;  // sorted
};
HubListing list_hub(const HubName& name);
HubListing parse_hub_listing(std::string_view json, const std::string& where);

}  // namespace solera::checkpoint
