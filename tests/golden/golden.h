// The golden runner: compares Tessera with numbers that the official implementations wrote.
// Rule: cases are recognised by what a file holds, never by a list of names, so that any folder of
// this layout runs. A kind without a room here is named as skipped, and nothing passes in silence.
#pragma once

#include <iosfwd>
#include <map>
#include <string>

#include "engine/tensor.h"
#include "train/files/safetensors.h"

namespace tessera::golden {

// One file of cases.
class File {
 public:
  explicit File(const std::string& path);

  const std::string& name() const { return name_; }  // without the folder
  const SafetensorsReader& reader() const { return reader_; }
  std::string sidecar() const;  // the .json beside it
  bool has(const std::string& tensor) const { return reader_.find(tensor) != nullptr; }

  Tensor tensor(const std::string& tensor, Device device) const;
  // All tensors under a prefix, by the rest of their name.
  std::map<std::string, Tensor> under(const std::string& prefix, Device device) const;

 private:
  std::string name_;
  SafetensorsReader reader_;
};

// Counts, and prints what failed; one line sums up each file.
class Report {
 public:
  explicit Report(std::ostream& out) : out_(out) {}

  // One comparison: an empty fault passes.
  void count(const std::string& what, const std::string& fault);
  void count(const File& file, const std::string& what, const std::string& fault);
  void fail(const std::string& what, const std::string& fault);
  void skip(const std::string& what, const std::string& why);
  void remark(const std::string& line);

  int passed() const { return passed_; }
  int failed() const { return failed_; }

 private:
  std::ostream& out_;
  int passed_ = 0, failed_ = 0;
};

// What is wrong with `have` (its shape, dtype, or an element further than `allowed` from `want`);
// empty when nothing is.
std::string fault_within(const Tensor& have, const Tensor& want, double allowed);
// The same with ||have - want|| <= allowed ||want|| over all elements.
std::string fault_in_norm(const Tensor& have, const Tensor& want, double allowed);
double largest(const Tensor& t);  // max |t|, 0 for an empty tensor

// The rooms: each runs every case of its file.
void run_ops(const File& file, Device device, Report& report);
void run_mae(const File& file, Device device, Report& report);
void run_beit_pretraining(const File& file, Device device, Report& report);
void run_beit_classifier(const File& file, Device device, Report& report);
void run_dvae(const File& file, Device device, Report& report);
void run_dalle_encoder(const File& file, Device device, Report& report);
void run_block_masks(const std::string& path, const std::string& name, Report& report);
void run_transforms(const File& file, Report& report);

// Runs a folder: prints faults, skips and "N passed, N failed" to `out`. Exit status 0 when nothing
// failed. An Error when the folder cannot be read or holds no case.
int run_folder(const std::string& folder, Device device, std::ostream& out);

// The program: DIR [--device NAME]; DIR counts from where the user typed it.
int main(int argc, char** argv);

}  // namespace tessera::golden
