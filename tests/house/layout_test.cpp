// The house as solera/README.md describes it: rooms, arrows, and what every source file looks like.
#include <filesystem>
#include <map>
#include <regex>
#include <set>

#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = SOLERA_SOURCE_DIR;

struct File {
  std::string path;  // from the root
  std::string text;
};

std::vector<File> files_below(const std::string& folder, std::initializer_list<std::string_view> extensions) {
  std::vector<File> files;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
    const std::string extension = entry.path().extension().string();
    if (!entry.is_regular_file() || std::find(extensions.begin(), extensions.end(), extension) == extensions.end()) {
      continue;
    }
    files.push_back({fs::relative(entry.path(), kRoot).string(), read_file(entry.path().string())});
  }
  return files;
}

std::vector<File> sources() {
  std::vector<File> all;
  for (const char* folder : {"solera", "tests", "examples", "fuzz", "bench"}) {
    for (File& file : files_below(folder, {".h", ".cpp"})) all.push_back(std::move(file));
  }
  return all;
}

std::vector<File> documents() {
  std::vector<File> all = files_below("docs", {".md"});
  for (const char* name : {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "run", ".ci/run"}) {
    all.push_back({name, read_file((kRoot / name).string())});
  }
  for (File& file : files_below("solera", {".md"})) all.push_back(std::move(file));
  for (File& file : files_below("recipes", {".yaml", ".md"})) all.push_back(std::move(file));
  for (File& file : files_below("examples", {".md"})) all.push_back(std::move(file));
  return all;
}

// Rooms and what they may use directly, from the table of solera/README.md.
std::map<std::string, std::vector<std::string>> rooms_of_table() {
  std::map<std::string, std::vector<std::string>> rooms;
  for (const std::string& line : split(read_file((kRoot / "solera/README.md").string()), '\n')) {
    if (!line.starts_with("| `")) continue;
    const auto cells = split(line, '|');
    std::string room(trim(cells.at(1)));
    room = room.substr(1, room.size() - 2);
    auto& uses = rooms[room];
    for (const std::string& used : split(cells.at(4), ',')) {
      if (!trim(used).empty()) uses.emplace_back(trim(used));
    }
  }
  return rooms;
}

std::set<std::string> reachable(const std::map<std::string, std::vector<std::string>>& rooms, const std::string& room) {
  std::set<std::string> seen = {room, "base"};
  std::vector<std::string> open = {room};
  while (!open.empty()) {
    const std::string next = open.back();
    open.pop_back();
    for (const std::string& used : rooms.at(next)) {
      if (seen.insert(used).second) open.push_back(used);
    }
  }
  return seen;
}

TEST(Rooms, OfTheTableAreTheFolders) {
  std::set<std::string> folders, table;
  for (const auto& entry : fs::directory_iterator(kRoot / "solera")) {
    if (entry.is_directory() && !fs::is_empty(entry.path())) folders.insert(entry.path().filename().string());
  }
  for (const auto& [room, uses] : rooms_of_table()) table.insert(room);
  EXPECT_EQ(table, folders);
}

TEST(Rooms, IncludeOnlyWhatTheirArrowsReach) {
  const auto rooms = rooms_of_table();
  ASSERT_GE(rooms.size(), 7u);
  const std::regex include("#include \"solera/([a-z_]+)/");
  for (const File& file : files_below("solera", {".h", ".cpp"})) {
    const std::string room = split(file.path, '/').at(1);
    const auto allowed = reachable(rooms, room);
    for (std::sregex_iterator it(file.text.begin(), file.text.end(), include), end; it != end; ++it) {
      EXPECT_TRUE(allowed.contains((*it)[1]))
          << file.path << " includes " << (*it)[1] << ", but " << room << " may not";
    }
  }
}

TEST(Rooms, HeadersOfTheTableExist) {
  const std::string text = read_file((kRoot / "solera/README.md").string());
  const std::regex link("\\]\\(([a-z_/.]+\\.h)\\)");
  int links = 0;
  for (std::sregex_iterator it(text.begin(), text.end(), link), end; it != end; ++it, ++links) {
    EXPECT_TRUE(fs::exists(kRoot / "solera" / (*it)[1].str())) << (*it)[1];
  }
  EXPECT_GT(links, 5);
}

TEST(Sources, NameTheirIncludesFromTheRoot) {
  const std::regex include("#include \"([^\"]+)\"");
  for (const File& file : sources()) {
    for (std::sregex_iterator it(file.text.begin(), file.text.end(), include), end; it != end; ++it) {
      EXPECT_TRUE(fs::exists(kRoot / (*it)[1].str())) << file.path << " includes \"" << (*it)[1] << "\"";
    }
  }
}

TEST(Sources, KeepTheLibraryQuietAndPortable) {
  for (const File& file : files_below("solera", {".h", ".cpp"})) {
    if (file.path.starts_with("solera/cli/")) continue;
    for (const char* word :
         {"std::cout", "std::cerr", "printf(", "std::exit(", "abort()", "torch/torch.h", "<format>"}) {
      const auto at = file.text.find(word);
      const bool formats_text = at != std::string::npos && at > 0 && file.text[at - 1] == 'n';  // snprintf
      EXPECT_TRUE(at == std::string::npos || formats_text) << file.path << " has " << word;
    }
  }
}

TEST(Sources, AreOneIdeaAFile) {
  for (const File& file : sources()) {
    const auto lines = std::count(file.text.begin(), file.text.end(), '\n');
    EXPECT_LE(lines, 500) << file.path << ": split it";
  }
}

TEST(Sources, HaveTheUsualShape) {
  for (const File& file : sources()) {
    EXPECT_TRUE(file.text.ends_with("\n")) << file.path;
    EXPECT_EQ(file.text.find('\t'), std::string::npos) << file.path << " has a tab";
    EXPECT_EQ(file.text.find('\r'), std::string::npos) << file.path << " has a carriage return";
    if (!file.path.ends_with(".h")) continue;
    EXPECT_NE(file.text.find("#pragma once\n"), std::string::npos) << file.path;
    EXPECT_TRUE(file.text.starts_with("// ")) << file.path << " does not say what it is";
  }
}

// Words that mean that somebody has not finished, or that a file was written for one machine.
TEST(Everything, IsFinishedAndNobodysMachine) {
  std::vector<File> all = sources();
  for (File& file : documents()) all.push_back(std::move(file));
  const std::regex words(
      "TO"
      "DO|FIX"
      "ME|\\bXX"
      "X\\b|/wo"
      "rk/|/ro"
      "ot/|/ho"
      "me/[a-z]|lorem "
      "ipsum|TB"
      "D\\b");
  for (const File& file : all) {
    std::smatch found;
    const std::string text = file.text;
    EXPECT_FALSE(std::regex_search(text, found, words)) << file.path << ": " << found.str();
  }
}

TEST(Everything, HasLinksThatLeadSomewhere) {
  const std::regex link("\\]\\(([^)#: ]+)(#[^)]*)?\\)");
  for (const File& file : documents()) {
    if (!file.path.ends_with(".md")) continue;
    for (std::sregex_iterator it(file.text.begin(), file.text.end(), link), end; it != end; ++it) {
      const fs::path target = (kRoot / file.path).parent_path() / (*it)[1].str();
      EXPECT_TRUE(fs::exists(target)) << file.path << " links to " << (*it)[1];
    }
  }
}

TEST(Readme, IsShort) {
  const std::string text = read_file((kRoot / "README.md").string());
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 150);
}

TEST(Version, IsTheSameEverywhere) {
  std::smatch found;
  const std::string build = read_file((kRoot / "CMakeLists.txt").string());
  ASSERT_TRUE(std::regex_search(build, found, std::regex("project\\(Solera VERSION ([0-9.]+)")));
  const std::string version = found[1];
  EXPECT_NE(read_file((kRoot / "CITATION.cff").string()).find("version: " + version + "\n"), std::string::npos);
  EXPECT_NE(read_file((kRoot / "CHANGELOG.md").string()).find("## " + version), std::string::npos);
}

}  // namespace
}  // namespace solera
