// A confusion matrix as a picture.
// Rule: a cell's shade is its share of its row, the pictures that are of one class; figures and
// names stand where there is room for them.
#pragma once

#include <string>
#include <vector>

#include "data/image.h"
#include "train/probes/classification.h"

namespace tessera {

// One row for each class that pictures have, one column for each that they were taken for. `names`
// in label order; long ones are cut. Counts are written up to 30 classes, names up to 120.
Image confusion_sheet(const Classification& result, const std::vector<std::string>& names);

}  // namespace tessera
