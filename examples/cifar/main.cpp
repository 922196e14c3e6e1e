// cifar_eval: accuracy and loss of a CIFAR residual network on images in CIFAR-10's binary format, and what a merge
// wants to know of it.

#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "examples/cifar/measure.h"
#include "examples/cifar/resnet.h"
#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/checkpoint/statistics.h"
#include "solera/cli/options.h"

namespace {

constexpr const char* kHelp =
    R"(Evaluates a CIFAR residual network and prints {"accuracy": ..., "loss": ..., "n": ...}.

Usage: cifar_eval CHECKPOINT --data FILE.bin [--first N | --last N] [--fisher OUT] [--stats OUT]

  CHECKPOINT    safetensors, PyTorch or NumPy file with conv1, bn1, layer1.0 ... layer3.N, linear
  --data FILE   images in CIFAR-10's binary version
  --first N     only the first N images
  --last N      only the last N images
  --fisher OUT  write the Fisher information of every weight on these images, for a merge by `fisher`
  --labels L    of the Fisher's gradients: exact (all classes, the default), sampled (one a image), empirical
  --seed N      of sampled labels (default 0)
  --stats OUT   write means and Gram matrices of the layers' inputs, for a merge by `regmean`
  --threads N   worker threads (default: all)

Examples:
  cifar_eval cifar-resnet20.safetensors --data test_batch.bin
  cifar_eval soup.safetensors --data train_20k.bin --last 2000
  cifar_eval run3.safetensors --data train_20k.bin --first 300 --fisher run3.fisher.safetensors
)";

using namespace solera;

void write_statistics(const std::string& out, const checkpoint::Checkpoint& model, const examples::CifarImages& images,
                      const examples::MeasureOptions& options, const std::string& labels, Pool& pool) {
  std::map<std::string, std::string> metadata = {{"format", "pt"},
                                                 {checkpoint::kFingerprintKey, checkpoint::model_fingerprint(model)}};
  if (options.fisher) metadata["solera.fisher"] = labels;
  const examples::TrainableResNet<float> network(model);
  checkpoint::write_safetensors(out, examples::measure(network, images, options, pool), metadata);
}

void run(const std::vector<std::string>& arguments) {
  std::string path, data, fisher, stats, labels = "exact";
  examples::MeasureOptions measuring;
  examples::ImageRange range;
  int threads = 0;
  cli::OptionList options;
  options.positional("CHECKPOINT", "the network", path);
  options.value("--data", "", "FILE", "the images", data).must();
  options.value("--first", "", "N", "only the first N images", range.first);
  options.value("--last", "", "N", "only the last N images", range.last);
  options.value("--fisher", "", "OUT", "write the Fisher information", fisher);
  options.choice("--labels", "", "of the Fisher's gradients", {"exact", "sampled", "empirical"}, labels);
  options.value("--seed", "", "N", "of sampled labels", measuring.seed);
  options.value("--stats", "", "OUT", "write statistics of the layers' inputs", stats);
  options.value("--threads", "", "N", "worker threads", threads);
  options.parse(arguments);
  for (const std::string& out : {fisher, stats})
    if (!out.empty()) checkpoint::require_writable(out, true, std::vector{path, data});
  if (!fisher.empty() && fisher == stats) throw usage_error("--fisher and --stats are one file", fisher);
  measuring.labels = labels == "exact"     ? examples::Labels::kExact
                     : labels == "sampled" ? examples::Labels::kSampled
                                           : examples::Labels::kEmpirical;
  const auto model = checkpoint::open_checkpoint(path);
  const auto network = examples::load_resnet(model);
  const auto images = examples::read_cifar(data, range);
  Pool pool(threads > 0 ? threads : hardware_threads());
  const auto result = examples::evaluate(network, images, pool);
  const auto measure = [&](const std::string& out, bool of_fisher) {
    if (out.empty()) return;
    measuring.fisher = of_fisher;
    measuring.inputs = !of_fisher;
    write_statistics(out, model, images, measuring, labels, pool);
  };
  measure(fisher, true);
  measure(stats, false);
  std::cout << to_json(Node::map({{"accuracy", Node::number(result.accuracy)},
                                  {"loss", Node::number(result.loss)},
                                  {"n", Node::integer(result.n)}}))
            << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  for (const auto& argument : arguments) {
    if (argument == "--help" || argument == "-h") {
      std::cout << kHelp;
      return 0;
    }
  }
  try {
    run(arguments);
    return 0;
  } catch (const solera::Error& error) {
    std::cerr << "cifar_eval: error: " << error.what() << '\n';
    return error.kind() == solera::ErrorKind::kUsage ? 2 : 1;
  }
}
