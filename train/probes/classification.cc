// Counting.
#include "train/probes/classification.h"

#include <algorithm>
#include <numeric>

#include "engine/error.h"

namespace tessera {

std::vector<int64_t> likeliest(std::span<const float> scores, int64_t count) {
  std::vector<int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto middle = order.begin() + std::min<int64_t>(count, std::ssize(order));
  std::partial_sort(order.begin(), middle, order.end(), [&](int64_t a, int64_t b) {
    const float sa = scores[static_cast<size_t>(a)], sb = scores[static_cast<size_t>(b)];
    return sa > sb || (sa == sb && a < b);
  });
  order.erase(middle, order.end());
  return order;
}

Classification classify(const Tensor& scores, std::span<const int64_t> labels) {
  TESSERA_CHECK(scores.ndim() == 2 && scores.size(0) == std::ssize(labels),
                "[classify] scores {} for {} labels", describe(scores), labels.size());
  Classification result;
  result.pictures = scores.size(0);
  result.classes = scores.size(1);
  result.confusion.assign(static_cast<size_t>(result.classes * result.classes), 0);
  const std::vector<float> values = scores.to_vector<float>();
  const size_t classes = static_cast<size_t>(result.classes);
  int64_t first = 0, among_five = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    TESSERA_CHECK(labels[i] >= 0 && labels[i] < result.classes, "[classify] label {} of {} classes",
                  labels[i], result.classes);
    const auto best = likeliest(std::span(values).subspan(i * classes, classes), 5);
    first += best[0] == labels[i];
    among_five += std::find(best.begin(), best.end(), labels[i]) != best.end();
    ++result.confusion[static_cast<size_t>(labels[i] * result.classes + best[0])];
  }
  if (result.pictures > 0) {
    result.top1 = double(first) / double(result.pictures);
    result.top5 = double(among_five) / double(result.pictures);
  }
  return result;
}

std::vector<ClassScores> Classification::by_class() const {
  std::vector<ClassScores> scores(static_cast<size_t>(classes));
  for (int64_t truth = 0; truth < classes; ++truth) {
    for (int64_t answer = 0; answer < classes; ++answer) {
      scores[static_cast<size_t>(truth)].pictures += count(truth, answer);
      scores[static_cast<size_t>(answer)].answered += count(truth, answer);
    }
  }
  for (int64_t c = 0; c < classes; ++c) {
    ClassScores& s = scores[static_cast<size_t>(c)];
    if (s.pictures > 0) s.recall = double(count(c, c)) / double(s.pictures);
    if (s.answered > 0) s.precision = double(count(c, c)) / double(s.answered);
  }
  return scores;
}

void check_has_classes(const std::vector<std::string>& classes, const std::string& what) {
  TESSERA_CHECK_USAGE(classes.size() >= 2,
                      "{}: {}; labels are needed here: one subfolder a class, two or more", what,
                      classes.empty() ? "these pictures have no classes"
                                      : "there is only one class, " + classes[0]);
}

}  // namespace tessera
