#include "solera/base/progress.h"

namespace solera {

namespace {

class NoProgress final : public Progress {
 public:
  void begin(std::string_view, std::uint64_t, std::string_view) override {}
  void advance(std::uint64_t) override {}
  void note(std::string_view) override {}
  void warn(std::string_view) override {}
  void status(std::string_view) override {}
  void end() override {}
};

}  // namespace

Progress& no_progress() {
  static NoProgress progress;
  return progress;
}

}  // namespace solera
