// Which of several processes of one job this is, as the program that started them says: nothing is linked for it, the
// launchers put it into the environment.
//
//   torchrun                      RANK                  WORLD_SIZE
//   mpirun (Open MPI)             OMPI_COMM_WORLD_RANK  OMPI_COMM_WORLD_SIZE
//   mpirun (MPICH, Intel MPI)     PMI_RANK              PMI_SIZE
//   srun                          SLURM_PROCID          SLURM_STEP_NUM_TASKS, else SLURM_NTASKS
//
// The first that is there counts: those above start processes inside those below, seldom the other way round.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace solera {

struct Rank {
  int number = 0, of = 1;
  std::string from;  // "srun", "--rank"
};

// `variable(name)` is its value, null if it is not set. None without a launcher, or if it started one process; a batch
// script under Slurm is none of its tasks. Throws Error (usage) for a number that is not below the count.
std::optional<Rank> rank_of_launcher(const std::function<const char*(const char*)>& variable);

}  // namespace solera
