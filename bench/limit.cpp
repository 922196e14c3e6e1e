// How near merging runs to the machine's limit.
//
//   bench_limit make FOLDER [--elements N]     base, a, b, c: Llama-shaped folders of about 220 M bfloat16 parameters
//   each bench_limit [--models FOLDER] [--solera PATH] [--threads N] [--pairs 9] [METHOD...] bench_limit memory
//   [--models FOLDER] [--solera PATH] [--memory SIZE] [METHOD...]     peak anonymous memory
//
// The yardstick is a process of its own (bench_limit xor OUT IN...) that maps the same input files, combines their
// bytes by xor with the same number of threads and writes an output of the same size in the same manner: reserved, then
// written by pwrite in pieces of a megabyte. Put FOLDER in tmpfs. Yardstick and tool alternate, a fresh process each;
// the output is removed before the clock starts. Printed: seconds and the median of the paired ratios yardstick / tool.
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/random.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/checkpoint/writer.h"
#include "solera/weights/elements.h"

extern char** environ;

namespace {

using namespace solera;

constexpr std::int64_t kPiece = 1 << 20;

constexpr std::int64_t kHidden = 1024, kInner = 2816;
struct Size {
  std::int64_t vocabulary, layers;
};
constexpr Size kUsual{32000, 12};  // 219.7 M parameters
constexpr Size kBig{524288, 83};   // 2.14 G, 537 M of them in one tensor

std::vector<checkpoint::TensorInfo> llama_tensors(const Size& size) {
  std::vector<checkpoint::TensorInfo> tensors;
  const auto add = [&](std::string name, checkpoint::Shape shape) {
    tensors.push_back({std::move(name), checkpoint::DType::kBF16, std::move(shape)});
  };
  add("model.embed_tokens.weight", {size.vocabulary, kHidden});
  for (std::int64_t i = 0; i < size.layers; ++i) {
    const std::string layer = cat("model.layers.", i, ".");
    for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"})
      add(layer + "self_attn." + name + ".weight", {kHidden, kHidden});
    for (const char* name : {"gate_proj", "up_proj"}) add(layer + "mlp." + name + ".weight", {kInner, kHidden});
    add(layer + "mlp.down_proj.weight", {kHidden, kInner});
    add(layer + "input_layernorm.weight", {kHidden});
    add(layer + "post_attention_layernorm.weight", {kHidden});
  }
  add("model.norm.weight", {kHidden});
  add("lm_head.weight", {size.vocabulary, kHidden});
  return tensors;
}

Node llama_config(const Size& size) {
  Node config;
  config.set("architectures", Node::list({Node::text("LlamaForCausalLM")}));
  config.set("model_type", Node::text("llama"));
  const std::pair<const char*, std::int64_t> sizes[] = {
      {"hidden_size", kHidden},         {"intermediate_size", kInner}, {"num_hidden_layers", size.layers},
      {"num_attention_heads", 16},      {"num_key_value_heads", 16},   {"vocab_size", size.vocabulary},
      {"max_position_embeddings", 2048}};
  for (const auto& [key, value] : sizes) config.set(key, Node::integer(value));
  config.set("tie_word_embeddings", Node::boolean(false));
  config.set("torch_dtype", Node::text("bfloat16"));
  return config;
}

// Base weights of sd 0.02; a fine-tune adds a step of a tenth of that in a third of the entries.
void write_model(const std::string& folder, const checkpoint::Layout& layout, int model, const Size& size, Pool& pool) {
  make_folders(folder);
  write_atomically(join_path(folder, "config.json"), to_json(llama_config(size), 2));
  checkpoint::ShardWriter writer(folder, layout);
  for (std::size_t t = 0; t < layout.tensors.size(); ++t) {
    const checkpoint::TensorInfo& tensor = layout.tensors[t];
    const RandomStream base({.seed = 1, .purpose = "bench.base", .name = tensor.name});
    const RandomStream step(
        {.seed = 1, .purpose = "bench.step", .input = static_cast<std::uint64_t>(model), .name = tensor.name});
    const std::int64_t n = tensor.elements();
    pool.for_each((n + kPiece - 1) / kPiece, [&](std::int64_t piece, int) {
      const std::int64_t first = piece * kPiece, count = std::min(kPiece, n - first);
      std::vector<float> values(static_cast<std::size_t>(count)), steps(values.size());
      base.fill_normal(static_cast<std::uint64_t>(first), values);
      if (model > 0) step.fill_normal(static_cast<std::uint64_t>(first), steps);
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] *= 0.02f;
        if (model > 0 && (i + static_cast<std::size_t>(model)) % 3 == 0) values[i] += 0.002f * steps[i];
      }
      std::vector<std::byte> bytes(values.size() * 2);
      weights::store(tensor.dtype, values.data(), count, bytes.data());
      writer.write(t, static_cast<std::uint64_t>(first) * 2, bytes);
    });
  }
}

void make_models(const std::string& folder, bool big) {
  Pool pool(hardware_threads());
  const Size size = big ? kBig : kUsual;
  const auto layout = checkpoint::plan_layout(llama_tensors(size), {.single_file = true});
  const std::vector<std::string> names = {"base", "a", "b", "c"};
  for (int model = 0; model < (big ? 2 : 4); ++model)
    write_model(join_path(folder, names[static_cast<std::size_t>(model)]), layout, model, size, pool);
}

// The yardstick.
int xor_files(const std::string& out, const std::vector<std::string>& inputs, int threads) {
  std::vector<const std::uint64_t*> maps;
  std::int64_t size = 0;
  for (const std::string& path : inputs) {
    const int file = ::open(path.c_str(), O_RDONLY);
    size = static_cast<std::int64_t>(file_size(path));
    void* map = ::mmap(nullptr, static_cast<std::size_t>(size), PROT_READ, MAP_SHARED, file, 0);
    if (file < 0 || map == MAP_FAILED) return 1;
    maps.push_back(static_cast<const std::uint64_t*>(map));
  }
  const int file = ::open(out.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0666);
  if (file < 0 || ::posix_fallocate(file, 0, size) != 0) return 1;
  Pool pool(threads);
  pool.for_each((size + kPiece - 1) / kPiece, [&](std::int64_t piece, int) {
    static thread_local std::vector<std::uint64_t> buffer(kPiece / 8);
    const std::int64_t first = piece * kPiece, bytes = std::min(kPiece, size - first), words = bytes / 8;
    const std::uint64_t* from = maps[0] + first / 8;
    std::uint64_t* to = buffer.data();
    for (std::int64_t i = 0; i < words; ++i) to[i] = from[i];
    for (std::size_t k = 1; k < maps.size(); ++k) {
      from = maps[k] + first / 8;
      for (std::int64_t i = 0; i < words; ++i) to[i] ^= from[i];
    }
    if (::pwrite(file, to, static_cast<std::size_t>(bytes), first) != bytes) std::abort();
  });
  return ::fdatasync(file) == 0 && ::close(file) == 0 ? 0 : 1;
}

struct Measured {
  double seconds = 0;
  std::uint64_t anonymous = 0;  // peak of RssAnon, sampled, when asked for
};

Measured timed(const std::vector<std::string>& command, bool watch_memory) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  Measured result;
  const auto start = std::chrono::steady_clock::now();
  pid_t child = 0;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  if (posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ) != 0)
    throw io_error("cannot start", command[0]);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  while (::waitpid(child, &status, watch_memory ? WNOHANG : 0) == 0) {
    std::ifstream proc(cat("/proc/", child, "/status"));
    for (std::string line; std::getline(proc, line);)
      if (line.rfind("RssAnon:", 0) == 0)
        result.anonymous = std::max<std::uint64_t>(result.anonymous, std::stoull(line.substr(8)) * 1024);
    ::usleep(2000);
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw input_error(cat(join(command, " "), " failed"));
  return result;
}

std::string config_text(const std::string& method, const std::string& folder) {
  std::string text = cat("merge_method: ", method, "\n");
  if (method == "slerp") {
    text += cat("base_model: ", folder, "/base\nmodels:\n  - model: ", folder, "/a\nparameters: {t: 0.4}\n");
    return text;
  }
  if (method != "linear") text += cat("base_model: ", folder, "/base\n");
  text += "models:\n";
  for (const char* model : {"a", "b", "c"}) {
    if (!exists(cat(folder, "/", model))) continue;
    text += cat("  - model: ", folder, "/", model, "\n");
    if (method == "sce" || method == "model_stock") continue;  // neither takes weights
    text += "    parameters: {weight: 0.4";
    if (method == "ties" || method.starts_with("dare_") || method.starts_with("della")) text += ", density: 0.5";
    if (method.starts_with("breadcrumbs")) text += ", density: 0.85, gamma: 0.01";
    text += "}\n";
  }
  return text;
}

std::vector<std::string> inputs_of(const std::string& method, const std::string& folder) {
  std::vector<std::string> inputs;
  for (const char* model : {"base", "a", "b", "c"}) {
    const std::string name = model;
    if ((name == "base" && method == "linear") || (name > "a" && name != "base" && method == "slerp")) continue;
    inputs.push_back(cat(folder, "/", model, "/model.safetensors"));
  }
  return inputs;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Arguments {
  std::string models = "/dev/shm/solera-bench", solera, memory = "1GiB", self;
  int threads = hardware_threads(), pairs = 9;
  bool big = false;
  std::vector<std::string> rest;
};

std::vector<std::string> merge_command(const Arguments& a, const std::string& method, const std::string& out) {
  const std::string config = cat(a.models, "/", method, ".yaml");
  write_atomically(config, config_text(method, a.models));
  return {a.solera,   "merge",  config,   "-o", out, "--threads", std::to_string(a.threads),
          "--memory", a.memory, "--force"};
}

int limit(const Arguments& a) {
  const std::string out = cat(a.models, "/out"), mark = cat(a.models, "/xor.bin");
  std::cout << "threads " << a.threads << ", " << a.pairs << " pairs, models in " << a.models << "\n";
  for (const std::string& method : a.rest) {
    std::vector<std::string> yardstick = {a.self, "xor", mark, std::to_string(a.threads)};
    const auto inputs = inputs_of(method, a.models);
    yardstick.insert(yardstick.end(), inputs.begin(), inputs.end());
    const auto tool = merge_command(a, method, out);
    std::vector<double> ratios, tools, marks;
    for (int pair = 0; pair < a.pairs + 1; ++pair) {  // the first warms the files up
      remove_all(mark);
      const double limit_seconds = timed(yardstick, false).seconds;
      remove_all(mark);
      remove_all(out);
      const double tool_seconds = timed(tool, false).seconds;
      remove_all(out);
      if (pair == 0) continue;
      ratios.push_back(limit_seconds / tool_seconds);
      marks.push_back(limit_seconds);
      tools.push_back(tool_seconds);
    }
    const auto [low, high] = std::minmax_element(ratios.begin(), ratios.end());
    std::printf("%-16s yardstick %.3f s  solera %.3f s  ratio %.3f (%.3f to %.3f)\n", method.c_str(), median(marks),
                median(tools), median(ratios), *low, *high);
    std::fflush(stdout);
  }
  return 0;
}

int memory(const Arguments& a) {
  for (const std::string& method : a.rest) {
    const std::string out = cat(a.models, "/out");
    remove_all(out);
    const Measured run = timed(merge_command(a, method, out), true);
    remove_all(out);
    std::printf("%-16s --memory %s: peak anonymous memory %s, %.2f s\n", method.c_str(), a.memory.c_str(),
                binary_text(run.anonymous).c_str(), run.seconds);
  }
  return 0;
}

int run(int argc, char** argv) {
  Arguments a;
  a.self = canonical("/proc/self/exe");
  a.solera = join_path(parent_folder(a.self), "solera");
  std::vector<std::string> words(argv + 1, argv + argc);
  if (!words.empty() && words[0] == "xor")
    return xor_files(words.at(1), {words.begin() + 3, words.end()}, std::stoi(words.at(2)));
  std::string mode = "limit";
  if (!words.empty() && (words[0] == "make" || words[0] == "memory")) {
    mode = words[0];
    words.erase(words.begin());
  }
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto next = [&] {
      return i + 1 < words.size() ? words[++i] : throw usage_error(words[i] + " needs a value");
    };
    if (words[i] == "--models")
      a.models = next();
    else if (words[i] == "--solera")
      a.solera = next();
    else if (words[i] == "--memory")
      a.memory = next();
    else if (words[i] == "--threads")
      a.threads = std::stoi(next());
    else if (words[i] == "--pairs")
      a.pairs = std::stoi(next());
    else if (words[i] == "--big")
      a.big = true;
    else
      a.rest.push_back(words[i]);
  }
  if (mode == "make") {
    make_models(a.rest.empty() ? a.models : a.rest[0], a.big);
    return 0;
  }
  if (a.rest.empty()) a.rest = {"linear", "task_arithmetic", "slerp", "ties", "breadcrumbs"};
  return mode == "memory" ? memory(a) : limit(a);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "bench_limit: " << error.what() << "\n";
    return 1;
  }
}
