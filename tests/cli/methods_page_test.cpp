// docs/methods.md holds what `solera methods --markdown` prints; SOLERA_UPDATE=1 writes it.
#include <cstdlib>
#include <sstream>

#include "solera/cli/verb.h"
#include "tests/support/support.h"

namespace solera::cli {
namespace {

constexpr std::string_view kBegin = "<!-- begin: solera methods --markdown -->\n", kEnd = "<!-- end -->\n";

TEST(MethodsPage, IsWhatTheProgramPrints) {
  const std::string path = SOLERA_SOURCE_DIR "/docs/methods.md";
  std::string page = read_file(path);
  const std::size_t begin = page.find(kBegin), end = page.find(kEnd);
  ASSERT_TRUE(begin != std::string::npos && end != std::string::npos && begin < end);
  std::ostringstream out, err;
  ASSERT_EQ(run_command({"methods", "--markdown"}, out, err), 0);
  const std::string written = page.substr(begin + kBegin.size(), end - begin - kBegin.size());
  if (written != out.str() && std::getenv("SOLERA_UPDATE")) {
    write_atomically(path, page.replace(begin + kBegin.size(), written.size(), out.str()));
    return;
  }
  EXPECT_EQ(written, out.str()) << "run test_cli with SOLERA_UPDATE=1 and commit docs/methods.md";
}

}  // namespace
}  // namespace solera::cli
