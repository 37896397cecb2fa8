// metrics.jsonl and the event files: what is logged, what a resume drops, what a reader finds.
#include "train/metrics.h"

#include <sys/resource.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/train/temp_folder.h"
#include "train/tensorboard.h"

namespace tessera {
namespace {

using Catch::Contains;

MetricRecord record(int64_t step, double loss) {
  MetricRecord made{step, {}};
  made.add("loss", loss);
  return made;
}

std::string event_file(const TempFolder& folder, size_t which) {
  std::vector<std::string> found;
  for (const std::string& name : folder.names()) {
    if (name.starts_with("events.out.tfevents.")) found.push_back(name);
  }
  REQUIRE(which < found.size());
  return slurp(folder.file(found[which]));
}

uint32_t number_at(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

// The records of an event file, after a check of all framing.
std::vector<std::string> events(std::string_view bytes) {
  const auto masked = [](std::string_view part) {
    const uint32_t crc = crc32c(part);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
  };
  std::vector<std::string> found;
  while (!bytes.empty()) {
    REQUIRE(bytes.size() >= 16);
    const uint32_t length = number_at(bytes, 0);
    REQUIRE(number_at(bytes, 4) == 0);
    REQUIRE(number_at(bytes, 8) == masked(bytes.substr(0, 8)));
    REQUIRE(bytes.size() >= 16 + length);
    const std::string_view body = bytes.substr(12, length);
    REQUIRE(number_at(bytes, 12 + length) == masked(body));
    found.emplace_back(body);
    bytes.remove_prefix(16 + length);
  }
  return found;
}

TEST_CASE("records are read back; what is none is passed over") {
  const TempFolder folder;
  {
    MetricsLog log(folder.path(), 0);
    log.log({1, {{"loss", 0.1}, {"norm", std::nan("")}}});
    log.log({2, {{"loss", 1e-30}}});
  }
  const std::string path = folder.file("metrics.jsonl");
  const std::string whole = slurp(path);
  spill(path, "no record\n[3]\n" + whole + R"({"step":3,"loss":)");
  const std::vector<MetricRecord> read = read_metrics(path);
  REQUIRE(read.size() == 2);
  CHECK(read[0].step == 1);
  CHECK(read[0].values == std::vector<std::pair<std::string, double>>{{"loss", 0.1}});
  CHECK(read[1].values[0].second == 1e-30);
  CHECK_THROWS_WITH(read_metrics(folder.file("none")), Contains("none"));
}

TEST_CASE("a record is one line of JSON with exact numbers") {
  MetricRecord made = record(12, 0.1);
  made.add("lr", 1e-5);
  made.add("epoch", 3);
  made.add("a\"b", std::nan(""));
  made.add("inf", std::numeric_limits<double>::infinity());
  CHECK(to_json(made) == R"({"step":12,"loss":0.1,"lr":1e-05,"epoch":3,"a\"b":null,"inf":null})");
  CHECK(to_json(record(0, 1.0 / 3)) == R"({"step":0,"loss":0.3333333333333333})");
}

TEST_CASE("records are in the file as soon as they are logged") {
  const TempFolder folder;
  MetricsLog log(folder.path(), 0);
  log.log(record(1, 0.5));
  CHECK(slurp(folder.file("metrics.jsonl")) == "{\"step\":1,\"loss\":0.5}\n");
  log.log(record(2, 0.25));
  log.sync();
  CHECK(slurp(folder.file("metrics.jsonl")) ==
        "{\"step\":1,\"loss\":0.5}\n{\"step\":2,\"loss\":0.25}\n");
}

TEST_CASE("a resume drops later steps and what a kill left half-written") {
  const TempFolder folder;
  const std::string path = folder.file("metrics.jsonl");
  const std::string kept = "{\"step\":1,\"loss\":0.5}\n{\"step\":2}\n";
  const char* endings[] = {"",
                           "{\"step\":3,\"loss\":0.1}\n",
                           "{\"step\":3,\"loss\":0.1}\n{\"step\":4,\"lo",
                           "{\"step\":2,\"loss\":0.",
                           "{\"step\":2}",  // whole, but not known to be
                           "{\"loss\":1}\n",
                           "[3]\nnot json\n\n",
                           "{\"step\":\"2\"}\n"};
  for (const char* ending : endings) {
    CAPTURE(ending);
    spill(path, kept + ending);
    MetricsLog log(folder.path(), 2);
    CHECK(slurp(path) == kept);
    log.log(record(3, 0.125));
    CHECK(slurp(path) == kept + "{\"step\":3,\"loss\":0.125}\n");
  }
  spill(path, std::string("{\"step\":1}\n\0\0\0\0", 15));  // a power cut's zeros
  MetricsLog log(folder.path(), 2);
  CHECK(slurp(path) == "{\"step\":1}\n");
}

TEST_CASE("a folder that is not there is an error") {
  const TempFolder folder;
  CHECK_THAT(error_of([&] { MetricsLog log(folder.file("none"), 0); }), Contains("none"));
}

TEST_CASE("CRC-32C is that of RFC 3720") {
  CHECK(crc32c("123456789") == 0xe3069283u);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aau);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43u);
  CHECK(crc32c("") == 0);
}

TEST_CASE("events are framed records with the documented fields") {
  const TempFolder folder;
  {
    MetricsLog log(folder.path(), 0);
    log.log(record(300, 0.5));
    log.log_png(300, "picture", 200, 3, "PNGDATA");
  }
  const std::vector<std::string> found = events(event_file(folder, 0));
  REQUIRE(found.size() == 4);
  // After the wall time (tag 0x09 and eight bytes): the step, then the event itself.
  for (const std::string& event : found) REQUIRE(event[0] == 0x09);
  const auto rest = [&](size_t i) { return found[i].substr(9); };
  using namespace std::string_literals;
  CHECK(rest(0) == "\x10\x00\x1a\x0d"s + "brain.Event:2");
  CHECK(rest(1) == "\x10\x01\x3a\x02\x08\x01"s);  // SessionLog{status: START} at step 1
  CHECK(rest(2) == "\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00\x00\x3f"s);
  CHECK(rest(3) ==
        "\x10\xac\x02\x2a\x1d\x0a\x1b\x0a\x07picture\x22\x10\x08\x03\x10\xc8\x01\x18\x03"
        "\x22\x07PNGDATA"s);
}

TEST_CASE("a resumed run opens a later event file that voids the steps after its checkpoint") {
  const TempFolder folder;
  for (const int64_t last : {0, 7, 7}) MetricsLog log(folder.path(), last);
  CHECK(events(event_file(folder, 0))[1].substr(9) == std::string("\x10\x01\x3a\x02\x08\x01", 6));
  CHECK(events(event_file(folder, 2))[1].substr(9) == std::string("\x10\x08\x3a\x02\x08\x01", 6));
}

}  // namespace
}  // namespace tessera
