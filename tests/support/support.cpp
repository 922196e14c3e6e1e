#include "tests/support/support.h"

#include <cstdlib>
#include <cstring>

#include "solera/weights/elements.h"

namespace solera::test {

using checkpoint::DType;

std::string data_folder() {
  const char* folder = std::getenv("SOLERA_TEST_DATA");
  return folder ? folder : "";
}

checkpoint::NamedBytes tensor(const std::string& name, DType dtype, checkpoint::Shape shape,
                              const std::vector<double>& values) {
  checkpoint::NamedBytes result{{name, dtype, std::move(shape)}, {}};
  result.bytes.resize(result.info.bytes());
  const auto n = static_cast<std::int64_t>(values.size());
  EXPECT_EQ(n, result.info.elements()) << name;
  if (checkpoint::is_float(dtype)) {
    weights::store(dtype, values.data(), n, result.bytes.data());
    return result;
  }
  const std::size_t width = static_cast<std::size_t>(checkpoint::bits(dtype)) / 8;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto whole = static_cast<std::int64_t>(values[i]);
    std::memcpy(result.bytes.data() + i * width, &whole, width);
  }
  return result;
}

std::vector<double> values(const checkpoint::Checkpoint& model, const std::string& name) {
  const checkpoint::Tensor& t = model.at(name);
  std::vector<std::byte> scratch;
  const auto bytes = model.read(t, 0, t.bytes(), scratch);
  std::vector<double> result(static_cast<std::size_t>(t.elements()));
  weights::load(t.dtype, bytes.data(), t.elements(), result.data());
  return result;
}

std::string write_model(const std::string& path, const std::vector<checkpoint::NamedBytes>& tensors) {
  checkpoint::write_safetensors(path, tensors);
  return path;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

std::string slurp(const std::string& path) { return read_file(path); }

std::string hex_example(const std::string& path) {
  const std::string document = read_file(path);
  const std::size_t begin = document.find("```hex\n") + 7, end = document.find("```", begin);
  std::string bytes;
  bool remark = false;
  int high = -1;
  for (std::size_t i = begin; i < end; ++i) {
    const char c = document[i];
    if (c == '\n') remark = false;
    if (c == '#') remark = true;
    const std::size_t digit = std::string_view("0123456789abcdef").find(c);
    if (remark || digit == std::string_view::npos) continue;
    if (high < 0) {
      high = static_cast<int>(digit);
    } else {
      bytes += static_cast<char>(high * 16 + static_cast<int>(digit));
      high = -1;
    }
  }
  return bytes;
}

}  // namespace solera::test
