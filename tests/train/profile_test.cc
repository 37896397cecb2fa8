// What a profile counts, and by whose clock: ops of known shapes, watched.
#include "train/profile.h"

#include <algorithm>
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

TEST_CASE("convolutions count what they multiply") {
  // (2, 3, 9, 7) by 3 x 3 in steps of 2, padded by 1: (2, 8, 5, 4). And its transpose.
  Tensor x = Tensor::full({2, 3, 9, 7}, 1), w = Tensor::full({8, 3, 3, 3}, 0.5);
  const Tensor grouped = Tensor::full({6, 1, 3, 3}, 1);
  const Tensor narrow = Tensor::full({2, 8, 5, 4}, 1);
  set_requires_grad(x, true);
  set_requires_grad(w, true);
  Profile profile(Device::kCpu);
  backward(sum(conv2d(x, w, {}, 2, 1)));
  {
    const std::vector<Profile::Row> rows = profile.rows();
    CHECK(row_of(rows, "conv2d").flops == 2.0 * (2 * 8 * 5 * 4) * (3 * 3 * 3));
    CHECK(row_of(rows, "conv2d backward").flops == 2 * row_of(rows, "conv2d").flops);
  }
  (void)conv2d(x.detach(), grouped, {}, 1, 1, 1, 3);
  (void)conv_transpose2d(narrow, w.detach(), {}, 2, 1);
  const std::vector<Profile::Row> rows = profile.rows();
  const Profile::Row& both = row_of(rows, "conv2d");
  CHECK(both.flops == 2.0 * (2 * 8 * 5 * 4) * (3 * 3 * 3) + 2.0 * (2 * 6 * 9 * 7) * (3 * 3));
  // One of the two has been run backward: half of twice their work.
  CHECK(row_of(rows, "conv2d backward").flops == both.flops);
  CHECK(row_of(rows, "conv_transpose2d").flops == 2.0 * (2 * 8 * 5 * 4) * (3 * 3 * 3));
}

TEST_CASE("the table holds products against a product and the rest against a copy") {
  const Tensor x = Tensor::full({640, 640}, 1);
  Profile profile(Device::kCpu);
  (void)matmul(x, x);
  (void)relu(x);
  (void)permute(x, {1, 0});
  const std::vector<Profile::Row> rows = profile.rows();
  const auto share = [](double reached, double limit) {
    return fmt::format("{:.0f} %\n", 100 * reached / limit);
  };
  const Profile::Row &product = row_of(rows, "matmul"), &map = row_of(rows, "relu");
  const std::string table = profile.table(1, {.flops = 1e9, .bytes = 1e11});
  CHECK_THAT(table, Contains("of limit") && Contains("between them"));
  CHECK_THAT(table, Contains(share(product.flops / product.seconds, 1e9)));
  CHECK_THAT(table, Contains(share(map.bytes / map.seconds, 1e11)));
  // Amounts are those of a step: 3 and 2 times 640 * 640 floats, 2 * 640^3 FLOP; of two, half.
  const auto line_of = [](const std::string& text, const std::string& op) {
    const size_t at = text.find(op + " ");
    REQUIRE(at != text.npos);
    return text.substr(at, text.find('\n', at) - at);
  };
  CHECK_THAT(line_of(table, "matmul"), Contains(" 4.92 ") && Contains(" 0.524 "));
  CHECK_THAT(line_of(table, "relu"), Contains(" 3.28 "));
  CHECK_THAT(line_of(profile.table(2, {}), "matmul"), Contains(" 2.46 ") && Contains(" 0.262 "));
  // A view moves nothing: of the limit it has no share, of the time alone.
  const std::string view = table.substr(
      table.find("permute"), table.find('\n', table.find("permute")) - table.find("permute"));
  CHECK(std::count(view.begin(), view.end(), '%') == 1);
  // Nothing is known: nothing is said.
  CHECK_THAT(profile.table(1, {}), !Contains("inf") && !Contains("nan"));
}

TEST_CASE("the trace has an event for each run of an op, in its order") {
  const Tensor x = Tensor::full({8}, 1);
  const Tensor wide = Tensor::full({2, 4}, 1), tall = Tensor::full({4, 2}, 1);
  Profile profile(Device::kCpu);
  (void)exp(relu(x));
  (void)matmul(wide, tall);
  const auto trace = nlohmann::json::parse(profile.chrome_trace());
  const auto& events = trace.at("traceEvents");
  REQUIRE(events.size() == 3);
  CHECK(events[0].at("name") == "relu");
  CHECK(events[1].at("name") == "exp");
  CHECK(events[2].at("name") == "matmul");
  CHECK(events[1].at("args").at("bytes") == 2 * 8 * 4);
  CHECK_FALSE(events[1].at("args").contains("flop"));
  CHECK(events[2].at("args").at("bytes") == (8 + 8 + 4) * 4);
  CHECK(events[2].at("args").at("flop") == 2 * 2 * 4 * 2);
  CHECK(events[0].at("ts").get<double>() + events[0].at("dur").get<double>() <=
        events[1].at("ts").get<double>());
}

}  // namespace
}  // namespace tessera
