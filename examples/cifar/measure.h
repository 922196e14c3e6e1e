// Statistics of a residual network on images (docs/formats/statistics.md): diagonal Fisher information of every
// trainable tensor; mean, mean square and Gram matrix of the inputs of every convolution and of the linear layer.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "examples/cifar/gradients.h"
#include "examples/cifar/images.h"
#include "solera/base/random.h"
#include "solera/base/threads.h"
#include "solera/checkpoint/writer.h"

namespace solera::examples {

// Which labels the squared gradients of log p(y | x) are averaged over.
enum class Labels {
  kExact,      // every class, with the model's probability: the Fisher information
  kSampled,    // one class drawn from the model's probabilities: unbiased, a tenth of the work
  kEmpirical,  // the data's label: not the Fisher information, but often used for it
};

// Calls add(weight, d log p_y / d logits) for every label y that counts at this example. The probabilities weigh the
// squares and are constants in them.
void for_labels(Labels labels, std::span<const double> probabilities, int label, const RandomStream& draws,
                std::uint64_t example, const std::function<void(double weight, std::span<const double> d_logits)>& add);

struct MeasureOptions {
  bool fisher = true, inputs = true;
  Labels labels = Labels::kExact;
  std::int64_t seed = 0;  // of kSampled
};

// The tensors of a statistics file, `n` included, F32. The same for any number of threads.
std::vector<checkpoint::NamedBytes> measure(const TrainableResNet<float>& network, const CifarImages& images,
                                            const MeasureOptions& options, Pool& pool);

}  // namespace solera::examples
