// From what a user typed after --data to data sets.
// Rule: a wrong path or word is a UsageError that names it; no picture is decoded here.
#pragma once

#include <memory>
#include <string>

#include "data/dataset.h"

namespace tessera {

struct DataSplit {
  std::shared_ptr<const Dataset> train;
  std::shared_ptr<const Dataset> held_out;  // never null; without pictures when nothing is held out
};

// spec:
//   builtin:            drawn pictures, endless, 50,000 an epoch
//   builtin:N           N drawn pictures
//   a folder with data_batch_*.bin or test_batch.bin: CIFAR-10; a single *.bin file likewise
//   any other folder    pictures, flat or one subfolder a class
//   a picture file      that one picture
// holdout in [0, 1): this share of each class, the last by sorted name, is held out; at least one
// of each class with two pictures or more when holdout > 0. With holdout 0, CIFAR-10 holds out its
// test_batch.bin if it is there. Drawn pictures are held out from a random stream of their own:
// holdout * N of them, 1,000 when holdout is 0.
// height and width are the size of drawn pictures; files keep their own.
DataSplit open_data(const std::string& spec, double holdout, int height, int width);

}  // namespace tessera
