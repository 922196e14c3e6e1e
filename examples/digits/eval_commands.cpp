#include <memory>
#include <ostream>

#include "examples/digits/commands.h"
#include "examples/digits/evaluate.h"
#include "examples/digits/measure.h"
#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/checkpoint/writer.h"

namespace solera::examples {
namespace {

struct Arguments {
  std::vector<std::string> checkpoints, distortions;
  std::string head, task = "digit", split = "test", only, logits, reference, stats, fisher;
  std::int64_t seed = 0;
  int shift_down = 0;
  double noise = 0.0, drop = 0.0;
  bool clip = false;
};

void declare(cli::OptionList& options, Arguments& a) {
  options.positional("CHECKPOINT", "networks with fc1.weight, fc1.bias, fc2.weight, ...", a.checkpoints);
  options.value("--split", "", "PART", "images: pretrain, fine_tune, held_out, test, all or A:B", a.split);
  options.value("--digits", "", "LIST", "only images of these digits, as 0-4 or 1,3,7-9 (default: all)", a.only);
  options.value("--seed", "", "N", "permutes the digits and draws the distortions", a.seed);
  options.value("--task", "", "NAME", "digit, parity, ge5, mod3, loop, prime or mod4", a.task);
  options.value("--head", "", "FILE", "tensors that a checkpoint lacks come from here", a.head);
  options.value("--shift-down", "", "PIXELS", "move the images down", a.shift_down);
  options.value("--noise", "", "SD", "add Gaussian noise", a.noise);
  options.flag("--clip", "", "bring noisy pixels back into [0, 1]", a.clip);
  options.value("--drop", "", "P", "set pixels to zero with this probability", a.drop);
  options.value("--distort", "", "TEXT", "noise=0.35,clip or shift_down=1 or drop=0.3; repeated: the mean of all",
                a.distortions);
}

// The sets to score on: one for every distortion that is asked for.
std::vector<Digits> test_sets(const Arguments& a) {
  std::vector<Distortion> distortions;
  for (const auto& text : a.distortions) distortions.push_back(parse_distortion(text));
  const bool single = a.shift_down != 0 || a.noise != 0.0 || a.clip || a.drop != 0.0;
  if (single && !distortions.empty()) throw usage_error("--distort replaces --shift-down, --noise, --clip and --drop");
  if (!(a.noise >= 0.0) || !(a.drop >= 0.0 && a.drop <= 1.0)) {
    throw usage_error(cat("--noise ", a.noise, " --drop ", a.drop), "", "noise is at least 0, drop a probability");
  }
  if (distortions.empty()) distortions.push_back({a.shift_down, a.noise, a.clip, a.drop});
  std::vector<Digits> sets;
  for (const auto& distortion : distortions) {
    Digits digits = digits_split(a.split, static_cast<std::uint64_t>(a.seed));
    keep_digits(digits, a.only);
    apply_task(digits, a.task);
    distort(digits, distortion, static_cast<std::uint64_t>(a.seed));
    sets.push_back(std::move(digits));
  }
  return sets;
}

Node score_line(const Arguments& a, const std::vector<Digits>& sets, const std::vector<std::vector<float>>& logits) {
  Score mean;
  Node each = Node::list();
  for (std::size_t s = 0; s < sets.size(); ++s) {
    const Score score = score_logits(logits[s], sets[s].labels);
    mean.n = score.n;
    mean.accuracy += score.accuracy / static_cast<double>(sets.size());
    mean.loss += score.loss / static_cast<double>(sets.size());
    each.push(Node::number(score.accuracy));
  }
  Node line = Node::map();
  line.set("accuracy", Node::number(mean.accuracy));
  line.set("loss", Node::number(mean.loss));
  line.set("n", Node::integer(mean.n));
  if (!a.distortions.empty()) line.set("accuracies", std::move(each));
  return line;
}

}  // namespace

Command eval_command() {
  return {
      "eval",
      "accuracy and loss of networks, on clean or distorted images",
      {"Prints a line of JSON for each network."},
      [](cli::OptionList& options) -> std::function<void(std::ostream&)> {
        auto a = std::make_shared<Arguments>();
        declare(options, *a);
        options.value("--logits", "", "FILE", "write logits [n, classes] and labels [n] as safetensors", a->logits);
        options.value("--reference", "", "FILE",
                      "also print the change: how far the last hidden layer is from this network's, no labels needed",
                      a->reference);
        options.value("--stats", "", "FILE", "write mean, mean square and Gram matrix of each layer's inputs",
                      a->stats);
        options.value("--fisher", "", "FILE", "write the Fisher information of every weight on these images",
                      a->fisher);
        return [a](std::ostream& out) {
          const auto sets = test_sets(*a);
          for (const auto& [name, file] :
               {std::pair("--logits", a->logits), {"--stats", a->stats}, {"--fisher", a->fisher}})
            if (!file.empty() && (a->checkpoints.size() > 1 || sets.size() > 1))
              throw usage_error(cat(name, " takes one network and one distortion"));
          if (!a->fisher.empty() && a->fisher == a->stats)
            throw usage_error("--fisher and --stats are one file", a->fisher);
          for (const auto& path : a->checkpoints) {
            const Mlp network = read_mlp(path, a->head);
            std::vector<std::vector<float>> logits;
            for (const auto& set : sets) logits.push_back(digit_logits(network, set, path));
            Node line = Node::map({{"checkpoint", Node::text(path)}});
            const Node scores = score_line(*a, sets, logits);
            for (const auto& [key, value] : scores.entries()) line.set(key, value);
            if (!a->reference.empty()) {
              const Mlp reference = read_mlp(a->reference, a->head);
              double change = 0.0;
              for (const auto& set : sets) change += hidden_change(network, reference, set, path);
              line.set("change", Node::number(change / static_cast<double>(sets.size())));
            }
            if (!a->stats.empty()) write_statistics(a->stats, network, path, sets[0]);
            if (!a->fisher.empty()) write_fisher(a->fisher, network, path, sets[0]);
            if (!a->logits.empty()) {
              const std::vector<std::int64_t> labels(sets[0].labels.begin(), sets[0].labels.end());
              const std::vector<checkpoint::NamedBytes> tensors = {
                  stored("labels", checkpoint::DType::kI64, {sets[0].count()}, labels.data()),
                  stored("logits", checkpoint::DType::kF32, {sets[0].count(), network.classes()}, logits[0].data())};
              checkpoint::write_safetensors(a->logits, tensors);
            }
            out << to_json(line) << '\n';
          }
        };
      }};
}

Command ensemble_command() {
  return {"ensemble",
          "accuracy and loss of the mean of several networks' logits",
          {"Prints one line of JSON."},
          [](cli::OptionList& options) -> std::function<void(std::ostream&)> {
            auto a = std::make_shared<Arguments>();
            declare(options, *a);
            return [a](std::ostream& out) {
              const auto sets = test_sets(*a);
              std::vector<Mlp> networks;
              for (const auto& path : a->checkpoints) networks.push_back(read_mlp(path, a->head));
              std::vector<std::vector<float>> logits;
              for (const auto& set : sets) {
                std::vector<std::vector<float>> members;
                for (std::size_t i = 0; i < networks.size(); ++i) {
                  members.push_back(digit_logits(networks[i], set, a->checkpoints[i]));
                }
                logits.push_back(mean_logits(members));
              }
              Node line = score_line(*a, sets, logits);
              line.set("members", Node::integer(static_cast<std::int64_t>(networks.size())));
              out << to_json(line) << '\n';
            };
          }};
}

}  // namespace solera::examples
