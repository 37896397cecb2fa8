// What a profile counts, and by whose clock: ops of known shapes, watched.
#include "train/profile.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "autograd/functions.h"

namespace tessera {
namespace {

using Catch::Contains;

const Profile::Row& row_of(const std::vector<Profile::Row>& rows, const std::string& name) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const auto& r) { return r.name == name; });
  REQUIRE(found != rows.end());
  return *found;
}

TEST_CASE("a profile counts calls, bytes and work, forward and back") {
  Tensor x = Tensor::full({4, 8}, 1), w = Tensor::full({16, 8}, 0.5);
  set_requires_grad(x, true);
  set_requires_grad(w, true);
  Profile profile(Device::kCpu);
  for (int i = 0; i < 3; ++i) backward(sum(linear(x, w)));
  const std::vector<Profile::Row> rows = profile.rows();
  const Profile::Row& product = row_of(rows, "linear");
  CHECK(product.calls == 3);
  CHECK(product.flops == 3 * 2.0 * 4 * 8 * 16);
  CHECK(product.bytes == 3 * 4.0 * (4 * 8 + 16 * 8 + 4 * 16));
  CHECK(row_of(rows, "linear backward").flops == 2 * product.flops);
  CHECK(row_of(rows, "sum").calls == 3);
  for (const Profile::Row& row : rows) {
    INFO(row.name);
    CHECK(row.seconds > 0);
  }
  for (size_t i = 1; i < rows.size(); ++i) CHECK(rows[i - 1].seconds >= rows[i].seconds);
}

TEST_CASE("the table holds products against a product and the rest against a copy") {
  const Tensor x = Tensor::full({64, 64}, 1);
  Profile profile(Device::kCpu);
  (void)matmul(x, x);
  (void)relu(x);
  const std::vector<Profile::Row> rows = profile.rows();
  const auto share = [](double reached, double limit) {
    return fmt::format("{:.0f} %\n", 100 * reached / limit);
  };
  const Profile::Row &product = row_of(rows, "matmul"), &map = row_of(rows, "relu");
  const std::string table = profile.table(1, {.flops = 1e9, .bytes = 2e9});
  CHECK_THAT(table, Contains("of limit") && Contains("between them"));
  CHECK_THAT(table, Contains(share(product.flops / product.seconds, 1e9)));
  CHECK_THAT(table, Contains(share(map.bytes / map.seconds, 2e9)));
  // Nothing is known: nothing is said.
  CHECK_THAT(profile.table(1, {}), !Contains("inf") && !Contains("nan"));
}

TEST_CASE("the trace has an event for each run of an op, in its order") {
  const Tensor x = Tensor::full({8}, 1);
  Profile profile(Device::kCpu);
  (void)exp(relu(x));
  const auto trace = nlohmann::json::parse(profile.chrome_trace());
  const auto& events = trace.at("traceEvents");
  REQUIRE(events.size() == 2);
  CHECK(events[0].at("name") == "relu");
  CHECK(events[1].at("name") == "exp");
  CHECK(events[0].at("ts").get<double>() + events[0].at("dur").get<double>() <=
        events[1].at("ts").get<double>());
}

}  // namespace
}  // namespace tessera
