// Passes over tensors in bounded memory: Map and Reduce over tiles, in parallel, with the same bits whatever the number
// of threads, the chunk size or the CPU. START HERE.
//
//   map<float>(engine, operands, sink, [](const Tile<float>& t, float* out) { for i: out[i] = t[0][i] + t[1][i]; });
//   auto sums = reduce<float, Sum>(engine, operands, [](const Tile<float>& t, Sum& s) { s.add(t[0], t.count); });
//
// A tensor is cut into blocks of 65,536 elements counted from its start; a chunk is some whole blocks and the unit of
// parallel work; a tile is up to 1,024 elements of one block (512 of float64), already float32 (or float64), in cache.
// A Reduce keeps one state a block, fed tile by tile in order, and combines them in a fixed binary tree: neighbours
// first, then pairs of neighbours. Everything runs on the engine's pool; passes may run inside a loop of the same pool.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "solera/base/threads.h"
#include "solera/weights/operand.h"

namespace solera::weights {

inline constexpr std::int64_t kTile = 1024;
template <class T>
inline constexpr std::int64_t kTileOf =
    sizeof(T) == 8 ? kTile / 2 : kTile;  // four rows leave room in the nearest cache

struct Blocking {
  std::int64_t block = 65536;  // elements; tests shrink it
  std::int64_t blocks_per_chunk = 4;
};

struct Engine {
  Pool* pool = nullptr;
  Blocking blocking;
  bool allow_nonfinite = false;  // else a NaN or infinity in an input is an Error (input) naming tensor and model
  std::function<void(std::uint64_t)> on_bytes_read;  // progress; may be empty; called from any thread
};

// What a pass makes of its operands: their values, or operand 0 (the base) and what the others change of it.
enum class Reading { kValues, kChanges };

// Elements [first, first + count) of every operand. Operand k is tile[k], less tile[0] where changes are read.
template <class T>
struct Tile {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::span<T* const> inputs;  // writable scratch: a method may work in place
  bool last = false;           // of its chunk
  T* operator[](std::size_t k) const { return inputs[k]; }
};

// Where a Map puts its results: elements from `first` on as float32 or float64. A thread's calls follow one another
// without a gap up to the one with `last`, so that a sink may gather them. Thread-safe for disjoint ranges.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void write(std::int64_t first, std::span<const float> values, bool last) = 0;
  virtual void write(std::int64_t first, std::span<const double> values, bool last) = 0;
};

// The engine room of the templates below: calls `tile` for every tile of every chunk. Tiles of one block come in order,
// on one thread. All operands have the same number of elements; a tensor of none has no tiles. `extra` more rows of
// scratch follow the inputs in Tile::inputs. Throws Error (input) for a value that is not finite, Error (interrupted)
// when a stop is requested.
template <class T>
void for_tiles(const Engine& engine, std::span<const Operand> operands, int extra,
               const std::function<void(const Tile<T>& tile, std::int64_t block, int worker)>& tile,
               Reading reading = Reading::kValues);

// The same over whole rows of `row` elements (the last dimension): a tile is one row, whatever its length.
template <class T>
void for_rows(const Engine& engine, std::span<const Operand> operands, std::int64_t row, int extra,
              const std::function<void(const Tile<T>& tile)>& tile, Reading reading = Reading::kValues);

// How many rows one worker takes at a time, in order.
std::int64_t rows_per_chunk(const Engine& engine, std::int64_t row);

// The values of elements [first, first + count) of one operand, less `base` if given, for samples and small tensors.
template <class T>
void load_range(const Engine& engine, const Operand& operand, std::int64_t first, std::int64_t count, T* target,
                const T* base = nullptr);

// One output tile from one input tile: `f(tile, out)`; out has tile.count entries.
template <class T, class F>
void map(const Engine& engine, std::span<const Operand> operands, Sink& sink, F f, Reading reading = Reading::kValues) {
  for_tiles<T>(
      engine, operands, 1,
      [&](const Tile<T>& tile, std::int64_t, int) {
        T* out = tile.inputs.back();
        f(Tile<T>{tile.first, tile.count, tile.inputs.first(tile.inputs.size() - 1), tile.last}, out);
        sink.write(tile.first, std::span<const T>(out, static_cast<std::size_t>(tile.count)), tile.last);
      },
      reading);
}

// Of a tree over the states of blocks: neighbours first, then pairs of neighbours.
template <class State>
State merge_states(std::vector<State> states) {
  for (std::size_t step = 1; step < states.size(); step *= 2)
    for (std::size_t i = 0; i + step < states.size(); i += 2 * step) states[i].merge(states[i + step]);
  return std::move(states.front());
}

// State: default-constructible, `f(tile, state)` feeds it, `state.merge(const State& right)` appends the right
// neighbour.
template <class T, class State, class F>
State reduce(const Engine& engine, std::span<const Operand> operands, F f, Reading reading = Reading::kValues) {
  const std::int64_t n = operands.front().tensor->elements();
  const std::int64_t blocks = (n + engine.blocking.block - 1) / engine.blocking.block;
  std::vector<State> states(static_cast<std::size_t>(blocks > 0 ? blocks : 1));
  for_tiles<T>(
      engine, operands, 0,
      [&](const Tile<T>& tile, std::int64_t block, int) { f(tile, states[static_cast<std::size_t>(block)]); }, reading);
  return merge_states(std::move(states));
}

// The same over whole rows, with a state for each chunk of them.
template <class T, class State, class F>
State reduce_rows(const Engine& engine, std::span<const Operand> operands, std::int64_t row, F f,
                  Reading reading = Reading::kValues) {
  const std::int64_t n = operands.front().tensor->elements();
  const std::int64_t chunk = row > 0 ? row * rows_per_chunk(engine, row) : 1;
  std::vector<State> states(static_cast<std::size_t>(n > 0 ? (n + chunk - 1) / chunk : 1));
  for_rows<T>(
      engine, operands, row, 0,
      [&](const Tile<T>& tile) { f(tile, states[static_cast<std::size_t>(tile.first / chunk)]); }, reading);
  return merge_states(std::move(states));
}

// Is float64 needed: does an operand hold F64, or is it cast to it?
bool needs_double(std::span<const Operand> operands);

// The bytes of memory that one worker's passes over so many operands need, chunk buffers for files that are not mapped
// included, and the largest chunk (up to 64 blocks) that keeps `threads` of them below `memory`; one block if none
// does.
std::uint64_t scratch_bytes(const Blocking& blocking, int operands);
Blocking fit_blocking(std::uint64_t memory, int threads, int operands, std::int64_t block = 65536);

}  // namespace solera::weights
