// How well pictures were named: shares of right answers, class by class, who is taken for whom.
// Rule: pure functions of scores and labels. A score is anything of which more means likelier; of
// equal ones the class with the smaller number comes first, so that a verdict is never a coin.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace tessera {

struct ClassScores {
  int64_t pictures = 0;  // that are of this class
  int64_t answered = 0;  // that were taken for it
  double recall = 0;     // of its pictures, the share that was taken for it; 0 where there is none
  double precision = 0;  // of those taken for it, the share that was right; 0 where there is none
};

struct Classification {
  int64_t pictures = 0, classes = 0;
  double top1 = 0, top5 = 0;       // shares; top 5 is 1 where there are five classes or fewer
  std::vector<int64_t> confusion;  // (classes, classes): of the row's pictures, taken for column

  int64_t count(int64_t truth, int64_t answer) const {
    return confusion[static_cast<size_t>(truth * classes + answer)];
  }
  std::vector<ClassScores> by_class() const;
};

// scores (N, classes) f32, labels (N) in [0, classes). An Error when they do not fit.
Classification classify(const Tensor& scores, std::span<const int64_t> labels);

// The `count` likeliest classes of one row of scores, the likeliest first.
std::vector<int64_t> likeliest(std::span<const float> scores, int64_t count);

// UsageError unless the pictures have at least two classes; `what` names them in the message.
void check_has_classes(const std::vector<std::string>& classes, const std::string& what);

}  // namespace tessera
