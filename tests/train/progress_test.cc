// Durations, rate and time left, the bar at every width, and who gets what on which stream.
#include "train/progress.h"

#include <cmath>
#include <limits>

#include "tests/train/temp_folder.h"

namespace tessera {
namespace {

using Catch::Contains;

TEST_CASE("durations read as a person says them") {
  CHECK(format_duration(0) == "under 1 s");
  CHECK(format_duration(0.99) == "under 1 s");
  CHECK(format_duration(1) == "1 s");
  CHECK(format_duration(59.4) == "59 s");
  CHECK(format_duration(59.6) == "1 min 00 s");
  CHECK(format_duration(250) == "4 min 10 s");
  CHECK(format_duration(3599.7) == "1 h 00 min");
  CHECK(format_duration(3600 + 3 * 60 + 59) == "1 h 03 min");
  CHECK(format_duration(2 * 86400 + 5 * 3600 + 1) == "2 d 05 h");
  CHECK(format_duration(std::nan("")) == "?");
  CHECK(format_duration(std::numeric_limits<double>::infinity()) == "?");
  CHECK(format_duration(-1) == "?");
}

TEST_CASE("the rate is that of ordinary steps") {
  RateMeter meter(0, 1000);
  CHECK(meter.steps_per_second() == 0);
  CHECK(std::isinf(meter.seconds_left()));
  double now = 50;  // the first step took 50 s of warming up
  meter.tick(1, now);
  CHECK(meter.steps_per_second() == 0);
  for (int64_t step = 2; step <= 100; ++step) meter.tick(step, now += 0.5);
  CHECK(meter.steps_per_second() == Approx(2));
  CHECK(meter.seconds_left() == Approx(450));
}

TEST_CASE("a pause does not bend the rate, yet pauses to come are counted") {
  RateMeter meter(0, 200);
  double now = 0;
  for (int64_t step = 0; step <= 100; ++step) {
    meter.tick(step, now += step == 50 ? 1 + 25 : 1);  // one evaluation of 25 s in 100 steps
  }
  CHECK(meter.steps_per_second() == Approx(1));
  CHECK(meter.seconds_left() == Approx(125));
}

TEST_CASE("a change of speed is seen within a window, and steps may come in groups") {
  RateMeter meter(500, 1500);
  double now = 0;
  for (int64_t step = 500; step <= 600; ++step) meter.tick(step, now += 1);
  for (int64_t step = 601; step <= 700; ++step) meter.tick(step, now += 3);
  CHECK(meter.steps_per_second() == Approx(1.0 / 3));
  RateMeter grouped(0, 100);
  for (int64_t step = 0; step <= 50; step += 10) grouped.tick(step, static_cast<double>(step) / 5);
  CHECK(grouped.steps_per_second() == Approx(5));
  CHECK(grouped.seconds_left() == Approx(10));
}

TEST_CASE("the bar fits every width and gives up the least first") {
  const ProgressState state = {250, 1000, 0.71234, 1234.5, 250};
  CHECK(progress_bar(state, 200) ==
        "step 250/1000   25 %  [#######.......................]  loss 0.7123  4 min 10 s left  "
        "1234 images/s");
  for (int width = 0; width < 200; ++width) {
    REQUIRE(progress_bar(state, width).size() <= static_cast<size_t>(width));
  }
  CHECK(progress_bar(state, 75) ==
        "step 250/1000   25 %  loss 0.7123  4 min 10 s left  1234 images/s");
  CHECK(progress_bar(state, 55) == "step 250/1000   25 %  loss 0.7123  4 min 10 s left");
  CHECK(progress_bar(state, 40) == "step 250/1000   25 %  loss 0.7123");
  CHECK(progress_bar(state, 8) == "step 250");
  CHECK_THAT(progress_bar({1000, 1000, 0.5, 10, 0}, 200),
             Contains("100 %") && Contains("[##############################]"));
  // Before the rate is known, and with a loss that is none.
  const std::string early =
      progress_bar({1, 3, std::nan(""), 0, std::numeric_limits<double>::infinity()}, 200);
  CHECK_THAT(early,
             Contains("33 %") && Contains("nan") && !Contains("left") && !Contains("images"));
}

// The text that reaches a stream.
class Captured {
 public:
  Captured() : stream_(open_memstream(&text_, &size_)) {}
  ~Captured() {
    std::fclose(stream_);
    free(text_);
  }
  std::FILE* stream() { return stream_; }
  std::string text() {
    std::fflush(stream_);
    return {text_, size_};
  }

 private:
  char* text_ = nullptr;
  size_t size_ = 0;
  std::FILE* stream_;
};

int64_t lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

TEST_CASE("without a terminal a line comes after ten steps, then now and then, then at the end") {
  Captured messages, records;
  {
    Progress progress(Progress::Mode::kLines, 0, 20000, 32, messages.stream(), records.stream());
    for (int64_t step = 1; step <= 9; ++step) progress.step(step, 0.5, static_cast<double>(step));
    CHECK(messages.text().empty());
    progress.step(10, 0.5, 10);
    CHECK(messages.text() == "step 10/20000  loss 0.5000  32 images/s  5 h 33 min left\n");
    for (int64_t step = 11; step <= 3600; ++step)
      progress.step(step, 0.5, static_cast<double>(step));
  }
  CHECK(lines(messages.text()) > 15);
  CHECK(lines(messages.text()) < 50);
  CHECK(messages.text().find('\r') == std::string::npos);
  CHECK(records.text().empty());

  Captured end;
  Progress progress(Progress::Mode::kLines, 0, 3, 32, end.stream(), records.stream());
  for (int64_t step = 1; step <= 3; ++step) progress.step(step, 0.25, static_cast<double>(step));
  CHECK(end.text() == "step 3/3  loss 0.2500  32 images/s\n");
}

TEST_CASE("slow steps are reported before the tenth") {
  Captured messages, records;
  Progress progress(Progress::Mode::kLines, 0, 100, 8, messages.stream(), records.stream());
  for (int64_t step = 1; step <= 4; ++step)
    progress.step(step, 1, 10.0 * static_cast<double>(step));
  CHECK_THAT(messages.text(), Contains("step 3/100") && Contains("0.80 images/s"));
}

TEST_CASE("a bar stays on one line, a message goes above it") {
  Captured messages, records;
  {
    Progress progress(Progress::Mode::kBar, 0, 100, 32, messages.stream(), records.stream());
    progress.step(1, 0.5, 1);
    progress.step(2, 0.5, 1.01);  // too soon to be drawn
    CHECK(lines(messages.text()) == 0);
    CHECK_THAT(messages.text(), Contains("\rstep 1/100") && !Contains("step 2"));
    progress.say("saved");
    CHECK_THAT(messages.text(), Contains("\r\x1b[Ksaved\n\rstep 2/100"));
  }
  CHECK(messages.text().back() == '\n');
  CHECK(lines(messages.text()) == 2);
}

TEST_CASE("with JSON records on stdout there is no bar") {
  Captured messages, records;
  Progress progress(Progress::Mode::kJson, 0, 100, 32, messages.stream(), records.stream());
  for (int64_t step = 1; step <= 100; ++step) progress.step(step, 0.5, static_cast<double>(step));
  MetricRecord record{1, {}};
  record.add("loss", 0.5);
  progress.record(record);
  progress.say("a message");
  progress.finish();
  CHECK(messages.text() == "a message\n");
  CHECK(records.text() == "{\"step\":1,\"loss\":0.5}\n");
  CHECK(progress.images_per_second() == Approx(32));
  Progress bar(Progress::Mode::kBar, 0, 100, 32, messages.stream(), records.stream());
  bar.record(record);
  CHECK(lines(records.text()) == 1);
  CHECK(Progress::choose_mode(true) == Progress::Mode::kJson);
}

}  // namespace
}  // namespace tessera
