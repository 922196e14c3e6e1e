// The output's side of writer.h: may it be written, and how it takes the place of an old one.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/checkpoint/descriptor.h"
#include "solera/checkpoint/remote.h"
#include "solera/checkpoint/writer.h"

namespace solera::checkpoint {
namespace {

constexpr std::string_view kGguf = ".gguf";

// Also a link to nothing, which exists() may not count.
bool is_taken(const std::string& path) {
  struct stat status = {};
  return ::lstat(path.c_str(), &status) == 0;
}

bool lies_in(const std::string& path, const std::string& folder) {
  return path.starts_with(folder.ends_with('/') ? folder : folder + '/');
}

bool may_be_replaced(const std::string& folder) {
  const std::vector<std::string> names = list_folder(folder);
  return names.empty() || std::any_of(names.begin(), names.end(), [](const std::string& name) {
           return name.ends_with(".safetensors") || name.ends_with(".bin") || name.ends_with(".npz") ||
                  name.ends_with(".gguf") || name.ends_with(".pt") || name.ends_with(".pth");
         });
}

void require_no_overlap(const std::string& out, const std::string& input) {
  if (is_remote(input)) return;
  const std::string to = canonical(out), from = canonical(input);
  if (to == from || (exists(out) && exists(input) && same_file(out, input))) {
    throw usage_error(cat("the output ", out, " is an input"), "", "choose another output");
  }
  if (lies_in(from, to)) {
    throw usage_error(cat("the output ", out, " contains the input ", input), "", "choose another output");
  }
  if (is_folder(input) && lies_in(to, from)) {
    throw usage_error(cat("the output ", out, " lies in the input ", input), "", "choose another output");
  }
}

void sync_folder(const std::string& path) {
  const Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) throw io_error(cat("cannot sync: ", errno_text(errno)), path);
}

// One step where the system can exchange two names, else aside and back on failure. `from` then names the old content.
void exchange(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) return;
  if (errno != EINVAL && errno != ENOSYS) {
    throw io_error(cat("cannot replace the old output: ", errno_text(errno)), to);
  }
  const std::string aside = to + ".old";
  remove_all(aside);
  rename_path(to, aside);
  try {
    rename_path(from, to);
  } catch (...) {
    rename_path(aside, to);
    throw;
  }
  rename_path(aside, from);
}

std::string single_file_in(const std::string& staging, std::string_view ending) {
  std::string found;
  for (const std::string& name : list_folder(staging)) {
    if (!name.ends_with(ending)) continue;
    if (!found.empty()) throw internal_error(cat("both ", found, " and ", name, " are to become one file"), staging);
    found = name;
  }
  if (found.empty()) throw internal_error(cat("no ", ending, " file to publish"), staging);
  return join_path(staging, found);
}

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

}  // namespace

bool is_single_file(std::string_view out) { return out.ends_with(".safetensors"); }

void require_writable(const std::string& out, bool force, std::span<const std::string> inputs) {
  if (out.empty()) throw usage_error("the output has no name");
  for (const std::string& input : inputs) require_no_overlap(out, input);
  const std::string path = without_slashes(out);
  const std::string parent = parent_folder(path);
  if (!is_folder(parent)) {
    throw io_error(cat("cannot write ", out, ": there is no folder ", parent), "", "make it first");
  }
  if (::access(parent.c_str(), W_OK | X_OK) != 0) {
    throw io_error(cat("cannot write ", out, ": ", errno_text(errno)), parent);
  }
  if (!is_taken(path)) return;
  if (!force) throw usage_error(cat(out, " exists"), "", "use --force to replace it");
  if (!is_folder(path)) return;
  const std::string real = canonical(path), here = canonical(".");
  if (real == here || lies_in(here, real) || !may_be_replaced(path)) {
    throw usage_error(cat(out, " is a folder that holds no model, and is not replaced"), "", "choose another output");
  }
}

void require_not_gguf(const std::string& out) {
  if (!out.ends_with(kGguf)) return;
  throw usage_error(cat("the output ", out, " cannot be written as GGUF at once"), "",
                    "write a model folder, then `solera convert FOLDER OUT.gguf`");
}

void publish(const std::string& staging, const std::string& out) {
  const std::string to = without_slashes(out);
  const std::string from = is_single_file(to)    ? single_file_in(staging, ".safetensors")
                           : to.ends_with(kGguf) ? single_file_in(staging, kGguf)
                                                 : without_slashes(staging);
  sync_folder(staging);
  if (!is_taken(to)) {
    rename_path(from, to);
  } else {
    exchange(from, to);
    sync_folder(parent_folder(to));
  }
  remove_all(from);  // the old output, where there was one
  // The caller's files in it may say whose output this is: an emptied folder would not.
  remove_at_once(staging);
}

void carry_side_files(const Checkpoint& from, const std::string& folder, const Node& config) {
  for (const std::string& name : from.side_files()) {
    const std::string target = join_path(folder, name);
    if (name == "config.json" && !config.is_null()) continue;
    make_folders(parent_folder(target));
    copy_file(join_path(from.folder(), name), target);
  }
  if (!config.is_null()) write_atomically(join_path(folder, "config.json"), to_json(config, 2) + "\n");
}

}  // namespace solera::checkpoint
