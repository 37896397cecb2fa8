// One thread reads ahead; it decodes and copies and calls no kernel.
#include "train/picture_batches.h"

#include <algorithm>
#include <cstring>
#include <future>

#include "engine/error.h"

namespace tessera {
namespace {

// 256 pictures of 32 x 32, 10 of 224 x 224: products large enough to be fast, and little memory.
constexpr int64_t kBatchPixels = 512 * 1024;
constexpr int64_t kMostPictures = 256;

}  // namespace

void PassedOver::note(const PictureBatch& batch) {
  read_ += std::ssize(batch.pictures);
  asked_ += std::ssize(batch.pictures) + std::ssize(batch.broken);
  held_back_.insert(held_back_.end(), batch.broken.begin(), batch.broken.end());
  if (read_ == 0) return;
  for (const std::string& line : held_back_) fmt::print(stderr, "passed over: {}\n", line);
  held_back_.clear();
}

void PassedOver::check_any_was_read() const {
  if (read_ > 0) return;
  TESSERA_CHECK(asked_ > 0, "there are no pictures to look at");
  TESSERA_CHECK(asked_ > 1, "{}", held_back_[0]);
  throw Error(fmt::format("none of {} pictures could be read: {}", asked_, held_back_[0]));
}

PictureBatch read_batch(const EvaluationReader& reader, std::span<const int64_t> pictures) {
  PictureBatch batch;
  std::vector<Tensor> read;  // (C, H, W) each
  for (const int64_t picture : pictures) {
    try {
      read.push_back(reader.picture(picture));
      batch.pictures.push_back(picture);
    } catch (const Error& error) {
      batch.broken.emplace_back(error.what());
    }
  }
  if (read.empty()) return batch;
  const Shape& one = read[0].shape();
  batch.images = Tensor::empty({std::ssize(read), one[0], one[1], one[2]});
  float* out = batch.images.data<float>();
  for (const Tensor& image : read) {
    std::memcpy(out, image.data<float>(), static_cast<size_t>(image.numel()) * sizeof(float));
    out += image.numel();
  }
  return batch;
}

void for_each_batch(const EvaluationReader& reader, std::span<const int64_t> pictures,
                    const std::function<void(const PictureBatch&)>& work,
                    const std::function<void(int64_t)>& progress) {
  const size_t size =
      static_cast<size_t>(std::clamp<int64_t>(kBatchPixels / reader.pixels(), 1, kMostPictures));
  const auto start = [&](size_t first) {
    const auto part = pictures.subspan(first, std::min(size, pictures.size() - first));
    return std::async(std::launch::async, [&reader, part] { return read_batch(reader, part); });
  };
  PassedOver passed_over;
  std::future<PictureBatch> next;
  if (!pictures.empty()) next = start(0);
  for (size_t first = 0; first < pictures.size(); first += size) {
    const PictureBatch batch = next.get();
    if (first + size < pictures.size()) next = start(first + size);
    passed_over.note(batch);
    if (!batch.pictures.empty()) work(batch);
    if (progress) progress(static_cast<int64_t>(std::min(first + size, pictures.size())));
  }
  passed_over.check_any_was_read();
}

std::vector<int64_t> spread_over(int64_t set_size, int64_t count) {
  const int64_t chosen = count < 0 ? set_size : std::min(count, set_size);
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < chosen; ++i) numbers.push_back(i * set_size / chosen);
  return numbers;
}

}  // namespace tessera
