// How much is hidden when: bounds, levels, and a loss that is never younger than two steps.
#include "train/mask_schedule.h"

#include <catch2/catch.hpp>
#include <set>

#include "engine/error.h"
#include "engine/raw.h"

namespace tessera {
namespace {

StepPlace at_step(int64_t step, int64_t total = 1000) {
  StepPlace place;
  place.step = step;
  place.total_steps = total;
  return place;
}

MaskRatioOptions options_of(MaskSchedule schedule, double end) {
  MaskRatioOptions options;
  options.schedule = schedule;
  options.end = end;
  return options;
}

}  // namespace

TEST_CASE("a constant ratio stays, and has no state") {
  MaskRatio ratio(0.75, {});
  for (int64_t step : {0, 500, 999}) CHECK(ratio.at(at_step(step)) == 0.75);
  CHECK(ratio.state().empty());
}

TEST_CASE("linear and cosine go from bound to bound in 16 levels") {
  for (const MaskSchedule schedule : {MaskSchedule::kLinear, MaskSchedule::kCosine}) {
    MaskRatio ratio(0.3, options_of(schedule, 0.9));
    std::set<double> levels;
    double before = 0;
    for (int64_t step = 0; step < 1000; ++step) {
      const double now = ratio.at(at_step(step));
      CHECK(now >= before);
      before = now;
      levels.insert(now);
    }
    CHECK(levels.size() == 16);
    CHECK(*levels.begin() == 0.3);
    CHECK(*levels.rbegin() == Approx(0.9));
    CHECK(ratio.at(at_step(500)) == Approx(0.6).margin(0.6 / 15));
  }
  // A quarter of the way the cosine lags behind.
  const double linear = MaskRatio(0, options_of(MaskSchedule::kLinear, 1)).at(at_step(250));
  const double cosine = MaskRatio(0, options_of(MaskSchedule::kCosine, 1)).at(at_step(250));
  CHECK(linear == Approx(0.25).margin(1.0 / 30));
  CHECK(cosine == Approx(0.1464).margin(1.0 / 30));
  // Downwards, and a run of one step.
  CHECK(MaskRatio(0.9, options_of(MaskSchedule::kLinear, 0.5)).at(at_step(999)) == Approx(0.5));
  CHECK(MaskRatio(0.9, options_of(MaskSchedule::kLinear, 0.5)).at(at_step(0, 1)) == 0.9);
}

// Hears one loss after another, as the steps that have it.
class Heard {
 public:
  explicit Heard(MaskRatio* ratio, int64_t step = 0) : ratio_(ratio), step_(step) {}
  void operator()(double loss, int times = 1) {
    for (int i = 0; i < times; ++i) {
      ratio_->at(at_step(step_));
      ratio_->heard(at_step(step_++), loss);
    }
  }
  double now() { return ratio_->at(at_step(step_)); }

 private:
  MaskRatio* ratio_;
  int64_t step_;
};

TEST_CASE("a falling loss drives the ratio, two steps late") {
  MaskRatioOptions options = options_of(MaskSchedule::kLoss, 0.9);
  options.loss_end = 1;
  MaskRatio ratio(0.5, options);
  Heard heard(&ratio);
  CHECK(heard.now() == 0.5);
  heard(2);  // the first loss
  CHECK(heard.now() == 0.5);
  heard(1);  // as low as --mask-loss-end, but the step before
  CHECK(heard.now() == 0.5);
  heard(1, 40);
  CHECK(heard.now() > 0.5);
  CHECK(heard.now() < 0.9);
  heard(1, 2000);
  CHECK(heard.now() == Approx(0.9));
  heard(5, 2000);  // it diverges
  CHECK(heard.now() == 0.5);
}

TEST_CASE("a loss that begins where the schedule ends is said once") {
  MaskRatioOptions options = options_of(MaskSchedule::kLoss, 0.9);
  options.loss_end = 2;
  MaskRatio high(0.5, options), low(0.5, options), half(0.5, options_of(MaskSchedule::kLoss, 0.9));
  Heard hears_high(&high), hears_low(&low), hears_half(&half);
  CHECK(low.remarks().empty());
  hears_high(2.1);
  hears_low(NAN);
  CHECK(low.remarks().empty());
  hears_low(2);
  hears_half(2);
  CHECK(high.remarks().empty());
  CHECK(half.remarks().empty());
  const std::vector<std::string> said = low.remarks();
  REQUIRE(said.size() == 1);
  CHECK_THAT(said[0], Catch::Contains("--mask-loss-end 2: the first loss, 2.0000, is no higher"));
  CHECK_THAT(said[0], Catch::Contains("from 0.5 to 0.9"));
  hears_low(1, 3);
  CHECK(low.remarks().empty());
  CHECK(low.at(at_step(5)) == Approx(0.9));
}

TEST_CASE("the last loss alone changes nothing in the next step") {
  MaskRatio a(0.5, options_of(MaskSchedule::kLoss, 0.9)),
      b(0.5, options_of(MaskSchedule::kLoss, 0.9));
  Heard by_a(&a), by_b(&b);
  for (int i = 0; i < 500; ++i) {
    by_a(2.0 - i * 0.002);
    by_b(2.0 - i * 0.002);
  }
  by_a(1000);
  by_b(0);
  CHECK(by_a.now() == by_b.now());
  by_a(1);
  by_b(1);
  CHECK(by_a.now() != by_b.now());
}

TEST_CASE("whether the last loss has been heard makes no difference") {
  MaskRatio early(0.5, options_of(MaskSchedule::kLoss, 0.9)),
      late(0.5, options_of(MaskSchedule::kLoss, 0.9));
  double before = 0;
  bool moved = false;
  for (int64_t step = 0; step < 600; ++step) {
    const double ratio = early.at(at_step(step));
    CHECK(late.at(at_step(step)) == ratio);
    moved = moved || ratio != 0.5;
    // Some of a scaled loss's overflow, too.
    const double loss = step % 7 == 3 ? NAN : 2.0 - double(step) * 0.003;
    if (step > 0) late.heard(at_step(step - 1), before);
    early.heard(at_step(step), loss);
    before = loss;
  }
  CHECK(moved);
}

TEST_CASE("what a loss-driven ratio remembers is its state") {
  MaskRatio straight(0.5, options_of(MaskSchedule::kLoss, 0.9));
  MaskRatio resumed(0.5, options_of(MaskSchedule::kLoss, 0.9));
  Heard by_straight(&straight), by_resumed(&resumed, 100);
  for (int i = 0; i < 100; ++i) by_straight(2.0 - i * 0.01);
  REQUIRE(resumed.state().size() == 1);
  raw::copy_(resumed.state()[0].tensor, straight.state()[0].tensor);
  for (int i = 0; i < 100; ++i) {
    by_straight(1);
    by_resumed(1);
    CHECK(by_straight.now() == by_resumed.now());
  }
}

TEST_CASE("schedules that lead nowhere are refused") {
  CHECK_THROWS_AS(options_of(MaskSchedule::kLinear, -1).check(), UsageError);
  CHECK_THROWS_AS(options_of(MaskSchedule::kLinear, 1).check(), UsageError);
  CHECK_THROWS_AS(options_of(MaskSchedule::kConstant, 0.5).check(), UsageError);
  MaskRatioOptions options = options_of(MaskSchedule::kCosine, 0.5);
  options.loss_end = 1;
  CHECK_THROWS_AS(options.check(), UsageError);
  CHECK_THROWS_AS(mask_schedule_from_name("square"), UsageError);
}

}  // namespace tessera
