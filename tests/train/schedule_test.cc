// The learning rate against values computed by hand from MAE's formula.
#include "train/schedule.h"

#include <catch2/catch.hpp>
#include <cmath>

namespace tessera {
namespace {

TEST_CASE("the rate is scaled by pictures a step over 256") {
  CHECK(scaled_learning_rate(1.5e-4, 4096) == Approx(2.4e-3));
  CHECK(scaled_learning_rate(1.5e-3, 256) == Approx(1.5e-3));
  CHECK(scaled_learning_rate(1e-3, 64) == Approx(2.5e-4));
}

TEST_CASE("warm-up is linear from zero and does not know min_lr, then half a cosine") {
  const LearningRateSchedule schedule{1.0, 0.1, 10, 110};
  CHECK(schedule.at(0) == 0);
  CHECK(schedule.at(1) == Approx(0.1));
  CHECK(schedule.at(9) == Approx(0.9));
  CHECK(schedule.at(10) == Approx(1.0));
  CHECK(schedule.at(35) == Approx(0.1 + 0.9 * 0.5 * (1 + std::sqrt(0.5))));  // a quarter: cos 45°
  CHECK(schedule.at(60) == Approx(0.55));                                    // half way
  CHECK(schedule.at(85) == Approx(0.1 + 0.9 * 0.5 * (1 - std::sqrt(0.5))));
  CHECK(schedule.at(109) == Approx(0.1 + 0.9 * 0.5 * (1 - std::cos(M_PI / 100))));
  CHECK(schedule.at(110) == Approx(0.1));
  CHECK(schedule.at(5000) == Approx(0.1));
}

TEST_CASE("steps are fractions of epochs as in the reference") {
  // 3 epochs of 7 steps, half an epoch of warm-up: epoch 2 + 3/7 of the reference's formula.
  const LearningRateSchedule schedule{2.4e-3, 0, 0.5 * 7, 21};
  CHECK(schedule.at(3) == Approx(2.4e-3 * (3.0 / 7) / 0.5));
  const double epoch = 2 + 3.0 / 7;
  const double expected = 2.4e-3 * 0.5 * (1 + std::cos(M_PI * (epoch - 0.5) / (3 - 0.5)));
  CHECK(schedule.at(17) == Approx(expected));
}

TEST_CASE("no warm-up, nothing but warm-up, a single step") {
  CHECK(LearningRateSchedule{1, 0, 0, 4}.at(0) == 1);
  CHECK(LearningRateSchedule{1, 0, 0, 4}.at(2) == Approx(0.5));
  CHECK(LearningRateSchedule{1, 0, 4, 4}.at(3) == Approx(0.75));
  CHECK(LearningRateSchedule{1, 0.5, 4, 4}.at(4) == 0.5);
  CHECK(LearningRateSchedule{1, 0, 8, 4}.at(3) == Approx(0.375));  // cut off inside the warm-up
  CHECK(LearningRateSchedule{1, 0, 0, 1}.at(0) == 1);
}

}  // namespace
}  // namespace tessera
