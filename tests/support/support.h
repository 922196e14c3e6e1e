// Helpers for tests of every room: temporary folders, small checkpoints, whole-message assertions, the shared data.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/checkpoint/writer.h"

namespace solera::test {

// The folder of $SOLERA_TEST_DATA, or "" when it is unset: use SOLERA_NEEDS_DATA() at the top of a test.
std::string data_folder();

// A float tensor of the given type from doubles (rounded to nearest even), or an integer tensor.
checkpoint::NamedBytes tensor(const std::string& name, checkpoint::DType dtype, checkpoint::Shape shape,
                              const std::vector<double>& values);
// All values of a stored tensor as doubles.
std::vector<double> values(const checkpoint::Checkpoint& model, const std::string& name);
// Writes a single safetensors file and returns its path.
std::string write_model(const std::string& path, const std::vector<checkpoint::NamedBytes>& tensors);

// The whole message of the Error that `action` throws; a test failure if it throws none.
std::string message_of(const std::function<void()>& action);

std::string slurp(const std::string& path);

// The bytes of the first ```hex block of a document: pairs of digits; what follows "#" in a line is a remark.
std::string hex_example(const std::string& path);

}  // namespace solera::test

#define SOLERA_NEEDS_DATA()                                                                 \
  do {                                                                                      \
    if (solera::test::data_folder().empty()) GTEST_SKIP() << "SOLERA_TEST_DATA is not set"; \
  } while (false)
