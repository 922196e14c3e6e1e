#include "solera/merge/ranks.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>
#include <thread>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"
#include "solera/merge/claim.h"
#include "solera/merge/journal.h"
#include "solera/merge/staging.h"
#include "solera/merge/survey_state.h"
#include "solera/merge/work.h"

namespace solera::merge {

namespace {

// A method whose survey another process cannot use would give each rank a result of its own.
void require_shareable(const Plan& plan) {
  SurveyState state;
  if (plan.program && plan.program->wants_survey() && !plan.program->survey_state(state))
    throw usage_error(
        cat("`", plan.method->name, "` looks at the whole model first and cannot share with other ranks what it finds"),
        plan.config.file, "merge without --rank");
}

JournalHeader header_of(const Plan& plan, const ExecuteOptions& options) {
  Hasher beside;
  beside.add(file_name(options.out)).add(options.model_card ? plan.config.text : std::string("no card"));
  beside.add(static_cast<std::uint64_t>(options.block));
  return {plan.hash(), identities(plan), RankHeader{options.rank, options.of, SOLERA_VERSION, beside.hex()}};
}

// The first input that the two read at one path and find different, "" if there is none.
std::string different_input(const JournalHeader& a, const JournalHeader& b) {
  for (const checkpoint::FileIdentity& mine : a.inputs)
    for (const checkpoint::FileIdentity& other : b.inputs)
      if (mine.path == other.path && mine != other) return mine.path;
  return "";
}

std::string name_of(const RankHeader& rank) { return cat("rank ", rank.rank, " of ", rank.of); }

void require_agreement(const JournalHeader& mine, const JournalHeader& other, const std::string& staging) {
  const std::string us = name_of(*mine.rank), them = name_of(*other.rank);
  const std::string hint = "start all ranks with the same command; remove the folder if it is of an older one";
  if (mine.rank->of != other.rank->of) throw input_error(cat(us, " cannot join ", them), staging, hint);
  if (mine.rank->program != other.rank->program)
    throw input_error(cat(us, " is solera ", mine.rank->program, ", ", them, " is solera ", other.rank->program),
                      staging, hint);
  if (const std::string input = different_input(mine, other); !input.empty())
    throw input_error(cat(us, " and ", them, " find different files at ", input), staging, hint);
  if (mine.plan != other.plan)
    throw input_error(cat(us, " and ", them, " have different plans: another configuration, inputs or options"),
                      staging, hint);
  if (mine.rank->beside != other.rank->beside)
    throw input_error(cat(us, " and ", them, " would put different files beside the weights"), staging, hint);
}

std::uint64_t number_if_there(const std::string& path) { return exists(path) ? file_number(path) : 0; }

// Of an output that is there already.
ExecuteReport whole(const Plan& plan) {
  return {.bytes_written = plan.layout.total_bytes(), .tensors = plan.tensors.size(), .resumed = plan.tensors.size()};
}

// Between two looks at what other ranks do: short at first.
class Pause {
 public:
  void wait() {
    throw_if_stopped();
    std::this_thread::sleep_for(length_);
    length_ = std::min(2 * length_, std::chrono::milliseconds(1000));
  }

 private:
  std::chrono::milliseconds length_{20};
};

class RankRun {
 public:
  RankRun(Plan& plan, const ExecuteOptions& options, Progress& progress, const JournalHeader& header)
      : plan_(plan),
        options_(options),
        progress_(progress),
        header_(header),
        before_(number_if_there(options.out)),
        staging_(staging_of(options.out)),
        own_journal_(Journal::path(staging_, header.rank)) {}

  ExecuteReport run(int threads) {
    Journal journal(staging_, header_, plan_.tensors.size());
    std::unique_ptr<Work> work;
    if (journal.fresh() && number_if_there(options_.out) != before_) {  // the others ended while this one came
      withdraw();
      return whole(plan_);
    }
    try {
      others();  // before a file is touched: a rank that may not join is in nobody's way
      work = std::make_unique<Work>(plan_, options_, progress_, staging_, journal, threads,
                                    files_of_rank(plan_.layout, options_.rank, options_.of));
    } catch (const Error&) {
      if (journal.fresh()) withdraw();
      throw;
    }
    if (options_.on_start) options_.on_start();
    if (work->wants_survey()) survey(*work);
    if (!journal.written()) {
      work->make_tensors();
      journal.write(work->report().bytes_written);
    }
    ExecuteReport report = work->report();
    report.published = publish_if_last(journal, report.waits_for);
    return report;
  }

  // The output has got its name since we came: the journals went with it.
  bool is_published() const { return number_if_there(options_.out) != before_ && !exists(own_journal_); }

 private:
  void withdraw() const {
    remove_all(own_journal_);
    ::rmdir(staging_.c_str());  // if nobody else is there
  }

  // The ranks whose files are not whole. All who have begun must agree with us.
  std::vector<int> others() const {
    std::vector<bool> written(static_cast<std::size_t>(options_.of));
    for (const std::string& name : rank_journals_in(staging_)) {
      const auto record = find_journal(join_path(staging_, name));
      if (!record || !record->has_line) continue;  // not begun
      if (!record->header || !record->header->rank || record->header->rank->rank < 0 ||
          record->header->rank->rank >= record->header->rank->of)
        throw input_error("not a journal of this version of solera", join_path(staging_, name),
                          "start all ranks with the same program, or remove the folder");
      require_agreement(header_, *record->header, staging_);
      written[static_cast<std::size_t>(record->header->rank->rank)] = record->written;
    }
    std::vector<int> missing;
    for (int r = 0; r < options_.of; ++r)
      if (!written[static_cast<std::size_t>(r)]) missing.push_back(r);
    return missing;
  }

  // What the method must know of the whole model: found out here, or taken from the rank that did.
  void survey(Work& work) {
    ClaimWatch watch(staging_, "survey", options_.rank, options_.silence);
    std::string said;
    for (Pause pause;; pause.wait()) {
      if (exists(survey_path(staging_))) return adopt();
      if (const auto claim = watch.take()) {
        if (exists(survey_path(staging_))) return adopt();  // before the claim was ours
        try {
          work.survey();
          SurveyState found;
          plan_.program->survey_state(found);
          write_survey(staging_, header_.plan, found);
        } catch (const Error& error) {
          if (error.kind() != ErrorKind::kInterrupted) claim->fail(error.what());
          throw;
        }
        return;
      }
      if (watch.holder() != std::exchange(said, watch.holder()))
        progress_.note(cat("waits for ", said, " to look at the whole model"));
    }
  }

  void adopt() {
    SurveyState found = read_survey(staging_, header_.plan);
    plan_.program->survey_state(found);
    if (!found.is_used_up())
      throw input_error("the state of the survey is too long", survey_path(staging_),
                        "remove it and start the ranks again");
  }

  // False if ranks are missing, which are then named.
  bool publish_if_last(Journal& journal, std::vector<int>& missing) {
    ClaimWatch watch(staging_, kPublishing, options_.rank, options_.silence);
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::duration<double>(options_.silence);
    for (Pause pause;; pause.wait()) {
      if (is_published()) return true;
      try {
        missing = others();
        if (!missing.empty()) return false;
        const auto claim = watch.take();
        if (!claim) continue;
        if (is_published()) return true;
        publish(journal, *claim);
        return true;
      } catch (const Error& error) {
        // The folder gets its name while we look: then the next look sees it.
        if (exists(own_journal_) || error.kind() != ErrorKind::kIo || std::chrono::steady_clock::now() > give_up) throw;
      }
    }
  }

  void publish(Journal& journal, Claim& claim) {
    if (has_its_name(options_.out, staging_)) return discard_staging(staging_);  // whose giver died in between
    try {
      const std::vector<checkpoint::FileUse> all(plan_.layout.files.size(), checkpoint::FileUse::kResume);
      checkpoint::ShardWriter(staging_, plan_.layout, all).sync();  // every file is there, as planned
      finish_folder(plan_, options_, staging_);
      journal.finish(file_number(join_path(staging_, published_file(plan_, options_.out))));
      if (!claim.is_latest())
        throw io_error("another rank took this one for dead while it finished the output", staging_,
                       "look at the output before using it");
      checkpoint::publish(staging_, options_.out);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kInterrupted) claim.fail(error.what());
      throw;
    }
    if (!checkpoint::is_single_file(options_.out)) clear_journals(options_.out);
  }

  Plan& plan_;
  const ExecuteOptions& options_;
  Progress& progress_;
  const JournalHeader& header_;
  const std::uint64_t before_;  // the number of an older output
  const std::string staging_, own_journal_;
};

}  // namespace

std::vector<bool> files_of_rank(const checkpoint::Layout& layout, int rank, int of) {
  std::vector<std::size_t> order(layout.files.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return layout.files[a].bytes > layout.files[b].bytes; });
  std::vector<std::uint64_t> load(static_cast<std::size_t>(of));
  std::vector<bool> mine(layout.files.size());
  for (const std::size_t f : order) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += layout.files[f].bytes;
    mine[f] = least - load.begin() == rank;
  }
  return mine;
}

ExecuteReport execute_rank(Plan& plan, const ExecuteOptions& options, Progress& progress, int threads) {
  const std::string staging = staging_of(options.out);
  if (options.restart)
    throw usage_error("--restart would discard what other ranks have done", "",
                      cat("remove ", staging, " while no rank is at work"));
  require_shareable(plan);
  const JournalHeader header = header_of(plan, options);
  RankRun run(plan, options, progress, header);
  try {
    if (settle_staging(staging, options.out, published_file(plan, options.out), header) == Leftover::kPublished)
      return whole(plan);
    require_output_allowed(plan, options);
    make_folders(staging);
    return run.run(threads);
  } catch (const Error& error) {
    // Files are gone because the others ended while this one came or looked.
    if (error.kind() == ErrorKind::kIo && run.is_published()) return whole(plan);
    throw;
  }
}

}  // namespace solera::merge
