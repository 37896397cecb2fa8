// Work on a device that comes again and again with inputs of the same shapes: done anew, or, where
// the device has graphs, recorded at its second time and replayed from then on. The first time
// makes what is made only once (plans, caches), which no recording may do. Rule: what differs from
// one time to the next reaches the work through its inputs or through memory that stays, and its
// results go to memory that stays.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/tensor.h"

namespace tessera {

class Replay {
 public:
  using Work = std::function<void(const std::vector<Tensor>& inputs)>;

  // Off, or on a device without graphs, the work is done each time.
  Replay(Device device, bool on) : device_(device), on_(on && backend(device).has_graphs()) {}

  bool on() const { return on_; }

  // The same work each time. The inputs may be on the host: what is recorded gets copies of them on
  // the device, everything else gets them as they are. While ops are observed nothing is replayed,
  // since nobody would see them.
  void run(const std::vector<Tensor>& inputs, const Work& work);

 private:
  struct Known {
    std::vector<Tensor> places;    // where the graph reads its inputs
    std::unique_ptr<Graph> graph;  // nullptr: seen once
  };
  Tensor place_for(size_t input, const Tensor& like);

  Device device_;
  bool on_;
  std::map<std::string, Tensor> shared_;  // places that several graphs read
  std::map<std::string, Known> known_;    // by the shapes of all inputs
};

}  // namespace tessera
