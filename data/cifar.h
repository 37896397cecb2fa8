// CIFAR-10 in its binary form: files of records, each a label and 32 x 32 x 3 values in planes.
// Rule: a file whose size is no whole number of records, or a label above 9, is an Error that names
// the file. All pictures are kept in memory (3 KB each).
#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"

namespace tessera {

class CifarDataset : public Dataset {
 public:
  explicit CifarDataset(const std::vector<std::string>& files);

  // data_batch_*.bin (sorted) and test_batch.bin in a folder; empty where there are none.
  static std::vector<std::string> training_files(const std::string& folder);
  static std::vector<std::string> test_files(const std::string& folder);

  int64_t size() const override;
  bool in_memory() const override { return true; }
  const std::vector<std::string>& class_names() const override;
  int64_t label(int64_t i) const override;
  std::string name(int64_t i) const override;     // "data_batch_1.bin#17"
  std::string version(int64_t i) const override;  // the record
  Image picture(int64_t i) const override;

 private:
  struct Part {
    std::string file;
    int64_t first;  // index of its first picture
  };

  std::vector<Part> parts_;
  std::vector<uint8_t> records_;
};

}  // namespace tessera
