// Passthrough: one model's tensors as they are, to stack layers (`slices`) or to rescale some.
//
//   out = scale x
//
// Any shape. With scale 1 floats keep their bits (a zero its sign) unless the output's type is another; integers are
// copied always.
// Cost: one read of the input.
#pragma once

#include <span>

#include "solera/merge/method.h"

namespace solera::merge {

struct PassthroughModel {
  double scale = 1.0;
};
template <class Visitor>
void fields(PassthroughModel& m, Visitor&& field) {
  field("scale", m.scale, "factor on the tensor", "finite");
}

void passthrough(std::span<const float> input, const PassthroughModel& model, std::span<float> out);

Method passthrough_method();

}  // namespace solera::merge
