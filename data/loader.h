// Batches for training: shuffled, augmented, normalised, prepared ahead by worker threads, and on
// their way to the device as soon as they are filled, while it computes.
// Rule: the bytes of batch k of an epoch are a function of (seed, epoch, k) alone, for any device,
// any number of workers, any size of the cache and wherever reading started. A broken file is
// replaced by a picture that depends on (seed, epoch, position) alone.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "data/augmenter.h"
#include "data/dataset.h"
#include "data/decoded_cache.h"
#include "data/mixing.h"
#include "data/picture_stager.h"
#include "engine/tensor.h"

namespace tessera {

struct DataOptions : AugmentOptions {
  std::string spec = "builtin:";  // for open_data (open.h)
  double holdout = 0.0;
  // Batches with targets for so many classes, mixed as `mix` says. 0: pictures and labels alone.
  int64_t classes = 0;
  MixOptions mix;
  uint64_t seed = 0;
  int64_t batch_size = 64;
  bool drop_last = true;
  Device device = Device::kCpu;  // where batches are wanted
  int workers = 2;               // threads beside the caller; 0: everything in the caller's thread
  int64_t cache_bytes = 0;       // of decoded pictures kept for later epochs (decoded_cache.h)
};

// images and second lie on DataOptions::device, targets on the host.
struct Batch {
  Tensor images;                  // (B, C, H, W) f32, normalised
  Tensor second;                  // (B, C, h, w) f32 in [0, 1]; undefined without a second view
  Tensor targets;                 // (B, classes) f32, each row of mass 1; undefined without classes
  std::vector<int64_t> labels;    // (B)
  std::vector<int64_t> indices;   // (B) into the data set: the pictures really read
  std::vector<uint8_t> mirrored;  // (B) 1 where the picture is mirrored
  int64_t epoch = 0;
  int64_t k = 0;  // number within the epoch
};

struct BrokenFile {
  std::string name;
  std::string reason;  // the decoder's line; it holds the name
};

class Loader {
 public:
  // UsageError: options that make no sense, a set of which nothing decodes (tried at once, at most
  // 100 pictures), a batch larger than the set (with drop_last).
  Loader(std::shared_ptr<const Dataset> dataset, DataOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  const Dataset& dataset() const { return *dataset_; }
  const DataOptions& options() const { return options_; }
  const DecodedCache& cache() const { return cache_; }
  int64_t batches_per_epoch() const { return batches_per_epoch_; }
  // Whether the device makes the views, out of pixels that are sent to it; else the host does.
  bool device_makes_views() const { return stager_.has_value(); }

  // The next batch is batch k of this epoch; 0 <= k < batches_per_epoch(). Reading starts at (0,
  // 0).
  void seek(int64_t epoch, int64_t k);
  // Batch after batch, on into the next epoch without end. Error when more than 1 % of the set are
  // broken, which is said as soon as it is certain or beyond chance (from 100 tried on), or when a
  // place of a batch cannot be filled: one line that names three. From one thread at a time.
  // On a device it queues work: call it, seek() and the destructor from the thread that queues all.
  Batch next();

  // All that were found broken in the batches handed out so far, sorted by name. From the thread
  // that calls next().
  std::vector<BrokenFile> broken_files() const;

 private:
  struct Arriving;
  struct Slot;

  void check_options() const;
  void probe();
  std::shared_ptr<const std::vector<int64_t>> order_of(int64_t epoch);
  std::shared_ptr<Slot> make_slot(int64_t epoch, int64_t k);
  void fill_ahead();
  bool work_on(std::unique_lock<std::mutex>& lock, bool front_only);
  void run_worker();
  void fill(Slot& slot, int64_t position) const;
  void mix(Slot& slot) const;
  void finish(Slot& slot) const;
  Shape view_shape(int64_t count, bool second) const;
  Tensor make_view(const Slot& slot, bool second) const;
  void account(const Slot& slot);
  void mark_tried(int64_t index);
  bool too_many_broken() const;
  std::string broken_summary() const;

  std::shared_ptr<const Dataset> dataset_;
  DataOptions options_;
  Augmenter augment_;
  std::optional<PictureStager> stager_;  // where the device makes the views
  Tensor levels_, second_levels_;        // (C, 257) f32 on the device: what it makes of them
  DecodedCache cache_;
  int64_t batches_per_epoch_ = 0;

  // Used by the thread that calls next() and seek().
  int64_t next_epoch_ = 0, next_k_ = 0;  // of the slot to be queued next
  std::map<int64_t, std::shared_ptr<const std::vector<int64_t>>> orders_;  // of the live epochs
  std::vector<bool> tried_;                                                // by index
  int64_t tried_count_ = 0;
  std::map<int64_t, std::string> broken_;  // index -> reason

  std::mutex mutex_;  // guards what follows, and the counters in slots
  std::condition_variable work_, done_;
  std::deque<std::shared_ptr<Slot>> slots_;  // in the order they are handed out
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace tessera
