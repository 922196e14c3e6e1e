// cifar_eval: accuracy and loss of a CIFAR residual network on images in CIFAR-10's binary format.

#include <iostream>
#include <string>
#include <vector>

#include "examples/cifar/resnet.h"
#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/cli/options.h"

namespace {

constexpr const char* kHelp =
    R"(Evaluates a CIFAR residual network and prints {"accuracy": ..., "loss": ..., "n": ...}.

Usage: cifar_eval CHECKPOINT --data FILE.bin [--first N | --last N]

  CHECKPOINT    safetensors, PyTorch or NumPy file with conv1, bn1, layer1.0 ... layer3.N, linear
  --data FILE   images in CIFAR-10's binary version
  --first N     only the first N images
  --last N      only the last N images
  --threads N   worker threads (default: all)

Examples:
  cifar_eval cifar-resnet20.safetensors --data test_batch.bin
  cifar_eval soup.safetensors --data train_20k.bin --last 2000
)";

void run(const std::vector<std::string>& arguments) {
  using namespace solera;
  std::string checkpoint, data;
  examples::ImageRange range;
  int threads = 0;
  cli::OptionList options;
  options.positional("CHECKPOINT", "the network", checkpoint);
  options.value("--data", "", "FILE", "the images", data).must();
  options.value("--first", "", "N", "only the first N images", range.first);
  options.value("--last", "", "N", "only the last N images", range.last);
  options.value("--threads", "", "N", "worker threads", threads);
  options.parse(arguments);
  const auto network = examples::load_resnet(checkpoint::open_checkpoint(checkpoint));
  const auto images = examples::read_cifar(data, range);
  Pool pool(threads > 0 ? threads : hardware_threads());
  const auto result = examples::evaluate(network, images, pool);
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
