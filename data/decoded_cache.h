// Decoded pictures kept in memory, so that later epochs need not decode them again.
// Rule: no result depends on it: a picture is kept with all its pixels and is the same from here as
// from its file. What is kept stays: an epoch reads every picture once, so throwing out the oldest
// for the newest would mean throwing out each just before it is wanted again.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "data/dataset.h"

namespace tessera {

class DecodedCache {
 public:
  // budget: bytes, 0 keeps nothing. Nothing is kept of an endless set, of which no picture comes
  // twice, or of one that is in memory already.
  DecodedCache(std::shared_ptr<const Dataset> dataset, int64_t budget);

  // Dataset::picture(i), from memory where it is kept, else decoded and kept if there is room. Safe
  // to call from many threads; decoding blocks nobody. Throws what Dataset::picture throws.
  std::shared_ptr<const Image> picture(int64_t i) const;

  // 0: this set is not kept.
  int64_t budget() const { return budget_; }
  struct Size {
    int64_t pictures = 0;
    int64_t bytes = 0;
  };
  Size size() const;

 private:
  std::shared_ptr<const Dataset> dataset_;
  int64_t budget_;
  mutable std::mutex mutex_;                                                // guards what follows
  mutable std::unordered_map<int64_t, std::shared_ptr<const Image>> kept_;  // by index
  mutable int64_t bytes_ = 0;
};

}  // namespace tessera
