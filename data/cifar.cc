// Reads whole files of records and hands out pictures from memory.
// Rule: planes become interleaved pixels here; nobody else knows the record.
#include "data/cifar.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "engine/error.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr int kSide = 32;
constexpr int64_t kPlane = kSide * kSide;
constexpr int64_t kRecord = 1 + 3 * kPlane;
constexpr int64_t kMaxFileBytes = int64_t{4} << 30;  // CIFAR-10's own have 30 MB

}  // namespace

CifarDataset::CifarDataset(const std::vector<std::string>& files) {
  for (const std::string& path : files) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    TESSERA_CHECK_USAGE(file, "[cifar] {}: cannot be opened", path);
    const int64_t bytes = file.tellg();
    TESSERA_CHECK_USAGE(bytes > 0 && bytes % kRecord == 0 && bytes <= kMaxFileBytes,
                        "[cifar] {}: {} bytes are no whole number of records of {} bytes", path,
                        bytes, kRecord);
    parts_.push_back({path, size()});
    const size_t start = records_.size();
    records_.resize(start + static_cast<size_t>(bytes));
    file.seekg(0);
    file.read(reinterpret_cast<char*>(records_.data() + start), bytes);
    TESSERA_CHECK_USAGE(file.gcount() == bytes, "[cifar] {}: cannot be read", path);
    for (int64_t i = parts_.back().first; i < size(); ++i) {
      TESSERA_CHECK_USAGE(label(i) < 10, "[cifar] {}: label {} in record {}, wanted 0 to 9", path,
                          label(i), i - parts_.back().first);
    }
  }
}

std::vector<std::string> CifarDataset::training_files(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; it != end && !error; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with("data_batch_") && name.ends_with(".bin")) files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> CifarDataset::test_files(const std::string& folder) {
  const fs::path file = fs::path(folder) / "test_batch.bin";
  std::error_code error;
  return fs::exists(file, error) ? std::vector<std::string>{file.string()}
                                 : std::vector<std::string>{};
}

int64_t CifarDataset::size() const { return static_cast<int64_t>(records_.size()) / kRecord; }

const std::vector<std::string>& CifarDataset::class_names() const {
  static const std::vector<std::string> names = {
      "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  return names;
}

int64_t CifarDataset::label(int64_t i) const { return records_[i * kRecord]; }

std::string CifarDataset::name(int64_t i) const {
  const Part* part = &parts_[0];
  for (const Part& p : parts_) {
    if (p.first <= i) part = &p;
  }
  return fmt::format("{}#{}", part->file, i - part->first);
}

std::string CifarDataset::version(int64_t i) const {
  return {reinterpret_cast<const char*>(&records_[i * kRecord]), size_t{kRecord}};
}

Image CifarDataset::picture(int64_t i) const {
  Image image(kSide, kSide, 3);
  const uint8_t* planes = &records_[i * kRecord + 1];
  for (int64_t p = 0; p < kPlane; ++p) {
    for (int64_t c = 0; c < 3; ++c) image.pixels[3 * p + c] = planes[c * kPlane + p];
  }
  return image;
}

}  // namespace tessera
