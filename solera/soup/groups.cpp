#include "solera/soup/groups.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"

namespace solera::soup {
namespace {

constexpr const char* kRest = "rest";

// A stack's name and a number in it.
using Block = std::pair<std::string, std::int64_t>;

// Up to the first number that is a whole piece of the name, and not its last.
std::optional<Block> block_of(const std::string& name) {
  for (std::size_t start = 0, end = name.find('.'); end != std::string::npos;
       start = end + 1, end = name.find('.', start)) {
    const auto number = parse_int(std::string_view(name).substr(start, end - start));
    if (number && *number >= 0) return Block(name.substr(0, start), *number);
  }
  return std::nullopt;
}

std::string name_of(const Block& block) { return cat(block.first, block.second); }

// Names for the groups given and, if a tensor is in none of them (-1), for the rest.
Groups with_rest(std::vector<std::string> names, std::span<const std::string> tensors,
                 const std::function<int(const std::string&)>& group_of) {
  Groups groups;
  groups.names = std::move(names);
  const int rest = groups.count();
  for (const std::string& tensor : tensors) {
    const int group = group_of(tensor);
    if (group < 0 && groups.count() == rest) groups.names.emplace_back(kRest);
    groups.members.push_back({tensor, group < 0 ? rest : group});
  }
  return groups;
}

}  // namespace

int Groups::size_of(int group) const {
  return static_cast<int>(
      std::count_if(members.begin(), members.end(), [&](const Member& member) { return member.group == group; }));
}

std::string Groups::hash() const {
  Hasher hasher;
  for (const Member& member : members) hasher.add(member.tensor).add(static_cast<std::uint64_t>(member.group));
  return hasher.hex();
}

Groups whole_model(std::span<const std::string> tensors) {
  return with_rest({"all"}, tensors, [](const std::string&) { return 0; });
}

Groups each_tensor(std::span<const std::string> tensors) {
  int next = 0;
  return with_rest({tensors.begin(), tensors.end()}, tensors, [&](const std::string&) { return next++; });
}

Groups even_layers(std::span<const std::string> tensors, int count) {
  std::map<Block, int> blocks;
  for (const std::string& tensor : tensors)
    if (const auto block = block_of(tensor)) blocks[*block] = 0;
  const auto n = static_cast<std::int64_t>(blocks.size());
  if (count < 1) throw usage_error(cat("--groups is ", count, ", less than 1"));
  if (n == 0)
    throw usage_error("the names of the tensors have no numbered layers to split", "",
                      "say what belongs together with --group PATTERN");
  if (count > n)
    throw usage_error(cat("--groups ", count, ", but the models have only ", n, n == 1 ? " layer" : " layers"));
  std::vector<std::string> firsts(static_cast<std::size_t>(count)), lasts = firsts;
  std::int64_t at = 0;
  for (auto& [block, group] : blocks) {
    group = static_cast<int>(at++ * count / n);
    const auto g = static_cast<std::size_t>(group);
    if (firsts[g].empty()) firsts[g] = name_of(block);
    lasts[g] = name_of(block);
  }
  std::vector<std::string> names;
  for (std::size_t g = 0; g < firsts.size(); ++g)
    names.push_back(firsts[g] == lasts[g] ? firsts[g] : cat(firsts[g], " to ", lasts[g]));
  return with_rest(std::move(names), tensors, [&](const std::string& tensor) {
    const auto block = block_of(tensor);
    return block ? blocks.at(*block) : -1;
  });
}

Groups by_patterns(std::span<const std::string> tensors, std::span<const Pattern> patterns) {
  std::vector<std::string> names;
  for (const Pattern& pattern : patterns) names.push_back(pattern.text());
  Groups groups = with_rest(std::move(names), tensors, [&](const std::string& tensor) {
    const auto found =
        std::find_if(patterns.begin(), patterns.end(), [&](const Pattern& pattern) { return pattern.matches(tensor); });
    return found == patterns.end() ? -1 : static_cast<int>(found - patterns.begin());
  });
  for (std::size_t g = 0; g < patterns.size(); ++g)
    if (groups.size_of(static_cast<int>(g)) == 0)
      throw usage_error(cat("--group '", patterns[g].text(), "' gets no tensor"), "",
                        tensors.empty() ? "" : cat("names look like ", tensors[tensors.size() / 2]));
  return groups;
}

Blend Blend::simplest() const {
  const bool equal = std::all_of(rows.begin(), rows.end(), [&](const Mix& row) { return row == rows.front(); });
  return equal ? Blend{{rows.front()}} : *this;
}

Mix Blend::reach() const {
  Mix mix(rows.front().size(), 0.0);
  for (const Mix& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i)
      if (row[i] != 0) mix[i] = 1;
  return mix;
}

}  // namespace solera::soup
