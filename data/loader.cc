// A queue of batches in the order they are handed out; whoever is free fills the oldest unfilled
// part. Rule: threads share out positions, never draws: a position's picture, augmentation and
// place in the tensor are fixed before any thread sees it. Broken files are counted where batches
// are handed out, in order, so that a run stops at the same batch for any number of workers.
#include "data/loader.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <numeric>
#include <utility>

#include "data/augment.h"
#include "engine/backend.h"
#include "engine/error.h"

namespace tessera {
namespace {

constexpr int64_t kChunk =
    16;  // positions taken at a time: small beside a batch, big beside a lock
constexpr int64_t kMaxReplacements = 100;  // tries for one position before the set is called broken
constexpr int64_t kEnoughTried = 100;

template <class Action>
std::exception_ptr failure_of(Action&& action) {
  try {
    action();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

// Decode results of one position: the file that was used last, and the broken ones before it.
struct Attempts {
  int64_t used = -1;                                    // -1: none could be decoded
  std::vector<std::pair<int64_t, std::string>> broken;  // index, reason
};

}  // namespace

// A tensor of the device, filled on the host.
struct Loader::Arriving {
  Tensor tensor;
  std::unique_ptr<Transfer> copy;  // over before the tensor goes

  Arriving() = default;
  Arriving(const Shape& shape, DType dtype, Device device)
      : tensor(Tensor::empty(shape, dtype, device)),
        copy(tensor.backend().transfer(tensor.view().data, tensor.storage()->bytes())) {}
  // The row of position b, of (B, ...).
  template <class T>
  T* row(int64_t b) const {
    return static_cast<T*>(copy->host()) + b * (tensor.numel() / tensor.size(0));
  }
};

struct Loader::Slot {
  Batch batch;
  std::shared_ptr<const std::vector<int64_t>> order;  // of the epoch
  std::vector<Attempts> attempts;                     // by position in the batch
  // Finished views; or, for a device that makes them, pixels (B, room) u8 and a plan for each view
  // (B, room) i32.
  Arriving images, second, pixels, plans, second_plans;
  std::exception_ptr failure;     // other than a broken file
  int64_t taken = 0, filled = 0;  // positions; guarded by mutex_, as is
  bool done = false;              // filled, and mixed where that is asked for

  int64_t size() const { return static_cast<int64_t>(attempts.size()); }
  template <class Visit>
  void each_copy(const Visit& visit) const {
    for (const Arriving* a : {&images, &second, &pixels, &plans, &second_plans}) {
      if (a->copy != nullptr) visit(*a->copy);
    }
  }
};

Loader::Loader(std::shared_ptr<const Dataset> dataset, DataOptions options)
    : dataset_(std::move(dataset)),
      options_(std::move(options)),
      augment_(options_),
      cache_(dataset_, options_.cache_bytes),
      tried_(dataset_->size()) {
  check_options();
  probe();
  const int64_t n = dataset_->size(), batch = options_.batch_size;
  TESSERA_CHECK_USAGE(!options_.drop_last || batch <= n,
                      "[data] batch size {} is larger than the set of {} pictures", batch, n);
  batches_per_epoch_ = options_.drop_last ? n / batch : (n + batch - 1) / batch;
  // The host has vector code for views; and a batch that is mixed is mixed on the host.
  const bool mixed = options_.classes > 0 && options_.mix.mixes();
  if (options_.device != Device::kCpu && !mixed && PictureStager::takes(options_)) {
    stager_.emplace(options_);
    const auto on_device = [&](const Normalizer& normalizer) {
      return Tensor::from(normalizer.table(), {options_.channels, 257}, options_.device);
    };
    levels_ = on_device(augment_.normalizer());
    second_levels_ = on_device(augment_.second_normalizer());
  }
  for (int i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { run_worker(); });
}

void Loader::check_options() const {
  const DataOptions& o = options_;
  TESSERA_CHECK_USAGE(o.batch_size > 0, "[data] batch size {} is not a number from 1 on",
                      o.batch_size);
  TESSERA_CHECK_USAGE(o.workers >= 0, "[data] {} workers", o.workers);
  TESSERA_CHECK_USAGE(o.cache_bytes >= 0, "[data] a cache of {} bytes", o.cache_bytes);
  TESSERA_CHECK_USAGE(dataset_->size() > 0, "[data] {}: no pictures to train on", o.spec);
  const auto known = static_cast<int64_t>(dataset_->class_names().size());
  TESSERA_CHECK_USAGE(o.classes >= 0 && (o.classes == 0 || known <= o.classes),
                      "[data] {}: pictures of {} classes for targets of {}", o.spec, known,
                      o.classes);
  o.mix.check();
}

// A set of which nothing decodes is refused before anything else begins.
void Loader::probe() {
  const int64_t most = std::min(dataset_->size(), kEnoughTried);
  for (int64_t i = 0; i < most; ++i) {
    mark_tried(i);
    try {
      cache_.picture(i);
      return;
    } catch (const Error& error) {
      broken_.emplace(i, error.what());
    }
  }
  throw UsageError(broken_summary());
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Loader::seek(int64_t epoch, int64_t k) {
  TESSERA_CHECK(epoch >= 0 && k >= 0 && k < batches_per_epoch_,
                "[data] there is no batch {} in epoch {} of {} batches", k, epoch,
                batches_per_epoch_);
  const std::lock_guard lock(mutex_);
  slots_.clear();  // a worker in the middle of one holds on to it and finishes unseen
  next_epoch_ = epoch;
  next_k_ = k;
}

std::shared_ptr<const std::vector<int64_t>> Loader::order_of(int64_t epoch) {
  auto& order = orders_[epoch];
  if (order) return order;
  auto fresh = std::make_shared<std::vector<int64_t>>(dataset_->size());
  std::iota(fresh->begin(), fresh->end(), int64_t{0});
  PhiloxStream random({options_.seed, static_cast<uint32_t>(epoch), kSiteOrder});
  for (int64_t i = dataset_->size() - 1; i > 0; --i) {
    std::swap((*fresh)[i], (*fresh)[random.below(i + 1)]);
  }
  order = std::move(fresh);
  std::erase_if(orders_, [&](const auto& entry) {  // slots still in use hold on to theirs
    return entry.first != epoch && entry.first != epoch - 1;
  });
  return orders_[epoch];
}

std::shared_ptr<Loader::Slot> Loader::make_slot(int64_t epoch, int64_t k) {
  auto slot = std::make_shared<Slot>();
  const int64_t first = k * options_.batch_size;
  const int64_t count = std::min(options_.batch_size, dataset_->size() - first);
  slot->order = order_of(epoch);
  slot->batch.epoch = epoch;
  slot->batch.k = k;
  const Device device = options_.device;
  if (stager_) {
    slot->pixels = {{count, stager_->pixel_room()}, DType::kU8, device};
    slot->plans = {{count, stager_->plan_room()}, DType::kI32, device};
    if (options_.two_views()) {
      slot->second_plans = {{count, stager_->second_plan_room()}, DType::kI32, device};
    }
  } else {
    slot->images = {view_shape(count, false), DType::kF32, device};
    if (options_.two_views()) slot->second = {view_shape(count, true), DType::kF32, device};
  }
  slot->batch.labels.resize(count);
  slot->batch.indices.resize(count);
  slot->batch.mirrored.resize(count);
  slot->attempts.resize(count);
  return slot;
}

// Queues batches until workers have one in hand each and one to come; just the next without
// workers.
void Loader::fill_ahead() {
  const size_t ahead = threads_.empty() ? 1 : threads_.size() + 1;
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (slots_.size() >= ahead) return;
    }
    auto slot = make_slot(next_epoch_, next_k_);
    if (++next_k_ == batches_per_epoch_) {
      next_k_ = 0;
      ++next_epoch_;
    }
    {
      const std::lock_guard lock(mutex_);
      slots_.push_back(std::move(slot));
    }
    work_.notify_all();
  }
}

// Fills one chunk of the oldest batch that has positions left; false when there is none.
bool Loader::work_on(std::unique_lock<std::mutex>& lock, bool front_only) {
  const auto open = std::find_if(slots_.begin(), slots_.end(),
                                 [](const auto& slot) { return slot->taken < slot->size(); });
  if (open == slots_.end() || (front_only && open != slots_.begin())) return false;
  const std::shared_ptr<Slot> slot = *open;
  const int64_t first = slot->taken, last = std::min(first + kChunk, slot->size());
  slot->taken = last;
  lock.unlock();
  const auto keep_failure = [&](std::exception_ptr failure) {
    lock.lock();
    if (failure && !slot->failure) slot->failure = failure;
  };
  keep_failure(failure_of([&] {
    for (int64_t position = first; position < last; ++position) fill(*slot, position);
  }));
  slot->filled += last - first;
  if (slot->filled < slot->size()) return true;
  if (!slot->failure) {  // whoever fills the last part mixes the batch and sends it
    lock.unlock();
    keep_failure(failure_of([&] { finish(*slot); }));
  }
  slot->done = true;
  done_.notify_all();
  return true;
}

void Loader::run_worker() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (!work_on(lock, false)) work_.wait(lock);
  }
}

void Loader::fill(Slot& slot, int64_t position) const {
  const int64_t n = dataset_->size();
  const int64_t epoch = slot.batch.epoch;
  const int64_t place = slot.batch.k * options_.batch_size + position;  // within the epoch
  const int64_t offset = dataset_->endless() ? epoch * n : 0;
  Attempts& attempts = slot.attempts[position];
  PhiloxStream replacement = stream_at(options_.seed, epoch, kSiteReplacement, place);
  int64_t index = (*slot.order)[place] + offset;
  std::shared_ptr<const Image> picture;
  for (int64_t tries = 0; tries <= std::min(n, kMaxReplacements); ++tries) {
    try {
      picture = cache_.picture(index);
      attempts.used = index;
      break;
    } catch (const Error& error) {
      attempts.broken.emplace_back(index, error.what());
      // A drawn file, then its successors: a set with one good picture still yields it.
      index = (tries == 0 ? replacement.below(n) : (index - offset + 1) % n) + offset;
    }
  }
  if (attempts.used < 0) return;
  slot.batch.indices[position] = index;
  slot.batch.labels[position] = dataset_->label(index);

  PhiloxStream random = stream_at(options_.seed, epoch, kSiteAugment, place);
  if (stager_) {
    const Cut cut = augment_.cut(picture->height, picture->width, random);
    const std::optional<Image> changed = augment_.recolored(*picture, random);
    stager_->stage(changed ? *changed : *picture, cut, slot.pixels.row<uint8_t>(position),
                   slot.plans.row<int32_t>(position),
                   options_.two_views() ? slot.second_plans.row<int32_t>(position) : nullptr);
    slot.batch.mirrored[position] = cut.placement.mirrored ? 1 : 0;
    return;
  }
  float* const second = options_.two_views() ? slot.second.row<float>(position) : nullptr;
  slot.batch.mirrored[position] =
      augment_(*picture, random, slot.images.row<float>(position), second) ? 1 : 0;
}

void Loader::finish(Slot& slot) const {
  if (options_.classes > 0) mix(slot);
  slot.each_copy([](Transfer& copy) { copy.send(); });
}

// Of a whole batch: pictures, unless the device makes them, which it does where none is mixed; and
// targets. Its stream is that of a place behind all pictures' places of the epoch. A batch with a
// picture that cannot be had will not be handed out.
void Loader::mix(Slot& slot) const {
  for (const Attempts& attempts : slot.attempts) {
    if (attempts.used < 0) return;
  }
  const int64_t place = dataset_->size() + slot.batch.k;
  PhiloxStream random = stream_at(options_.seed, slot.batch.epoch, kSiteAugment, place);
  const Mix mix = draw_mix(options_.mix, options_.height, options_.width, random);
  if (!stager_) mix_images(mix, slot.images.tensor.shape(), slot.images.row<float>(0));
  slot.batch.targets =
      mixed_targets(mix, slot.batch.labels, options_.classes, options_.mix.label_smoothing);
}

Batch Loader::next() {
  fill_ahead();
  std::unique_lock lock(mutex_);
  const std::shared_ptr<Slot> slot = slots_.front();
  // The caller helps with the batch that it waits for; without workers it does all of it.
  while (!slot->done) {
    if (!work_on(lock, true)) done_.wait(lock);
  }
  slots_.pop_front();
  lock.unlock();
  if (slot->failure) std::rethrow_exception(slot->failure);
  account(*slot);
  if (!threads_.empty()) fill_ahead();  // they work while the caller trains
  slot->each_copy([](Transfer& copy) { copy.arrive(); });
  Batch& batch = slot->batch;
  batch.images = stager_ ? make_view(*slot, false) : slot->images.tensor;
  if (options_.two_views()) batch.second = stager_ ? make_view(*slot, true) : slot->second.tensor;
  return std::move(batch);
}

Shape Loader::view_shape(int64_t count, bool second) const {
  return {count, options_.channels, second ? options_.second_height : options_.height,
          second ? options_.second_width : options_.width};
}

// (B, C, H, W) on the device, of the pixels and plans that arrived there.
Tensor Loader::make_view(const Slot& slot, bool second) const {
  const Tensor out = Tensor::empty(view_shape(slot.size(), second), DType::kF32, options_.device);
  out.backend().pictures({slot.pixels.tensor.view(),
                          (second ? slot.second_plans : slot.plans).tensor.view(),
                          (second ? second_levels_ : levels_).view(), out.view()});
  return out;
}

void Loader::mark_tried(int64_t index) {
  const int64_t i = index % dataset_->size();  // an endless set goes on beyond its size
  tried_count_ += !tried_[i];
  tried_[i] = true;
}

void Loader::account(const Slot& slot) {
  int64_t decoded = 0;
  for (const Attempts& attempts : slot.attempts) {
    for (const auto& [index, reason] : attempts.broken) {
      mark_tried(index);
      broken_.emplace(index, reason);
    }
    if (attempts.used < 0) continue;
    mark_tried(attempts.used);
    ++decoded;
  }
  if (decoded < slot.size() || too_many_broken()) throw Error(broken_summary());
}

// More than 1 % of the set are known to be broken, or more of those tried than chance would give if
// 1 % were (three deviations): a sound set must not be stopped by two early finds.
bool Loader::too_many_broken() const {
  if (tried_count_ < kEnoughTried) return false;
  const auto broken = static_cast<double>(broken_.size());
  const double expected = 0.01 * static_cast<double>(tried_count_);
  return broken > 0.01 * static_cast<double>(dataset_->size()) ||
         broken > expected + 3 * std::sqrt(expected);
}

// One line: how many, what is wrong with the first, and the names of two more.
std::string Loader::broken_summary() const {
  std::string others;
  int named = 0;
  for (const auto& [index, reason] : broken_) {
    if (named > 0) others += (named == 1 ? "; likewise " : ", ") + dataset_->name(index);
    if (++named == 3) break;
  }
  return fmt::format("[data] {} of the {} pictures tried cannot be decoded: {}{}{}", broken_.size(),
                     tried_count_, broken_.begin()->second, others,
                     static_cast<int>(broken_.size()) > named ? ", ..." : "");
}

std::vector<BrokenFile> Loader::broken_files() const {
  std::vector<BrokenFile> files;
  for (const auto& [index, reason] : broken_) files.push_back({dataset_->name(index), reason});
  std::sort(files.begin(), files.end(),
            [](const BrokenFile& a, const BrokenFile& b) { return a.name < b.name; });
  return files;
}

}  // namespace tessera
