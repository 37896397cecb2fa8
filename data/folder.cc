// Walks a folder once and sorts what it finds.
// Rule: a folder that cannot be read is an error, never an empty set.
#include "data/folder.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <system_error>

#include "data/decode.h"
#include "engine/error.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxDepth = 32;  // of folders in folders: a link to a parent would never end

bool is_picture_name(const fs::path& path) {
  std::string suffix = path.extension().string();
  for (char& c : suffix) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return suffix == ".jpg" || suffix == ".jpeg" || suffix == ".png";
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

struct Listing {
  std::vector<std::string> pictures, folders;  // names, sorted
  int64_t others = 0;                          // files that are no pictures
};

Listing list(const fs::path& folder) {
  Listing found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; it != end && !error; it.increment(error)) {
    if (is_hidden(it->path())) continue;
    std::error_code dangling;  // a link that leads nowhere is no picture
    if (it->is_directory(dangling)) {
      found.folders.push_back(it->path().filename().string());
    } else if (it->is_regular_file(dangling) && is_picture_name(it->path())) {
      found.pictures.push_back(it->path().filename().string());
    } else {
      ++found.others;
    }
  }
  TESSERA_CHECK_USAGE(!error, "[data] {}: {}", folder.string(), error.message());
  std::sort(found.pictures.begin(), found.pictures.end());
  std::sort(found.folders.begin(), found.folders.end());
  return found;
}

// All pictures in and below root/below: a folder's own before those of its subfolders.
void collect(const fs::path& root, const fs::path& below, int depth,
             std::vector<std::string>* out) {
  TESSERA_CHECK_USAGE(depth <= kMaxDepth, "[data] {}: more than {} folders deep",
                      (root / below).string(), kMaxDepth);
  const Listing here = list(root / below);
  for (const std::string& name : here.pictures) out->push_back((below / name).string());
  for (const std::string& name : here.folders) collect(root, below / name, depth + 1, out);
}

// A file that is gone has a size and a time of its own: it is noticed when it is read.
std::string version_of(const std::string& path) {
  std::error_code gone;
  const auto bytes = fs::file_size(path, gone);
  const auto changed = fs::last_write_time(path, gone).time_since_epoch().count();
  return fmt::format("{} bytes, {}", bytes, changed);
}

}  // namespace

FolderDataset::FolderDataset(const std::string& folder) : root_(folder) {
  while (root_.size() > 1 && root_.back() == '/') root_.pop_back();
  std::error_code ignored;
  TESSERA_CHECK_USAGE(fs::exists(root_, ignored), "[data] {}: no such folder", root_);
  TESSERA_CHECK_USAGE(fs::is_directory(root_, ignored), "[data] {}: not a folder", root_);

  const Listing top = list(root_);
  std::vector<std::string> without;  // class folders that hold no picture
  for (const std::string& name : top.folders) {
    std::vector<std::string> paths;
    collect(root_, name, 1, &paths);
    if (paths.empty()) {
      without.push_back(name);
      continue;
    }
    for (std::string& path : paths) {
      files_.push_back({std::move(path), static_cast<int>(class_names_.size())});
    }
    class_names_.push_back(name);
  }
  if (files_.empty()) {  // flat
    for (const std::string& name : top.pictures) files_.push_back({name, 0});
    TESSERA_CHECK_USAGE(!files_.empty(),
                        "[data] {}: no pictures in this folder ({} other files; .jpg, .jpeg and "
                        ".png are read)",
                        root_, top.others);
    return;
  }
  TESSERA_CHECK_USAGE(without.empty(), "[data] {}: class folder {} holds no pictures", root_,
                      without[0]);
  unused_ = std::ssize(top.pictures);
}

Image FolderDataset::picture(int64_t i) const { return read_image(name(i)); }

std::string FolderDataset::version(int64_t i) const { return version_of(name(i)); }

std::string FolderDataset::note() const {
  if (unused_ == 0) return "";
  return fmt::format("note: {}: {} {} beside the class folders {} not used", root_, unused_,
                     unused_ == 1 ? "picture" : "pictures", unused_ == 1 ? "is" : "are");
}

std::string PictureFile::version(int64_t) const { return version_of(path_); }

Image PictureFile::picture(int64_t) const { return read_image(path_); }

}  // namespace tessera
