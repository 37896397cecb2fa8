// Which pictures of a set are kept back for evaluation.
// Rule: the last of each class, in the set's own order (sorted names); no draw is involved, so the
// same folder always gives the same split.
#pragma once

#include <memory>

#include "data/open.h"

namespace tessera {

// fraction in [0, 1). Of n pictures of a class, fraction * n (rounded) are held out, at least one
// and at most n - 1 when fraction > 0 and n > 1.
DataSplit split_by_class(std::shared_ptr<const Dataset> dataset, double fraction);

}  // namespace tessera
