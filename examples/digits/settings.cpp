#include "examples/digits/settings.h"

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::examples {
namespace {

Setting setting(std::string name, std::string value_name, std::string help, std::string TrainSettings::* field) {
  return {std::move(name), std::move(value_name), std::move(help),
          [field](TrainSettings& settings, const std::string& text) { settings.*field = text; },
          [field](const TrainSettings& settings) { return settings.*field; }};
}

Setting setting(std::string name, std::string value_name, std::string help, double TrainSettings::* field) {
  const auto set = [field, name](TrainSettings& settings, const std::string& text) {
    const auto value = parse_double(text);
    if (!value) throw usage_error(cat("--", name, " is \"", text, "\", not a number"));
    settings.*field = *value;
  };
  return {std::move(name), std::move(value_name), std::move(help), set,
          [field](const TrainSettings& settings) { return exact_text(settings.*field); }};
}

Setting setting(std::string name, std::string value_name, std::string help, std::int64_t TrainSettings::* field) {
  const auto set = [field, name](TrainSettings& settings, const std::string& text) {
    const auto value = parse_int(text);
    if (!value) throw usage_error(cat("--", name, " is \"", text, "\", not a whole number"));
    settings.*field = *value;
  };
  return {std::move(name), std::move(value_name), std::move(help), set,
          [field](const TrainSettings& settings) { return cat(settings.*field); }};
}

Setting setting(std::string name, std::string help, bool TrainSettings::* field) {
  return {std::move(name), "", std::move(help),
          [field](TrainSettings& settings, const std::string& text) { settings.*field = text == "yes"; },
          [field](const TrainSettings& settings) { return std::string(settings.*field ? "yes" : "no"); }};
}

}  // namespace

const std::vector<Setting>& train_settings() {
  using S = TrainSettings;
  static const std::vector<Setting> settings = {
      setting("from", "CHECKPOINT", "start from this network instead of a random one", &S::from),
      setting("layers", "WIDTHS", "widths of a random network", &S::layers),
      setting("new-head", "with --from: a fresh last layer for the task", &S::new_head),
      setting("task", "NAME", "digit, parity, ge5, mod3, loop, prime or mod4", &S::task),
      setting("split", "PART", "images to train on: pretrain, fine_tune, held_out, test, all or A:B", &S::split),
      setting("digits", "LIST", "only images of these digits, as 0-4 or 1,3,7-9 (default: all)", &S::digits),
      setting("shifts", "add four copies of each image, moved by one pixel", &S::shifts),
      setting("seed", "N", "permutes the digits; every draw depends on it", &S::seed),
      setting("run", "N", "sets trainings of one seed apart: start, order, noise", &S::run),
      setting("epochs", "N", "passes over the images", &S::epochs),
      setting("batch", "N", "images a step", &S::batch),
      setting("optimizer", "NAME", "adamw or sgd", &S::optimizer),
      setting("lr", "RATE", "learning rate", &S::lr),
      setting("weight-decay", "FACTOR", "decoupled for adamw, in the gradient for sgd", &S::weight_decay),
      setting("momentum", "FACTOR", "of sgd", &S::momentum),
      setting("schedule", "NAME", "constant, linear (to 0) or cosine", &S::schedule),
      setting("warmup", "FRACTION", "of the steps, rising linearly", &S::warmup),
      setting("label-smoothing", "FRACTION", "share of the target spread over all classes", &S::label_smoothing),
      setting("input-noise", "SD", "Gaussian noise on the training images", &S::input_noise),
      setting("freeze", "PATTERNS", "tensors that stay, as 'fc1.*,fc2.*'", &S::freeze),
      setting("save", "PATTERNS", "tensors to write (default: all)", &S::save),
      setting("snapshots", "K", "write a folder of K networks, equally spaced over the steps", &S::snapshots)};
  return settings;
}

}  // namespace solera::examples
