// Chosen pictures of a set in batches, for whoever looks at them without learning: the next batch
// is read while the caller works on this one.
// Rule: how pictures fall into batches depends on their list and their size alone, so results do
// not depend on threads. A picture that cannot be decoded is passed over and named on stderr.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/evaluation.h"
#include "engine/tensor.h"

namespace tessera {

struct PictureBatch {
  std::vector<int64_t> pictures;    // those that could be read, by their number in the reader
  Tensor images;                    // (B, C, H, W) f32 in [0, 1]; undefined when there is none
  std::vector<std::string> broken;  // for each other one the decoder's line
};

// Names the pictures that are passed over, on stderr; but not before one could be read: where none
// can, there is one line in all, the Error's.
class PassedOver {
 public:
  void note(const PictureBatch& batch);
  void check_any_was_read() const;  // Error with the first reason

 private:
  int64_t asked_ = 0, read_ = 0;
  std::vector<std::string> held_back_;
};

// The named pictures, in this order.
PictureBatch read_batch(const EvaluationReader& reader, std::span<const int64_t> pictures);

// work(batch) for one batch after another; `progress` hears how many pictures are done. An Error
// when not one of them could be read.
void for_each_batch(const EvaluationReader& reader, std::span<const int64_t> pictures,
                    const std::function<void(const PictureBatch&)>& work,
                    const std::function<void(int64_t)>& progress = {});

// `count` of a set's numbers, evenly spread over the set, which may be sorted by class; all of them
// where count < 0 or the set has no more.
std::vector<int64_t> spread_over(int64_t set_size, int64_t count);

}  // namespace tessera
