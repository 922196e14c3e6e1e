// One output by several ranks, one after another and in one process: what each writes, what it refuses, what it leaves.
// Ranks that run at once, and are killed, are in tests/cli/ranks_kill_test.cpp.
#include "solera/merge/ranks.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmath>
#include <limits>
#include <map>

#include "solera/merge/journal.h"
#include "solera/merge/staging.h"
#include "solera/merge/survey_state.h"
#include "tests/support/support.h"

namespace solera::merge {
namespace {

using checkpoint::DType;
using test::message_of;

// The stages that begin, and the lines; a stop at the first progress of a "merge" if asked for.
struct Listener final : Progress {
  void begin(std::string_view stage, std::uint64_t, std::string_view) override { stages.emplace_back(stage); }
  void advance(std::uint64_t) override {
    if (stop && stages.back() == "merge") request_stop(true);
  }
  void note(std::string_view line) override { notes.emplace_back(line); }
  void warn(std::string_view) override {}
  void status(std::string_view) override {}
  void end() override {}

  std::vector<std::string> stages, notes;
  bool stop = false;
};

class Ranks : public testing::Test {
 protected:
  Ranks() {
    for (int m = 0; m < 3; ++m) write(m, 0);
  }

  void write(int m, double shift) {
    std::vector<checkpoint::NamedBytes> tensors;
    for (int t = 0; t < 5; ++t) {
      std::vector<double> values(static_cast<std::size_t>(8 * (t + 1)));
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = shift + static_cast<double>((7 * i + static_cast<std::size_t>(3 * m + t)) % 11) / 8;
      tensors.push_back(test::tensor(cat("t", t), DType::kF32, {8, t + 1}, values));
    }
    test::write_model(model(m), tensors);
  }
  std::string model(int m) const { return folder_ / cat("m", m, ".safetensors"); }

  Plan plan(const std::string& head = "merge_method: linear\n", const std::string& own = "weight: 0.5",
            PlanOptions options = {.shard_bytes = 100}) const {
    const std::string text = cat("base_model: ", model(0), "\nmodels:\n  - {model: ", model(1), ", parameters: {", own,
                                 "}}\n  - {model: ", model(2), ", parameters: {", own, "}}\n", head);
    MergeConfig config = parse_merge_config(parse_yaml(text, "f.yaml"));
    config.text = text;
    return make_plan(std::move(config), options);
  }
  static constexpr const char* kTies = "merge_method: ties\nparameters: {granularity: model}\n";
  static constexpr const char* kLinear = "merge_method: linear\nparameters: {weight: 0.2}\n";

  ExecuteReport rank(Plan p, int rank, int of, Progress& progress = no_progress(), bool force = false) const {
    return execute(p, {.out = out_, .threads = 2, .force = force, .rank = rank, .of = of}, progress);
  }
  // What one process makes, by file name.
  std::map<std::string, std::string> alone(Plan p) const {
    make_folders(folder_ / "alone");
    const std::string out = folder_ / "alone/out";
    execute(p, {.out = out, .threads = 1, .force = true}, no_progress());
    return contents(out);
  }
  static std::map<std::string, std::string> contents(const std::string& folder) {
    std::map<std::string, std::string> files;
    for (const std::string& name : list_folder(folder)) files[name] = test::slurp(join_path(folder, name));
    return files;
  }
  std::string journal(int rank, int of) const {
    return Journal::path(staging_, RankHeader{.rank = rank, .of = of, .program = "", .beside = ""});
  }

  TemporaryFolder folder_;
  const std::string out_ = folder_ / "out", staging_ = out_ + ".partial";
};

TEST_F(Ranks, FilesAreSharedOutByTheirBytes) {
  checkpoint::Layout layout;
  for (const std::uint64_t bytes : {10, 70, 20, 30, 60, 30, 0}) layout.files.push_back({"", "", bytes});
  for (const int of : {1, 2, 3, 7, 9}) {
    std::vector<int> owners(layout.files.size());
    std::vector<std::uint64_t> load;
    for (int r = 0; r < of; ++r) {
      const std::vector<bool> mine = files_of_rank(layout, r, of);
      load.push_back(0);
      for (std::size_t f = 0; f < mine.size(); ++f) {
        owners[f] += mine[f];
        if (mine[f]) load.back() += layout.files[f].bytes;
      }
    }
    EXPECT_EQ(owners, std::vector<int>(layout.files.size(), 1)) << of;
    if (of == 2) {
      EXPECT_EQ(load, (std::vector<std::uint64_t>{110, 110}));
    }
    if (of == 3) {
      EXPECT_EQ(load, (std::vector<std::uint64_t>{70, 80, 70}));
    }
  }
}

TEST_F(Ranks, TheLastToEndGivesTheOutputItsName) {
  const auto expected = alone(plan(kLinear));
  ASSERT_GE(expected.size(), 7u);  // five files, an index, a card
  for (const std::vector<int>& order : std::vector<std::vector<int>>{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}}) {
    remove_all(out_);
    EXPECT_EQ(rank(plan(kLinear), order[0], 3).waits_for.size(), 2u);
    const ExecuteReport second = rank(plan(kLinear), order[1], 3);
    EXPECT_EQ(second.waits_for, std::vector<int>{order[2]});
    EXPECT_FALSE(second.published);
    EXPECT_FALSE(exists(out_));
    const ExecuteReport last = rank(plan(kLinear), order[2], 3);
    EXPECT_TRUE(last.published);
    EXPECT_LT(last.tensors, 5u);
    EXPECT_TRUE(contents(out_) == expected);
    EXPECT_FALSE(exists(staging_));
  }
}

TEST_F(Ranks, ARankThatHasEndedHasNothingToDoAgain) {
  const ExecuteReport first = rank(plan(kLinear), 1, 2);
  const ExecuteReport again = rank(plan(kLinear), 1, 2);
  EXPECT_EQ(first.resumed, 0u);
  EXPECT_EQ(again.resumed, first.tensors);
  EXPECT_EQ(again.bytes_read, 0u);
  EXPECT_TRUE(rank(plan(kLinear), 0, 2).published);
}

TEST_F(Ranks, MoreThanThereAreFiles) {
  const PlanOptions whole{.shard_bytes = 1 << 20};
  const auto expected = alone(plan(kLinear, "weight: 0.5", whole));
  for (const int r : {0, 2}) EXPECT_FALSE(rank(plan(kLinear, "weight: 0.5", whole), r, 3).published);
  const ExecuteReport last = rank(plan(kLinear, "weight: 0.5", whole), 1, 3);
  EXPECT_TRUE(last.published);
  EXPECT_EQ(last.tensors, 0u);
  EXPECT_TRUE(contents(out_) == expected);
}

TEST_F(Ranks, ASingleFileIsTheFirstRanks) {
  const PlanOptions single{.single_file = true};
  Plan one = plan(kLinear, "weight: 0.5", single);
  execute(one, {.out = folder_ / "alone.safetensors"}, no_progress());
  const std::string out = folder_ / "out.safetensors";
  for (const int r : {1, 0}) {
    Plan p = plan(kLinear, "weight: 0.5", single);
    EXPECT_EQ(execute(p, {.out = out, .rank = r, .of = 2}, no_progress()).published, r == 0);
  }
  EXPECT_TRUE(test::slurp(out) == test::slurp(folder_ / "alone.safetensors"));
  EXPECT_FALSE(exists(out + ".partial"));
}

TEST_F(Ranks, AnOldOutputStaysUntilTheNewOneIsThere) {
  const auto expected = alone(plan(kLinear));
  make_folders(out_);
  test::write_model(join_path(out_, "model.safetensors"), {test::tensor("w", DType::kF32, {1}, {1})});
  EXPECT_EQ(message_of([&] { rank(plan(kLinear), 0, 2); }), cat(out_, " exists; use --force to replace it"));
  EXPECT_FALSE(exists(staging_));
  rank(plan(kLinear), 0, 2, no_progress(), true);
  EXPECT_TRUE(exists(join_path(out_, "model.safetensors")));
  EXPECT_TRUE(rank(plan(kLinear), 1, 2, no_progress(), true).published);
  EXPECT_TRUE(contents(out_) == expected);
  EXPECT_FALSE(exists(staging_));
}

TEST_F(Ranks, WhoHasAnotherPlanMayNotJoinAndIsInNobodysWay) {
  const std::string end =
      cat(" (", staging_, "); start all ranks with the same command; remove the folder if it is of an older one");
  const auto expected = alone(plan(kLinear));
  rank(plan(kLinear), 0, 2);
  const auto before = contents(staging_);
  EXPECT_EQ(message_of([&] { rank(plan(kLinear, "weight: 0.25"), 1, 2); }),
            "rank 1 of 2 and rank 0 of 2 have different plans: another configuration, inputs or options" + end);
  EXPECT_EQ(message_of([&] { rank(plan(kLinear), 1, 3); }), "rank 1 of 3 cannot join rank 0 of 2" + end);
  Plan bare = plan(kLinear);
  EXPECT_EQ(message_of([&] { execute(bare, {.out = out_, .model_card = false, .rank = 1, .of = 2}, no_progress()); }),
            "rank 1 of 2 and rank 0 of 2 would put different files beside the weights" + end);
  EXPECT_TRUE(contents(staging_) == before);
  EXPECT_TRUE(rank(plan(kLinear), 1, 2).published);
  EXPECT_TRUE(contents(out_) == expected);
}

TEST_F(Ranks, AnInputThatIsNotTheOthersIsNamed) {
  rank(plan(kLinear), 0, 2);
  write(2, 1);
  EXPECT_EQ(message_of([&] { rank(plan(kLinear), 1, 2); }),
            cat("rank 1 of 2 and rank 0 of 2 find different files at ", model(2), " (", staging_,
                "); start all ranks with the same command; remove the folder if it is of an older one"));
  EXPECT_EQ(message_of([&] { rank(plan(kLinear), 0, 2); }),
            cat(model(2), " changed since the unfinished merge began (", staging_,
                "); finish it with the same command and inputs, or remove the folder"));
}

TEST_F(Ranks, AnotherProgramIsNamed) {
  rank(plan(kLinear), 0, 2);
  std::string text = test::slurp(journal(0, 2));
  const std::string key = "\"program\":\"";
  text.insert(text.find(key) + key.size(), "9.");
  write_atomically(journal(0, 2), text);
  const std::string message = message_of([&] { rank(plan(kLinear), 1, 2); });
  EXPECT_TRUE(message.starts_with("rank 1 of 2 is solera ")) << message;
  EXPECT_NE(message.find(", rank 0 of 2 is solera 9."), std::string::npos) << message;
}

TEST_F(Ranks, OneProcessAndRanksDoNotMix) {
  rank(plan(kLinear), 0, 2);
  Plan one = plan(kLinear);
  EXPECT_EQ(message_of([&] { execute(one, {.out = out_}, no_progress()); }),
            cat("an unfinished merge by several ranks is in the way (", staging_,
                "); finish it with --rank, or discard it with --restart"));
  EXPECT_EQ(message_of([&] { execute(one, {.out = out_, .restart = true, .rank = 1, .of = 2}, no_progress()); }),
            cat("--restart would discard what other ranks have done; remove ", staging_, " while no rank is at work"));
  execute(one, {.out = out_, .restart = true}, no_progress());
  EXPECT_FALSE(exists(staging_));
  remove_all(out_);

  Listener stopper;
  stopper.stop = true;
  EXPECT_THROW(execute(one, {.out = out_, .threads = 1}, stopper), Error);
  request_stop(false);
  EXPECT_EQ(message_of([&] { rank(plan(kLinear), 0, 2); }),
            cat("an unfinished merge by one process is in the way (", staging_,
                "); finish it without --rank, or remove the folder"));
}

TEST_F(Ranks, ARankAtWorkIsNotStartedTwice) {
  rank(plan(kLinear), 0, 2);
  const int file = ::open(journal(0, 2).c_str(), O_RDWR);
  ASSERT_EQ(::flock(file, LOCK_EX), 0);
  EXPECT_EQ(message_of([&] { rank(plan(kLinear), 0, 2); }),
            cat("rank 0 of 2 is at work already (", staging_, "); wait for it, or choose another -o"));
  Plan one = plan(kLinear);
  EXPECT_EQ(message_of([&] { execute(one, {.out = out_, .restart = true}, no_progress()); }),
            cat("another process is writing this output (", staging_, "); wait for it, or choose another -o"));
  ::close(file);
  EXPECT_TRUE(exists(journal(0, 2)));
  EXPECT_TRUE(rank(plan(kLinear), 1, 2).published);
}

TEST_F(Ranks, AnInterruptedRankGoesOn) {
  const auto expected = alone(plan(kLinear));
  Listener stopper;
  stopper.stop = true;
  Plan p = plan(kLinear);
  EXPECT_THROW(execute(p, {.out = out_, .threads = 1, .rank = 0, .of = 2}, stopper), Error);
  request_stop(false);
  rank(plan(kLinear), 1, 2);
  const ExecuteReport report = rank(plan(kLinear), 0, 2);
  EXPECT_EQ(report.resumed, 1u);
  EXPECT_TRUE(report.published);
  EXPECT_TRUE(contents(out_) == expected);
}

TEST_F(Ranks, OneLooksAtTheWholeModelForAll) {
  for (const char* head : {"merge_method: ties\nparameters: {granularity: model}\n",
                           "merge_method: ties\nparameters: {granularity: model, zero_vote: majority}\n",
                           "merge_method: breadcrumbs\nparameters: {granularity: model}\n"}) {
    const std::string own = std::string_view(head).find("ties") != std::string_view::npos
                                ? "weight: 0.5, density: 0.3"
                                : "weight: 0.5, keep: 0.3, remove: 0.1";
    const auto expected = alone(plan(head, own));
    remove_all(out_);
    Listener first, second;
    rank(plan(head, own), 1, 2, first);
    EXPECT_TRUE(exists(survey_path(staging_)));
    EXPECT_TRUE(rank(plan(head, own), 0, 2, second).published);
    EXPECT_EQ(first.stages, (std::vector<std::string>{"survey", "merge"}));
    EXPECT_EQ(second.stages, std::vector<std::string>{"merge"});
    EXPECT_TRUE(contents(out_) == expected) << head;
  }
}

TEST_F(Ranks, AStateThatIsDamagedIsRefused) {
  const std::string own = "weight: 0.5, density: 0.3";
  rank(plan(kTies, own), 1, 2);
  const std::string path = survey_path(staging_), whole = test::slurp(path);
  std::string bent = whole;
  bent.back() = static_cast<char>(bent.back() ^ 1);
  const std::string hint = cat(" (", path, "); remove it and start the ranks again");
  for (const std::string& bad : {std::string(), std::string("{}\n"), whole.substr(0, whole.size() - 1), bent}) {
    write_atomically(path, bad);
    EXPECT_EQ(message_of([&] { rank(plan(kTies, own), 0, 2); }), "the state of the survey is damaged" + hint);
  }
  write_survey(staging_, "another", SurveyState());
  EXPECT_EQ(message_of([&] { rank(plan(kTies, own), 0, 2); }), "the state of the survey is another plan's" + hint);
  write_survey(staging_, plan(kTies, own).hash(), SurveyState(std::string("x")));
  EXPECT_EQ(message_of([&] { rank(plan(kTies, own), 0, 2); }), "the state of a survey ends early");
  remove_all(path);
  EXPECT_TRUE(rank(plan(kTies, own), 0, 2).published);  // looks itself
  EXPECT_TRUE(contents(out_) == alone(plan(kTies, own)));
}

// A method that keeps to itself what it found.
class Secretive final : public Program {
 public:
  void bind(std::size_t, const Binding&) override {}
  std::string describe(std::size_t) const override { return ""; }
  bool wants_survey() const override { return true; }
  void merge(std::size_t, const TensorPass&) override {}
};

TEST_F(Ranks, AMethodThatCannotShareItsSurveyIsRefusedByName) {
  Plan p = plan(kLinear);
  p.program = std::make_unique<Secretive>();
  EXPECT_EQ(message_of([&] { execute(p, {.out = out_, .rank = 0, .of = 2}, no_progress()); }),
            "`linear` looks at the whole model first and cannot share with other ranks what it finds (f.yaml); merge "
            "without --rank");
  EXPECT_FALSE(exists(staging_));
}

// A kill of the last rank between the renaming and the removal of what it leaves.
TEST_F(Ranks, AnOutputThatHasItsNameIsOnlyTidiedUp) {
  for (const int r : {0, 1}) rank(plan(kLinear), r, 2);
  const auto whole = contents(out_);
  Plan p = plan(kLinear);
  const auto leave = [&](const std::string& folder, std::uint64_t number) {
    JournalHeader header{p.hash(), {}, RankHeader{1, 2, "", ""}};
    make_folders(folder);
    Journal(folder, header, 5).finish(number);
    header.rank->rank = 0;
    Journal(folder, header, 5).write(1);
    write_atomically(join_path(folder, "publish-1"), "");
    write_atomically(join_path(folder, "publish-2"), R"({"rank":1,"host":"h","process":1,"started":1,"place":"",)"
                                                     R"("beat":1,"status":"left","message":""})");
  };
  leave(out_, file_number(out_));
  make_folders(staging_);
  test::write_model(join_path(staging_, "old.safetensors"), {});
  EXPECT_EQ(rank(plan(kLinear), 0, 2, no_progress(), true).resumed, 5u);
  EXPECT_TRUE(contents(out_) == whole);
  EXPECT_FALSE(exists(staging_));
  // While the one that publishes is alive, or not known to be dead, that is its affair.
  leave(out_, file_number(out_));
  remove_all(join_path(out_, "publish-2"));
  EXPECT_EQ(rank(plan(kLinear), 0, 2).resumed, 5u);
  EXPECT_TRUE(exists(join_path(out_, "publish-1")));
}

TEST_F(Ranks, AFolderOfSomebodysOwnIsLeftAlone) {
  make_folders(staging_);
  write_atomically(join_path(staging_, "journal-of-a-cruise.jsonl"), "years\n");
  EXPECT_EQ(message_of([&] { rank(plan(kLinear), 0, 2); }),
            cat(staging_, " is in the way, and not an unfinished output; move it, or choose another -o"));
  EXPECT_EQ(test::slurp(join_path(staging_, "journal-of-a-cruise.jsonl")), "years\n");
}

TEST_F(Ranks, AFileThatIsGoneIsNotPublished) {
  rank(plan(kLinear), 0, 2);
  for (const std::string& name : list_folder(staging_))
    if (name.ends_with(".safetensors")) {
      remove_all(join_path(staging_, name));
      break;
    }
  const std::string message = message_of([&] { rank(plan(kLinear), 1, 2); });
  EXPECT_TRUE(message.starts_with("cannot open the unfinished file: No such file or directory (")) << message;
  EXPECT_FALSE(exists(out_));
}

TEST(SurveyStates, GiveBackWhatTheyTook) {
  double infinite = std::numeric_limits<double>::infinity();
  std::vector<std::vector<float>> rows = {{0.1f, -0.0f}, {}};
  bool flag = true;
  SurveyState taken;
  taken(infinite, rows, flag);
  SurveyState given(taken.bytes());
  double number = 0;
  std::vector<std::vector<float>> other = {{1}};
  bool truth = false;
  given(number, other, truth);
  EXPECT_EQ(number, infinite);
  EXPECT_EQ(other, rows);
  EXPECT_TRUE(std::signbit(other[0][1]));
  EXPECT_TRUE(truth);
  EXPECT_TRUE(given.is_used_up());
  EXPECT_EQ(message_of([&] { given(truth); }), "the state of a survey ends early");
}

TEST(SurveyStates, ACountBeyondTheBytesIsRefused) {
  SurveyState taken;
  std::uint64_t count = 1ull << 60;
  taken(count);
  SurveyState given(taken.bytes());
  std::vector<double> values;
  EXPECT_EQ(message_of([&] { given(values); }), "the state of a survey ends early");
}

}  // namespace
}  // namespace solera::merge
