#include <iostream>
#include <string>
#include <vector>

#include "solera/base/files.h"
#include "solera/cli/verb.h"

int main(int count, char** values) {
  std::ios::sync_with_stdio(false);
  solera::install_stop_signals();
  return solera::cli::run_command(std::vector<std::string>(values + 1, values + count), std::cout, std::cerr);
}
