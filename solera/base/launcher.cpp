#include "solera/base/launcher.h"

#include <limits>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera {
namespace {

using Variable = std::function<const char*(const char*)>;

struct Launcher {
  const char *name, *rank, *size;
};

constexpr Launcher kLaunchers[] = {
    {"torchrun", "RANK", "WORLD_SIZE"},       {"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
    {"mpirun", "PMI_RANK", "PMI_SIZE"},       {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"},
    {"srun", "SLURM_PROCID", "SLURM_NTASKS"},
};

std::optional<int> number(const Variable& variable, const char* name) {
  const char* text = variable(name);
  const auto value = text != nullptr ? parse_int(text) : std::nullopt;
  if (!value || *value < 0 || *value > std::numeric_limits<int>::max()) return std::nullopt;
  return static_cast<int>(*value);
}

// A batch script has the variables of its job's first task and is no task of a step; only srun's have a step.
bool is_batch_script(const Variable& variable) {
  return variable("SLURM_JOB_ID") != nullptr && variable("SLURM_STEP_ID") == nullptr;
}

}  // namespace

std::optional<Rank> rank_of_launcher(const Variable& variable) {
  for (const Launcher& launcher : kLaunchers) {
    const auto rank = number(variable, launcher.rank), size = number(variable, launcher.size);
    if (!rank || !size) continue;
    if (launcher.rank == std::string_view("SLURM_PROCID") && is_batch_script(variable)) continue;
    if (*size == 1) return std::nullopt;
    if (*rank >= *size)
      throw usage_error(cat(launcher.rank, " is ", *rank, " and ", launcher.size, " ", *size), "the environment",
                        "say --rank and --of");
    return Rank{*rank, *size, launcher.name};
  }
  return std::nullopt;
}

}  // namespace solera
