// What the data tests share: where the test files lie, a folder that removes itself, a small set.
// Rule: no test writes outside its own temporary folder.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "engine/error.h"

namespace tessera {

inline std::string test_file(const std::string& name) { return "tests/data/files/" + name; }

inline std::vector<uint8_t> bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class TempFolder {
 public:
  TempFolder() {
    std::string pattern = std::filesystem::temp_directory_path() / "tessera_data_XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }

  const std::string& path() const { return path_; }
  // Creates folders on the way.
  std::string add(const std::string& name, const std::vector<uint8_t>& bytes) const {
    const std::filesystem::path file = std::filesystem::path(path_) / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return file;
  }
  std::string add_text(const std::string& name, const std::string& text) const {
    return add(name, {text.begin(), text.end()});
  }
  std::string add_folder(const std::string& name) const {
    const std::filesystem::path folder = std::filesystem::path(path_) / name;
    std::filesystem::create_directories(folder);
    return folder;
  }

 private:
  std::string path_;
};

// Pictures made by a function; those for which it throws are the broken ones.
class MadeDataset : public Dataset {
 public:
  MadeDataset(int64_t size, std::function<Image(int64_t)> make)
      : size_(size), make_(std::move(make)) {}

  int64_t size() const override { return size_; }
  const std::vector<std::string>& class_names() const override { return names_; }
  int64_t label(int64_t i) const override { return i % 3; }
  std::string name(int64_t i) const override { return "made-" + std::to_string(i); }
  Image picture(int64_t i) const override { return make_(i); }

 private:
  int64_t size_;
  std::function<Image(int64_t)> make_;
  std::vector<std::string> names_ = {"a", "b", "c"};
};

// A picture whose every pixel says which picture and where.
inline Image numbered_picture(int64_t i, int height, int width) {
  Image image(width, height, 3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.at(y, x, 0) = static_cast<uint8_t>(i);
      image.at(y, x, 1) = static_cast<uint8_t>(7 * y + 40);
      image.at(y, x, 2) = static_cast<uint8_t>(5 * x + 20);
    }
  }
  return image;
}

// The message of the Error that `action` throws; empty when it throws none.
template <class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace tessera
