#include "solera/base/launcher.h"

#include <map>

#include "tests/support/support.h"

namespace solera {
namespace {

using Environment = std::map<std::string, std::string>;

std::optional<Rank> rank(const Environment& environment) {
  return rank_of_launcher([&](const char* name) -> const char* {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

std::string text(const Environment& environment) {
  const auto found = rank(environment);
  return found ? cat(found->number, " of ", found->of, " by ", found->from) : "none";
}

TEST(Launcher, EachIsKnownByItsVariables) {
  EXPECT_EQ(text({}), "none");
  EXPECT_EQ(text({{"RANK", "2"}, {"WORLD_SIZE", "8"}}), "2 of 8 by torchrun");
  EXPECT_EQ(text({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "2"}}), "0 of 2 by mpirun");
  EXPECT_EQ(text({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}}), "1 of 2 by mpirun");
  EXPECT_EQ(text({{"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "4"}}), "3 of 4 by srun");
}

TEST(Launcher, OneProcessIsNoRank) {
  EXPECT_EQ(text({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}}), "none");
  EXPECT_EQ(text({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}}), "none");
  EXPECT_EQ(text({{"OMPI_COMM_WORLD_RANK", "0"}}), "none");
  EXPECT_EQ(text({{"RANK", "first"}, {"WORLD_SIZE", "2"}}), "none");
}

TEST(Launcher, TheInnermostCounts) {
  EXPECT_EQ(text({{"OMPI_COMM_WORLD_RANK", "5"},
                  {"OMPI_COMM_WORLD_SIZE", "8"},
                  {"SLURM_PROCID", "1"},
                  {"SLURM_STEP_NUM_TASKS", "2"},
                  {"SLURM_STEP_ID", "0"},
                  {"SLURM_JOB_ID", "7"}}),
            "5 of 8 by mpirun");
  EXPECT_EQ(text({{"RANK", "5"}, {"WORLD_SIZE", "8"}, {"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}}),
            "5 of 8 by torchrun");
}

TEST(Launcher, UnderSlurmOnlyTheTasksOfAStepCount) {
  const Environment batch = {{"SLURM_JOB_ID", "7"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}};
  EXPECT_EQ(text(batch), "none");
  Environment step = batch;
  step.insert({"SLURM_STEP_ID", "0"});
  EXPECT_EQ(text(step), "0 of 4 by srun");
  step.insert({"SLURM_STEP_NUM_TASKS", "2"});  // srun -n 2 in a job of 4
  EXPECT_EQ(text(step), "0 of 2 by srun");
}

TEST(Launcher, ARankBeyondTheCountIsRefused) {
  EXPECT_EQ(solera::test::message_of([] { rank({{"PMI_RANK", "2"}, {"PMI_SIZE", "2"}}); }),
            "PMI_RANK is 2 and PMI_SIZE 2 (the environment); say --rank and --of");
}

}  // namespace
}  // namespace solera
