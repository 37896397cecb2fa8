// Counts each class, then deals the pictures out.
// Rule: both halves keep the set's order.
#include "data/holdout.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"

namespace tessera {

DataSplit split_by_class(std::shared_ptr<const Dataset> dataset, double fraction) {
  TESSERA_CHECK_USAGE(fraction >= 0 && fraction < 1, "[data] --holdout {} is not in [0, 1)",
                      fraction);
  const size_t classes = std::max<size_t>(dataset->class_names().size(), 1);
  std::vector<int64_t> left(classes);  // of each class: how many go to training
  for (int64_t i = 0; i < dataset->size(); ++i) ++left[dataset->label(i)];
  for (int64_t& n : left) {
    if (fraction == 0 || n < 2) continue;
    const int64_t held = std::llround(fraction * static_cast<double>(n));
    n -= std::clamp<int64_t>(held, 1, n - 1);
  }
  std::vector<int64_t> train, held_out;
  for (int64_t i = 0; i < dataset->size(); ++i) {
    (left[dataset->label(i)]-- > 0 ? train : held_out).push_back(i);
  }
  return {std::make_shared<SubsetDataset>(dataset, std::move(train)),
          std::make_shared<SubsetDataset>(dataset, std::move(held_out))};
}

}  // namespace tessera
