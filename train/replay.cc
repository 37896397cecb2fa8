// One graph for each list of shapes.
#include "train/replay.h"

#include "autograd/tape.h"
#include "engine/raw.h"

namespace tessera {

// Pictures are large and of one shape whatever is hidden of them: graphs share them. Lists of
// indices are each graph's own, as each has other limits to what they may hold.
Tensor Replay::place_for(size_t input, const Tensor& like) {
  if (!is_floating(like.dtype())) return Tensor::empty(like.shape(), like.dtype(), device_);
  Tensor& place = shared_[fmt::format("{} {}", input, describe(like))];
  if (!place.defined()) place = Tensor::empty(like.shape(), like.dtype(), device_);
  return place;
}

void Replay::run(const std::vector<Tensor>& inputs, const Work& work) {
  std::string shapes;
  for (const Tensor& input : inputs) shapes += describe(input) + ' ';
  const auto [found, first_time] = known_.try_emplace(shapes);
  auto& [places, graph] = found->second;
  if (on_ && first_time) {
    for (size_t i = 0; i < inputs.size(); ++i) places.push_back(place_for(i, inputs[i]));
  }
  if (!on_ || first_time || op_observer() != nullptr) return work(inputs);
  for (size_t i = 0; i < inputs.size(); ++i) {
    raw::copy_(places[i], inputs[i]);
    TESSERA_CHECK(places[i].storage()->still_known(),
                  "[replay] input {} {}: its indices leave the range that the recorded step found",
                  i, describe(inputs[i]));
  }
  if (graph == nullptr) graph = backend(device_).record([&] { work(places); });
  graph->replay();
}

}  // namespace tessera
