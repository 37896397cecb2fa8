// Dataset: numbered pictures with class labels, whatever they come from.
// Rule: picture i is always the same picture; every function is const and safe to call from many
// threads. Order, augmentation and batches belong to the loader.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/image.h"

namespace tessera {

class Dataset {
 public:
  virtual ~Dataset() = default;

  // Pictures an epoch.
  virtual int64_t size() const = 0;
  // True: every index from 0 on is a picture of its own and an epoch takes the next size() of them.
  virtual bool endless() const { return false; }
  // True: picture() costs no more than a copy.
  virtual bool in_memory() const { return false; }
  // In label order; empty where there are no classes.
  virtual const std::vector<std::string>& class_names() const = 0;
  virtual int64_t label(int64_t i) const = 0;  // 0 where there are no classes
  // What messages and lists call the picture: the path of a file.
  virtual std::string name(int64_t i) const = 0;
  // Text that changes when another picture takes this one's name: a file's size and time of change,
  // the size in which a picture is drawn, or its bytes where they are in memory.
  virtual std::string version(int64_t) const { return ""; }
  // One line about the set that a person should read, such as what of a folder is not used; most
  // have none.
  virtual std::string note() const { return ""; }
  // RGB, in its own size. Error that names the picture when it cannot be had.
  virtual Image picture(int64_t i) const = 0;
};

// A choice of another set's pictures, renumbered from 0.
class SubsetDataset : public Dataset {
 public:
  SubsetDataset(std::shared_ptr<const Dataset> base, std::vector<int64_t> indices)
      : base_(std::move(base)), indices_(std::move(indices)) {}

  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  bool in_memory() const override { return base_->in_memory(); }
  const std::vector<std::string>& class_names() const override { return base_->class_names(); }
  int64_t label(int64_t i) const override { return base_->label(indices_[i]); }
  std::string name(int64_t i) const override { return base_->name(indices_[i]); }
  std::string version(int64_t i) const override { return base_->version(indices_[i]); }
  std::string note() const override { return base_->note(); }
  Image picture(int64_t i) const override { return base_->picture(indices_[i]); }

 private:
  std::shared_ptr<const Dataset> base_;
  std::vector<int64_t> indices_;
};

}  // namespace tessera
