// An output that is made in one go, without a journal: beside its name first, then under it, whole or not at all.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace solera::weights {

// Makes the folder OUT.suffix, runs `work(folder)`, which fills and publishes it, and leaves nothing of it on an error.
// Throws Error (io) if that name is taken. `out` has no slash at its end.
void in_staging(const std::string& out, std::string_view suffix, const std::function<void(const std::string&)>& work);

std::string without_slashes(std::string path);  // at its end

}  // namespace solera::weights
