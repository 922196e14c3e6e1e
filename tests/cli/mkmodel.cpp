// Makes a small checkpoint for a transcript: mkmodel FILE.safetensors 'NAME DTYPE SHAPE VALUE ...' ...
//
//   mkmodel a.safetensors 'w F32 2,2 1 2 3 4' 'b BF16 2 0.5 -1' 'scale F32 - 7'     ("-": a scalar)
//
// Fewer values than elements are repeated from the start.
#include <iostream>

#include "solera/base/text.h"
#include "tests/support/support.h"

namespace {

solera::checkpoint::NamedBytes parse_tensor(const std::string& text) {
  const std::vector<std::string> words = solera::split(text, ' ');
  if (words.size() < 4) throw solera::usage_error("a tensor is 'NAME DTYPE SHAPE VALUE ...', not '" + text + "'");
  solera::checkpoint::Shape shape;
  if (words[2] != "-") {
    for (const std::string& size : solera::split(words[2], ',')) shape.push_back(*solera::parse_int(size));
  }
  std::size_t count = 1;
  for (const auto size : shape) count *= static_cast<std::size_t>(size);
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = *solera::parse_double(words[3 + i % (words.size() - 3)]);
  const auto dtype = solera::checkpoint::parse_dtype(words[1]);
  if (!dtype) throw solera::usage_error("unknown dtype " + words[1]);
  return solera::test::tensor(words[0], *dtype, shape, values);
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count < 3) throw solera::usage_error("mkmodel FILE.safetensors 'NAME DTYPE SHAPE VALUE ...' ...");
    std::vector<solera::checkpoint::NamedBytes> tensors;
    for (int i = 2; i < count; ++i) tensors.push_back(parse_tensor(arguments[i]));
    solera::test::write_model(arguments[1], tensors);
    return 0;
  } catch (const solera::Error& error) {
    std::cerr << "mkmodel: " << error.what() << '\n';
    return 1;
  }
}
