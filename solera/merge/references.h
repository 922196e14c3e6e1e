// How a configuration names a model, and where that model is on this machine.
//
//   ./fine-a                      a folder or file, from the working folder, else from the configuration's
//   org/name, name                the same; else a model of the Hugging Face hub that an earlier download left in its
//                                 cache: $HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub; else,
//                                 unless it is a bare name, the hub's own, read as it is needed (checkpoint/remote.h)
//   org/name@rev                  that branch, tag or commit of it; `main` if none is given
//   hf://org/name@rev             the hub's own, whatever is here
//   https://host/model/           a folder or file on a server
//   {model: {path: org/name, revision: rev}}
//   model+adapter                 any of these with a LoRA adapter's folder (checkpoint/peft.h) in it
//   {model: model, lora: adapter}
#pragma once

#include <string>
#include <string_view>

#include "solera/base/document.h"

namespace solera::merge {

// The reference as one line of text, "org/name@rev". `key` is what the message calls the node. Throws Error (usage).
std::string model_reference(const Node& node, std::string_view key);

// "model+adapter" as its two references, unless there is a file or folder of the whole name; no adapter: "".
struct AdapterReference {
  std::string model, adapter;
};
AdapterReference split_adapter(const std::string& reference, const std::string& folder);

struct ModelPlace {
  std::string path;      // of the folder or file, or its URL
  std::string hub_name;  // "org/name" if it is the hub's
};

// Throws Error (io) that says where it was looked for and what to do.
ModelPlace locate_model(const std::string& reference, const std::string& folder, const std::string& where);

}  // namespace solera::merge
