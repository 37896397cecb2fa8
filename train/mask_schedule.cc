// Progress between two bounds, rounded to a level.
#include "train/mask_schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/words.h"
#include "train/schedule.h"

namespace tessera {
namespace {

constexpr Word<MaskSchedule> kSchedules[] = {{MaskSchedule::kConstant, "constant"},
                                             {MaskSchedule::kLinear, "linear"},
                                             {MaskSchedule::kCosine, "cosine"},
                                             {MaskSchedule::kLoss, "loss"}};
constexpr double kShareOfNew = 0.01;  // a step's share of the average loss
constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

enum { kFirst, kAverage, kLast };

}  // namespace

const char* name_of(MaskSchedule schedule) { return word_for(kSchedules, schedule); }
MaskSchedule mask_schedule_from_name(std::string_view name) {
  return choice_for(kSchedules, "--mask-ratio-schedule", name);
}

std::vector<RecipeField> MaskRatioOptions::fields() {
  std::vector<RecipeField> list = {
      word_field("mask-ratio-schedule", schedule, mask_schedule_from_name, name_of),
      {"mask-ratio-end", &end},
      {"mask-loss-end", &loss_end},
  };
  for (RecipeField& field : list) field.optional = true;
  return list;
}

void MaskRatioOptions::check() const {
  if (constant()) {
    TESSERA_CHECK_USAGE(end < 0 && loss_end < 0,
                        "--mask-ratio-end and --mask-loss-end need a --mask-ratio-schedule");
    return;
  }
  TESSERA_CHECK_USAGE(end > 0 && end < 1,
                      "--mask-ratio-schedule {}: --mask-ratio-end must be in (0, 1), got {}",
                      name_of(schedule), end < 0 ? "none" : fmt::format("{}", end));
  TESSERA_CHECK_USAGE(schedule == MaskSchedule::kLoss || loss_end < 0,
                      "--mask-loss-end is for --mask-ratio-schedule loss");
}

MaskRatio::MaskRatio(double start, const MaskRatioOptions& options)
    : start_(start), options_(options), losses_(Tensor::full({3}, kUnknown, DType::kF64)) {}

double MaskRatio::progress(const StepPlace& place) const {
  const double share = double(place.step) / double(std::max<int64_t>(place.total_steps - 1, 1));
  if (options_.schedule == MaskSchedule::kLinear) return share;
  if (options_.schedule == MaskSchedule::kCosine) return cosine_between(0, 1, share);
  const double first = losses_.data<double>()[kFirst];
  // The loss of the step before has been heard, or it has not: the average is the same.
  const double now = heard_ < place.step ? average_with_last() : losses_.data<double>()[kAverage];
  if (std::isnan(now)) return 0;
  const double end = options_.loss_end >= 0 ? options_.loss_end : first / 2;
  return first > end ? (first - now) / (first - end) : 1;
}

double MaskRatio::at(const StepPlace& place) {
  if (options_.constant()) return start_;
  if (heard_ < 0) heard_ = place.step;
  constexpr double kSteps = double(kLevels - 1);
  const double level = std::round(std::clamp(progress(place), 0.0, 1.0) * kSteps);
  return start_ + (options_.end - start_) * level / kSteps;
}

double MaskRatio::average_with_last() const {
  const double* losses = losses_.data<double>();
  const double average = losses[kAverage], last = losses[kLast];
  if (std::isnan(last)) return average;
  return std::isnan(average) ? last : average + kShareOfNew * (last - average);
}

void MaskRatio::heard(const StepPlace& place, double loss) {
  if (options_.schedule != MaskSchedule::kLoss) return;
  heard_ = place.step + 1;
  double* losses = losses_.data<double>();
  losses[kAverage] = average_with_last();
  losses[kLast] = std::isfinite(loss) ? loss : kUnknown;
  if (!std::isnan(losses[kFirst])) return;
  losses[kFirst] = losses[kLast];
  if (options_.loss_end >= 0 && losses[kFirst] <= options_.loss_end) {
    remarks_.push_back(fmt::format(
        "note: --mask-loss-end {}: the first loss, {:.4f}, is no higher; the mask ratio "
        "goes from {} to {} at once",
        options_.loss_end, losses[kFirst], start_, options_.end));
  }
}

std::vector<NamedTensor> MaskRatio::state() const {
  if (options_.schedule != MaskSchedule::kLoss) return {};
  return {{"task/mask_ratio", losses_}};
}

}  // namespace tessera
