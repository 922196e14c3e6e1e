// The state of a CMA-ES search as a document. Numbers are written so that they read back equal; infinities, which JSON
// lacks, are null.
#include <cmath>
#include <limits>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/search/cmaes.h"

namespace solera::search {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Node numbers(std::span<const double> values) {
  Node list = Node::list();
  for (const double value : values) list.push(std::isfinite(value) ? Node::number(value) : Node());
  return list;
}

std::vector<double> read_numbers(const Node& list, double null) {
  std::vector<double> values;
  for (const Node& item : list.items()) values.push_back(item.is_null() ? null : item.as_double());
  return values;
}

int read_int(const Node& node) {
  const std::int64_t value = node.as_int();
  if (value < 0 || value > std::numeric_limits<int>::max())
    throw input_error(cat("\"", node.name(), "\" is ", value, ", out of range"), node.where());
  return static_cast<int>(value);
}

}  // namespace

Node Cmaes::to_json() const {
  Node options = Node::map({{"start", numbers(options_.start)},
                            {"sigma", Node::number(options_.sigma)},
                            {"lower", numbers(options_.lower)},
                            {"upper", numbers(options_.upper)},
                            {"seed", Node::text(std::to_string(options_.seed))},
                            {"population", Node::integer(options_.population)},
                            {"active", Node::boolean(options_.active)},
                            {"separable", Node::boolean(separable_)}});
  return Node::map({{"schema", Node::integer(1)},
                    {"options", std::move(options)},
                    {"generation", Node::integer(state_.generation)},
                    {"run_generation", Node::integer(state_.run_generation)},
                    {"restarts", Node::integer(state_.restarts)},
                    {"evaluations", Node::integer(state_.evaluations)},
                    {"sigma", Node::number(state_.sigma)},
                    {"mean", numbers(state_.mean)},
                    {"p_sigma", numbers(state_.p_sigma)},
                    {"p_c", numbers(state_.p_c)},
                    {"covariance", numbers(state_.covariance)},
                    {"history", numbers(state_.history)},
                    {"best", numbers(state_.best)},
                    {"best_value", std::isfinite(state_.best_value) ? Node::number(state_.best_value) : Node()},
                    {"stop", Node::text(std::string(stop_name(state_.stop)))}});
}

Cmaes Cmaes::from_json(const Node& node) {
  if (const std::int64_t schema = node.at("schema").as_int(); schema != 1)
    throw input_error(cat("the state has schema ", schema, ", not 1"), node.where());
  const Node& o = node.at("options");
  CmaesOptions options;
  options.start = read_numbers(o.at("start"), kInfinity);
  options.sigma = o.at("sigma").as_double();
  options.lower = read_numbers(o.at("lower"), -kInfinity);
  options.upper = read_numbers(o.at("upper"), kInfinity);
  options.seed = o.at("seed").as_uint();
  options.population = read_int(o.at("population"));
  options.active = o.at("active").as_bool();
  options.separable = o.at("separable").as_bool();
  Cmaes cmaes(std::move(options));
  State& state = cmaes.state_;
  state.generation = read_int(node.at("generation"));
  state.run_generation = read_int(node.at("run_generation"));
  state.restarts = read_int(node.at("restarts"));
  state.evaluations = node.at("evaluations").as_int();
  state.sigma = node.at("sigma").as_double();
  const auto read_vector = [&](const char* key, std::vector<double>& target) {
    const Node& list = node.at(key);
    std::vector<double> values = read_numbers(list, kInfinity);
    if (values.size() != target.size())
      throw input_error(cat("\"", key, "\" has ", values.size(), " numbers, not ", target.size()), list.where());
    target = std::move(values);
  };
  read_vector("mean", state.mean);
  read_vector("p_sigma", state.p_sigma);
  read_vector("p_c", state.p_c);
  read_vector("covariance", state.covariance);
  state.history = read_numbers(node.at("history"), kInfinity);
  if (state.evaluations > 0) {
    state.best.resize(state.mean.size());
    read_vector("best", state.best);
  }
  const Node& best = node.at("best_value");
  state.best_value = best.is_null() ? kInfinity : best.as_double();
  const std::string& stop = node.at("stop").as_text();
  int reason = 0;
  while (reason <= static_cast<int>(CmaesStop::kNoEffect) && stop_name(static_cast<CmaesStop>(reason)) != stop)
    ++reason;
  if (reason > static_cast<int>(CmaesStop::kNoEffect))
    throw input_error(cat("\"stop\" is \"", stop, "\", not a reason known"), node.at("stop").where());
  state.stop = static_cast<CmaesStop>(reason);
  cmaes.derive();
  return cmaes;
}

}  // namespace solera::search
