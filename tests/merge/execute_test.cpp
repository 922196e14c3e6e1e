#include "solera/merge/execute.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <fstream>

#include "solera/merge/journal.h"
#include "solera/merge/staging.h"
#include "tests/support/support.h"

namespace solera::merge {
namespace {

using checkpoint::DType;
using test::message_of;

class Execute : public testing::Test {
 protected:
  Execute() {
    for (const char* name : {"a", "b"})
      test::write_model(folder_ / (std::string(name) + ".safetensors"),
                        {test::tensor("w", DType::kF32, {4}, {1, 2, 3, *name == 'a' ? 4.0 : 6.0}),
                         test::tensor("x", DType::kF32, {2}, {0, 1})});
  }

  Plan plan(double weight = 0.5, PlanOptions options = {.single_file = true}) {
    const std::string text =
        cat("merge_method: linear\nmodels:\n  - {model: ", folder_ / "a.safetensors", ", parameters: {weight: ", weight,
            "}}\n  - {model: ", folder_ / "b.safetensors", ", parameters: {weight: 0.5}}\n");
    return make_plan(parse_merge_config(parse_yaml(text, "f.yaml")), options);
  }
  // A run that is stopped when the first tensor is done.
  void interrupt() {
    struct Stopper final : Progress {
      void begin(std::string_view, std::uint64_t, std::string_view) override {}
      void advance(std::uint64_t) override { request_stop(true); }
      void note(std::string_view) override {}
      void warn(std::string_view) override {}
      void status(std::string_view) override {}
      void end() override {}
    } stopper;
    Plan p = plan();
    EXPECT_THROW(execute(p, {.out = out_, .threads = 1}, stopper), Error);
    request_stop(false);
  }

  // The journal of a finished output, as a kill during its publication leaves it.
  void leave_finished(const std::string& in, const Plan& p, std::uint64_t number) {
    JournalHeader header{p.hash(), {}};
    for (const auto& model : p.models)
      header.inputs.insert(header.inputs.end(), model->files().begin(), model->files().end());
    make_folders(in);
    Journal(in, header, p.tensors.size()).finish(number);
  }

  TemporaryFolder folder_;
  const std::string out_ = folder_ / "out.safetensors";
};

TEST_F(Execute, WritesOneFile) {
  Plan p = plan();
  const ExecuteReport report = execute(p, {.out = out_}, no_progress());
  EXPECT_EQ(report.tensors, 2u);
  EXPECT_EQ(report.bytes_read, 48u);
  EXPECT_EQ(report.bytes_written, file_size(out_));
  EXPECT_EQ(test::values(checkpoint::open_checkpoint(out_), "w"), (std::vector<double>{1, 2, 3, 5}));
  EXPECT_FALSE(exists(out_ + ".partial"));
}

TEST_F(Execute, WritesShardsAndAnIndex) {
  Plan p = plan(0.5, {.shard_bytes = 16});
  const std::string out = folder_ / "out";
  execute(p, {.out = out}, no_progress());
  EXPECT_EQ(list_folder(out),
            (std::vector<std::string>{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                                      "model.safetensors.index.json"}));
  EXPECT_EQ(test::values(checkpoint::open_checkpoint(out), "w"), (std::vector<double>{1, 2, 3, 5}));
}

TEST_F(Execute, ExistingOutputIsKeptWithoutForce) {
  write_atomically(out_, "old");
  Plan p = plan();
  EXPECT_NE(message_of([&] { execute(p, {.out = out_}, no_progress()); }).find("--force"), std::string::npos);
  EXPECT_EQ(test::slurp(out_), "old");
  execute(p, {.out = out_, .force = true}, no_progress());
  EXPECT_EQ(test::values(checkpoint::open_checkpoint(out_), "x"), (std::vector<double>{0, 1}));
}

TEST_F(Execute, OutputThatIsAnInputIsRefused) {
  Plan p = plan();
  EXPECT_NE(message_of([&] { execute(p, {.out = folder_ / "a.safetensors", .force = true}, no_progress()); }), "");
  EXPECT_EQ(test::values(checkpoint::open_checkpoint(folder_ / "a.safetensors"), "w"),
            (std::vector<double>{1, 2, 3, 4}));
}

TEST_F(Execute, AnInterruptedRunContinues) {
  interrupt();
  EXPECT_TRUE(exists(out_ + ".partial"));
  Plan p = plan();
  const ExecuteReport report = execute(p, {.out = out_}, no_progress());
  EXPECT_EQ(report.resumed, 1u);
  EXPECT_EQ(test::values(checkpoint::open_checkpoint(out_), "w"), (std::vector<double>{1, 2, 3, 5}));
}

TEST_F(Execute, AnotherPlanInTheWayIsRefusedAndRestartDiscardsIt) {
  interrupt();
  Plan other = plan(0.25);
  EXPECT_EQ(message_of([&] { execute(other, {.out = out_}, no_progress()); }),
            cat("an unfinished merge with other inputs or parameters is in the way (", out_,
                ".partial); finish it with the same command and inputs, or discard it with --restart"));
  EXPECT_TRUE(exists(out_ + ".partial"));
  execute(other, {.out = out_, .restart = true}, no_progress());
  EXPECT_FALSE(exists(out_ + ".partial"));
}

TEST_F(Execute, ChangedInputsAreNamed) {
  interrupt();
  test::write_model(folder_ / "b.safetensors",
                    {test::tensor("w", DType::kF32, {4}, {9, 9, 9, 9}), test::tensor("x", DType::kF32, {2}, {0, 1})});
  Plan p = plan();
  EXPECT_EQ(message_of([&] { execute(p, {.out = out_}, no_progress()); }),
            cat(folder_ / "b.safetensors", " changed since the unfinished merge began (", out_,
                ".partial); finish it with the same command and inputs, or discard it with --restart"));
}

TEST_F(Execute, ATornJournalLineIsIgnored) {
  interrupt();
  std::ofstream(Journal::path(out_ + ".partial"), std::ios::app) << "{\"done\": [1";
  Plan p = plan();
  EXPECT_EQ(execute(p, {.out = out_}, no_progress()).resumed, 1u);
}

// Left by a kill before the journal's first line was whole.
TEST_F(Execute, AFolderInWhichNothingWasBegunIsStartedAfresh) {
  for (const char* journal : {"", "{\"solera_jou"}) {
    make_folders(out_ + ".partial");
    if (*journal) write_atomically(Journal::path(out_ + ".partial"), journal);
    Plan p = plan();
    EXPECT_EQ(execute(p, {.out = out_, .force = true}, no_progress()).resumed, 0u);
    EXPECT_FALSE(exists(out_ + ".partial"));
  }
}

// By a kill between the journal's first line and the files.
TEST_F(Execute, AJournalWithoutFilesIsStartedAfresh) {
  interrupt();
  const std::string journal = test::slurp(Journal::path(out_ + ".partial"));
  remove_all(out_ + ".partial");
  make_folders(out_ + ".partial");
  write_atomically(Journal::path(out_ + ".partial"), journal.substr(0, journal.find('\n') + 1));
  Plan p = plan();
  EXPECT_EQ(execute(p, {.out = out_}, no_progress()).resumed, 0u);
}

// Only our journal makes a folder ours, whatever its name.
TEST_F(Execute, AFolderOfSomebodysOwnIsLeftAlone) {
  for (const char* name : {"thesis.txt", "model.safetensors", "journal.jsonl"})
    for (const bool restart : {false, true}) {
      const std::string theirs = join_path(out_ + ".partial", name);
      make_folders(out_ + ".partial");
      write_atomically(theirs, "years\n");
      Plan p = plan();
      EXPECT_EQ(message_of([&] { execute(p, {.out = out_, .restart = restart}, no_progress()); }),
                cat(out_, ".partial is in the way, and not an unfinished output; move it, or choose another -o"));
      EXPECT_EQ(test::slurp(theirs), "years\n");
      remove_all(out_ + ".partial");
    }
}

// A kill after the output got its name leaves the folder with a journal that says so, and with --force the old output.
TEST_F(Execute, AnOutputThatHasItsNameIsOnlyTidiedUp) {
  Plan p = plan();
  execute(p, {.out = out_}, no_progress());
  const std::string whole = test::slurp(out_);
  for (const bool force : {false, true}) {
    leave_finished(out_ + ".partial", p, file_number(out_));
    if (force) write_atomically(join_path(out_ + ".partial", "model.safetensors"), "old");
    Plan again = plan();
    EXPECT_EQ(execute(again, {.out = out_, .force = force}, no_progress()).resumed, 2u);
    EXPECT_EQ(test::slurp(out_), whole);
    EXPECT_FALSE(exists(out_ + ".partial"));
  }
}

// A folder keeps its journal until the old one is gone.
TEST_F(Execute, AFolderThatHasItsNameIsOnlyTidiedUp) {
  const std::string out = folder_ / "out";
  Plan p = plan(0.5, {.shard_bytes = 16});
  execute(p, {.out = out}, no_progress());
  const std::vector<std::string> names = list_folder(out);
  leave_finished(out, p, file_number(out));
  make_folders(out + ".partial");
  write_atomically(join_path(out + ".partial", "model.safetensors"), "old");
  Plan again = plan(0.5, {.shard_bytes = 16});
  EXPECT_EQ(execute(again, {.out = out}, no_progress()).resumed, 2u);
  EXPECT_EQ(list_folder(out), names);
  EXPECT_FALSE(exists(out + ".partial"));
}

TEST_F(Execute, AFinishedFolderWithoutItsNameIsPublished) {
  const std::string out = folder_ / "out", staging = out + ".partial";
  Plan p = plan(0.5, {.shard_bytes = 16});
  execute(p, {.out = out}, no_progress());
  const std::vector<std::string> names = list_folder(out);
  rename_path(out, staging);
  leave_finished(staging, p, file_number(staging));
  write_atomically(join_path(staging, ".solera-1-0.tmp"), "half a side file");
  Plan again = plan(0.5, {.shard_bytes = 16});
  execute(again, {.out = out}, no_progress());
  EXPECT_EQ(list_folder(out), names);
  EXPECT_EQ(test::values(checkpoint::open_checkpoint(out), "w"), (std::vector<double>{1, 2, 3, 5}));
}

// What another plan finished there is not what this call asks for.
TEST_F(Execute, AnOutputOfAnotherPlanIsNotTakenForThisOne) {
  Plan p = plan();
  execute(p, {.out = out_}, no_progress());
  leave_finished(out_ + ".partial", p, file_number(out_));
  Plan other = plan(0.0);
  EXPECT_EQ(message_of([&] { execute(other, {.out = out_}, no_progress()); }),
            cat(out_, " exists; use --force to replace it"));
  leave_finished(out_ + ".partial", p, file_number(out_));
  EXPECT_EQ(execute(other, {.out = out_, .force = true}, no_progress()).resumed, 0u);
  EXPECT_EQ(test::values(checkpoint::open_checkpoint(out_), "w"), (std::vector<double>{1, 2, 3, 6}));
}

TEST_F(Execute, TwoProcessesDoNotWriteOneOutput) {
  interrupt();
  const int file = ::open(Journal::path(out_ + ".partial").c_str(), O_RDWR);
  ASSERT_EQ(::flock(file, LOCK_EX), 0);
  Plan p = plan();
  for (const bool restart : {false, true})
    EXPECT_EQ(message_of([&] { execute(p, {.out = out_, .restart = restart}, no_progress()); }),
              cat("another process is writing this output (", out_, ".partial); wait for it, or choose another -o"));
  ::close(file);
  execute(p, {.out = out_}, no_progress());
}

}  // namespace
}  // namespace solera::merge
