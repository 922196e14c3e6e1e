#include "solera/base/progress.h"

#include "tests/support/support.h"

namespace solera {
namespace {

TEST(NoProgress, SwallowsEverythingAndIsOneObject) {
  Progress& progress = no_progress();
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  progress.begin("merge", 10, "bytes");
  progress.advance(3);
  progress.note("a line");
  progress.warn("a warning");
  progress.status("best 1");
  progress.end();
  EXPECT_EQ(testing::internal::GetCapturedStdout() + testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(&progress, &no_progress());
}

}  // namespace
}  // namespace solera
