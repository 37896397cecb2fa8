// First come, first kept, until the budget is spent.
// Rule: the lock is held for a look-up, never while a picture is decoded.
#include "data/decoded_cache.h"

namespace tessera {
namespace {

// A picture's share of the map and its two heap blocks, beside its pixels.
constexpr int64_t kOverhead = 160;

int64_t bytes_of(const Image& image) {
  return static_cast<int64_t>(image.pixels.capacity()) + kOverhead;
}

}  // namespace

DecodedCache::DecodedCache(std::shared_ptr<const Dataset> dataset, int64_t budget)
    : dataset_(std::move(dataset)),
      budget_(dataset_->endless() || dataset_->in_memory() ? 0 : budget) {}

std::shared_ptr<const Image> DecodedCache::picture(int64_t i) const {
  if (budget_ > 0) {
    const std::lock_guard lock(mutex_);
    if (const auto found = kept_.find(i); found != kept_.end()) return found->second;
  }
  auto fresh = std::make_shared<const Image>(dataset_->picture(i));
  const int64_t bytes = bytes_of(*fresh);
  if (budget_ > 0) {
    const std::lock_guard lock(mutex_);
    if (bytes_ + bytes <= budget_ && kept_.emplace(i, fresh).second) bytes_ += bytes;
  }
  return fresh;
}

DecodedCache::Size DecodedCache::size() const {
  const std::lock_guard lock(mutex_);
  return {static_cast<int64_t>(kept_.size()), bytes_};
}

}  // namespace tessera
