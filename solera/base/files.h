// Files and folders with errors that name the path, and writes that are whole or not there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace solera {

std::string read_file(const std::string& path, std::uint64_t limit = UINT64_MAX);  // Error (io), also past the limit
bool exists(const std::string& path);
bool is_folder(const std::string& path);
std::uint64_t file_size(const std::string& path);
std::vector<std::string> list_folder(const std::string& path);  // names, sorted bytewise; no "." and ".."
std::string file_name(std::string_view path);                   // last component; "a/b/" gives "b"
std::string parent_folder(std::string_view path);               // "." if there is none
std::string join_path(std::string_view folder, std::string_view name);
std::string canonical(const std::string& path);  // absolute and without links where it exists
bool same_file(const std::string& a, const std::string& b);
void make_folders(const std::string& path);
void remove_all(const std::string& path);  // no error if it is not there
// The same, but a kill leaves what is at `path` whole or gone: it is renamed first, to a scratch name beside it.
void remove_at_once(const std::string& path);
void copy_file(const std::string& from, const std::string& to);
void rename_path(const std::string& from, const std::string& to);  // then syncs the parent folder

// Writes to a temporary sibling, syncs, renames over `path`, keeping the usual permissions (umask). Nothing remains
// of it on an error.
void write_atomically(const std::string& path, std::string_view content);

// An error for a path that should exist: "X: no such file", with the nearest sibling name as the hint.
class Error missing_file(const std::string& path);

// A folder of its own below $TMPDIR (or /tmp), removed with all that is in it at the end of the scope.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(std::string_view prefix = "solera");
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return join_path(path_, name); }

 private:
  std::string path_;
};

// Has a stop (SIGINT, SIGTERM) been asked for? Long work looks between its pieces and throws Error (interrupted).
// install_stop_signals() is called once by the command line; a second signal ends the process at once.
void install_stop_signals();
bool stop_requested();
void request_stop(bool value);  // for tests
void throw_if_stopped();

}  // namespace solera
