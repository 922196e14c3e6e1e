// Training of a digits network: AdamW or SGD over shuffled batches, with snapshots on the way.
//
//   AdamW   m = .9 m + .1 g,  v = .999 v + .001 g^2,  w -= lr (w wd + m^ / (sqrt(v^) + 1e-8))     m^, v^ without bias
//   SGD     u = momentum u + g + wd w,  w -= lr u
//   lr_s    linear over the first `warmup` of the T steps, then constant, or down to 0 linearly or as a half cosine
//   snapshots after step round(i T / k), i = 1..k, halves up; the last is the end of training
//
// Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019. Every draw comes from a stream of (seed,
// purpose, run), so a training gives the same bits wherever and beside whatever it runs.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "examples/digits/mlp.h"

namespace solera::examples {

struct TrainSettings {
  std::string layers = "64-64-64-10";  // without `from`
  std::string from;                    // a checkpoint to start from; empty: He's initialization
  bool new_head = false;               // with `from`: a fresh last layer for the task
  std::string task = "digit";
  std::string split = "fine_tune";  // images to train on
  std::string digits;               // only images of these, as "0-4"; empty: all
  bool shifts = false;              // add four copies of each, moved by one pixel
  std::string freeze;               // patterns of tensors that stay, commas between
  std::string save;                 // patterns of tensors that are written, commas between; empty: all
  std::int64_t seed = 0;            // permutes the digits, and all draws depend on it
  std::int64_t run = 0;             // sets trainings of one seed apart: start, order, noise
  std::int64_t epochs = 10;
  std::int64_t batch = 32;
  std::string optimizer = "adamw";  // adamw | sgd
  double lr = 1e-3;
  double weight_decay = 0.01;
  double momentum = 0.9;              // SGD's
  std::string schedule = "constant";  // constant | linear | cosine
  double warmup = 0.0;                // fraction of the steps
  double label_smoothing = 0.0;
  double input_noise = 0.0;    // standard deviation of Gaussian noise on every image of every batch
  std::int64_t snapshots = 0;  // 0: only the end
};

struct Trained {
  Mlp network;
  std::int64_t steps = 0;
  double loss = 0.0;  // mean over the last epoch, smoothing and noise included
};

// After which of the T steps the k snapshots are taken. Throws Error (usage) unless 1 <= k <= T.
std::vector<std::int64_t> snapshot_steps(std::int64_t steps, std::int64_t snapshots);

// The factor on the learning rate at step s = 0..T-1.
double schedule_factor(const std::string& schedule, double warmup, std::int64_t step, std::int64_t steps);

// "fc1.*,fc2.*" as patterns; none for "".
std::vector<Pattern> parse_patterns(const std::string& text);

// `snapshot` receives every snapshot as it is taken. Throws Error (usage) for settings out of range or a pattern that
// matches no tensor, Error (input) for an unfit checkpoint or if the loss stops being finite.
Trained train(const TrainSettings& settings,
              const std::function<void(std::int64_t step, const Mlp& network)>& snapshot = {});

}  // namespace solera::examples
