// Pictures in a folder: flat, or one subfolder a class, as torchvision's ImageFolder reads it.
// Rule: the order is that of the sorted names, the same on every machine. Files are recognised by
// suffix (.jpg, .jpeg, .png in any case); names that begin with a dot are left out; links are
// followed. Nothing is decoded before it is asked for.
#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"

namespace tessera {

class FolderDataset : public Dataset {
 public:
  // UsageError that names the folder when it is missing or holds no picture, or one of its class
  // folders holds none. Where any subfolder holds pictures, those beside the subfolders are not
  // read, which note() says.
  explicit FolderDataset(const std::string& folder);

  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int64_t label(int64_t i) const override { return files_[i].label; }
  std::string name(int64_t i) const override { return root_ + "/" + files_[i].path; }
  std::string version(int64_t i) const override;
  std::string note() const override;
  Image picture(int64_t i) const override;

 private:
  struct File {
    std::string path;  // below root_
    int label;
  };

  std::string root_;
  std::vector<std::string> class_names_;
  std::vector<File> files_;  // by class, then by folder, then by name
  int64_t unused_ = 0;       // pictures beside the class folders
};

// One picture file as a set of one.
class PictureFile : public Dataset {
 public:
  explicit PictureFile(std::string path) : path_(std::move(path)) {}

  int64_t size() const override { return 1; }
  const std::vector<std::string>& class_names() const override { return no_classes_; }
  int64_t label(int64_t) const override { return 0; }
  std::string name(int64_t) const override { return path_; }
  std::string version(int64_t) const override;
  Image picture(int64_t) const override;

 private:
  std::string path_;
  std::vector<std::string> no_classes_;
};

}  // namespace tessera
