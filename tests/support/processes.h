// Programs that a test kills, or runs beside each other.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace solera::test {

// Starts a program with nothing to read and nowhere to print.
pid_t start_quietly(const std::vector<std::string>& words);

// Waits for its end: the status of waitpid().
int wait_for(pid_t child);

}  // namespace solera::test
