// Tells the kinds of data sets apart.
// Rule: what is there decides (a folder's files), not how it is called.
#include "data/open.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "data/builtin.h"
#include "data/cifar.h"
#include "data/folder.h"
#include "data/holdout.h"
#include "engine/error.h"

namespace tessera {
namespace {

constexpr std::string_view kBuiltin = "builtin:";
constexpr int64_t kBuiltinHeldOut = 1000;

DataSplit open_builtin(std::string_view count, double holdout, int height, int width) {
  int64_t n = kBuiltinEpoch;
  if (!count.empty()) {
    const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), n);
    TESSERA_CHECK_USAGE(error == std::errc() && end == count.data() + count.size() && n > 0,
                        "[data] builtin:{}: wanted builtin: or builtin:N with a number of pictures",
                        count);
  }
  TESSERA_CHECK_USAGE(holdout >= 0 && holdout < 1, "[data] --holdout {} is not in [0, 1)", holdout);
  const int64_t held_out =
      holdout > 0 ? std::max<int64_t>(std::llround(holdout * static_cast<double>(n)), 1)
                  : kBuiltinHeldOut;
  return {
      std::make_shared<BuiltinDataset>(n, count.empty(), PictureStream::kTraining, height, width),
      std::make_shared<BuiltinDataset>(held_out, false, PictureStream::kHeldOut, height, width)};
}

DataSplit open_cifar(const std::string& folder, double holdout) {
  const std::vector<std::string> training = CifarDataset::training_files(folder);
  const std::vector<std::string> test = CifarDataset::test_files(folder);
  const auto dataset = std::make_shared<CifarDataset>(training.empty() ? test : training);
  if (holdout == 0 && !training.empty() && !test.empty()) {
    return {dataset, std::make_shared<CifarDataset>(test)};
  }
  return split_by_class(dataset, holdout);
}

}  // namespace

DataSplit open_data(const std::string& spec, double holdout, int height, int width) {
  if (spec.starts_with(kBuiltin)) {
    return open_builtin(std::string_view(spec).substr(kBuiltin.size()), holdout, height, width);
  }
  std::error_code error;
  TESSERA_CHECK_USAGE(std::filesystem::exists(spec, error), "[data] {}: no such folder or file",
                      spec.empty() ? "''" : spec);
  if (std::filesystem::is_directory(spec, error)) {
    if (!CifarDataset::training_files(spec).empty() || !CifarDataset::test_files(spec).empty()) {
      return open_cifar(spec, holdout);
    }
    return split_by_class(std::make_shared<FolderDataset>(spec), holdout);
  }
  if (spec.ends_with(".bin")) {
    return split_by_class(std::make_shared<CifarDataset>(std::vector<std::string>{spec}), holdout);
  }
  return split_by_class(std::make_shared<PictureFile>(spec), holdout);
}

}  // namespace tessera
