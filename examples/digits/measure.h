// What a network does inside: statistics of its layers' inputs, and how far two networks' hidden layers are apart.
#pragma once

#include <string>
#include <vector>

#include "examples/digits/data.h"
#include "examples/digits/mlp.h"

namespace solera::examples {

// The mean over images and units of |h - h'|, the last hidden layers of two networks. Throws Error (input) if they have
// no hidden layer or not of one width; `where` names the first.
double hidden_change(const Mlp& network, const Mlp& reference, const Digits& digits, const std::string& where);

// The tensors of a statistics file (docs/formats/statistics.md): n, and of every layer's inputs mean, mean square and
// Gram matrix, F32, summed in double.
std::vector<checkpoint::NamedBytes> input_statistics(const Mlp& network, const Digits& digits);

// Likewise n and the diagonal Fisher information of every tensor: the mean over images of
// sum_y p(y | x) (d log p(y | x) / d w)^2, the factors p held constant.
std::vector<checkpoint::NamedBytes> fisher_statistics(const Mlp& network, const Digits& digits);

// Either as a file that knows its model, the checkpoint at `model`.
void write_statistics(const std::string& path, const Mlp& network, const std::string& model, const Digits& digits);
void write_fisher(const std::string& path, const Mlp& network, const std::string& model, const Digits& digits);

}  // namespace solera::examples
