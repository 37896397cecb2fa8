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
  const MaskRatio ratio(0.75, {});
  for (int64_t step : {0, 500, 999}) CHECK(ratio.at(at_step(step)) == 0.75);
  CHECK(ratio.state().empty());
}

TEST_CASE("linear and cosine go from bound to bound in 16 levels") {
  for (const MaskSchedule schedule : {MaskSchedule::kLinear, MaskSchedule::kCosine}) {
    const MaskRatio ratio(0.3, options_of(schedule, 0.9));
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

TEST_CASE("a falling loss drives the ratio, two steps late") {
  MaskRatioOptions options = options_of(MaskSchedule::kLoss, 0.9);
  options.loss_end = 1;
  MaskRatio ratio(0.5, options);
  CHECK(ratio.at(at_step(0)) == 0.5);
  ratio.heard(2);  // the first loss
  CHECK(ratio.at(at_step(1)) == 0.5);
  ratio.heard(1);  // as low as --mask-loss-end, but the step before
  CHECK(ratio.at(at_step(2)) == 0.5);
  for (int i = 0; i < 40; ++i) ratio.heard(1);
  const double later = ratio.at(at_step(42));
  CHECK(later > 0.5);
  CHECK(later < 0.9);
  for (int i = 0; i < 2000; ++i) ratio.heard(1);
  CHECK(ratio.at(at_step(900)) == Approx(0.9));
  for (int i = 0; i < 2000; ++i) ratio.heard(5);  // it diverges
  CHECK(ratio.at(at_step(900)) == 0.5);
}

TEST_CASE("the last loss alone changes nothing in the next step") {
  MaskRatio a(0.5, options_of(MaskSchedule::kLoss, 0.9)),
      b(0.5, options_of(MaskSchedule::kLoss, 0.9));
  for (int i = 0; i < 500; ++i) {
    const double loss = 2.0 - i * 0.002;
    a.heard(loss);
    b.heard(loss);
  }
  a.heard(1000);
  b.heard(0);
  CHECK(a.at(at_step(501)) == b.at(at_step(501)));
  a.heard(1);
  b.heard(1);
  CHECK(a.at(at_step(502)) != b.at(at_step(502)));
}

TEST_CASE("what a loss-driven ratio remembers is its state") {
  MaskRatio straight(0.5, options_of(MaskSchedule::kLoss, 0.9));
  MaskRatio resumed(0.5, options_of(MaskSchedule::kLoss, 0.9));
  for (int i = 0; i < 100; ++i) straight.heard(2.0 - i * 0.01);
  REQUIRE(resumed.state().size() == 1);
  raw::copy_(resumed.state()[0].tensor, straight.state()[0].tensor);
  for (int i = 0; i < 100; ++i) {
    straight.heard(1);
    resumed.heard(1);
    CHECK(straight.at(at_step(i)) == resumed.at(at_step(i)));
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
