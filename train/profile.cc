// Collecting runs of ops, and the two ways to look at them.
#include "train/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace tessera {
namespace {

constexpr double kOfView = 10;  // times a copy's speed; what lies in caches has twice or thrice it

double bytes_of(const std::vector<Tensor>& tensors) {
  double bytes = 0;
  for (const Tensor& t : tensors) {
    if (t.defined())
      bytes += static_cast<double>(t.numel()) * static_cast<double>(size_of(t.dtype()));
  }
  return bytes;
}

// FLOP of a forward product from its operands' shapes; 0 for everything else. Of conv2d, whose
// result has its own size, those of one element of it.
double flops_of(const std::string& op, const std::vector<Tensor>& in) {
  const auto size = [&](size_t i, int64_t dim) { return static_cast<double>(in[i].size(dim)); };
  const auto count = [&](size_t i) { return static_cast<double>(in[i].numel()); };
  if (op == "linear") return 2 * count(0) * size(1, 0);
  if (op == "matmul" && in[0].ndim() > 1 && in[1].ndim() > 1) return 2 * count(0) * size(1, -1);
  if (op == "attention") return 4 * count(0) * size(1, 2);  // (B, H, N, d), M keys
  if (op == "conv2d") return 2 * count(1) / size(1, 0);     // w (O, C / groups, kh, kw)
  // w (C, O, kh, kw): each element of x meets O kh kw of it.
  if (op == "conv_transpose2d") return 2 * count(0) * count(1) / size(1, 0);
  return 0;
}

}  // namespace

Profile::Profile(Device device) : backend_(backend(device)), start_(backend_.moment()) {
  set_op_observer(this);
}
Profile::~Profile() { set_op_observer(nullptr); }

void Profile::before(const OpRun& run) {
  Event now;
  now.name = run.backward ? std::string(run.op) + " backward" : run.op;
  now.bytes = bytes_of(run.inputs);
  if (!run.backward) now.flops = flops_of(run.op, run.inputs);
  if (!running_.empty()) now.parent = static_cast<int64_t>(running_.back());
  running_.push_back(events_.size());
  events_.push_back(std::move(now));
  events_.back().start = backend_.moment();
}

void Profile::after(const OpRun& run) {
  Event& done = events_[running_.back()];
  done.end = backend_.moment();
  done.bytes += bytes_of(run.outputs);
  if (done.name == "conv2d") done.flops *= static_cast<double>(run.outputs[0].numel());
  running_.pop_back();
}

std::vector<Profile::Row> Profile::rows() const {
  std::map<std::string, Row> by_name;
  for (const Event& event : events_) {
    if (event.end == nullptr) continue;
    const double seconds = seconds_of(event);
    Row& row = by_name[event.name];
    row.name = event.name;
    ++row.calls;
    row.seconds += seconds;
    row.bytes += event.bytes;
    row.flops += event.flops;
    if (event.parent >= 0) by_name[events_[size_t(event.parent)].name].seconds -= seconds;
  }
  std::vector<Row> rows;
  for (const auto& [name, row] : by_name) {
    rows.push_back(row);
    // Of a product's backward the tape shows the gradients alone; it is two products of its size. A
    // checkpointed block runs forward twice and back once: the calls tell.
    const auto forward = by_name.find(name.substr(0, name.find(" backward")));
    if (name.ends_with(" backward") && forward != by_name.end()) {
      const Row& product = forward->second;
      rows.back().flops = 2 * product.flops * static_cast<double>(row.calls) /
                          static_cast<double>(std::max<int64_t>(product.calls, 1));
    }
  }
  std::sort(rows.begin(), rows.end(),
            [](const Row& a, const Row& b) { return a.seconds > b.seconds; });
  return rows;
}

std::string Profile::table(int64_t steps, const Limits& limits) const {
  double whole = 0;  // to the end of the last op
  for (const Event& event : events_) {
    if (event.end != nullptr && event.parent < 0) whole = event.end->seconds_since(*start_);
  }
  const double per_step = 1.0 / static_cast<double>(steps);
  std::string text =
      fmt::format("{:<26}{:>8}{:>11}{:>9}{:>11}{:>11}{:>9}{:>10}{:>10}\n", "op", "calls", "ms",
                  "share", "MB", "GFLOP", "GB/s", "GFLOP/s", "of limit");
  double seen = 0;
  const auto add = [&](const Row& row) {
    const double flops = row.flops / row.seconds;
    double bytes = row.bytes / row.seconds;
    double reached = row.flops > 0 ? flops / limits.flops : bytes / limits.bytes;
    // So far beyond the limit nothing was moved: a view.
    if (row.flops == 0 && limits.bytes > 0 && reached > kOfView) bytes = reached = 0;
    const auto known = [](double x, int digits) {
      return x > 0 ? fmt::format("{:.{}f}", x, digits) : "";
    };
    const std::string share =
        reached > 0 && std::isfinite(reached) ? fmt::format("{:.0f} %", 100 * reached) : "";
    text +=
        fmt::format("{:<26}{:>8.1f}{:>11.3f}{:>7.1f} %{:>11}{:>11}{:>9}{:>10}{:>10}\n", row.name,
                    static_cast<double>(row.calls) * per_step, row.seconds * per_step * 1e3,
                    100 * row.seconds / whole, known(row.bytes * per_step * 1e-6, 2),
                    known(row.flops * per_step * 1e-9, 3), known(bytes * 1e-9, 1),
                    known(flops * 1e-9, 1), share);
  };
  for (const Row& row : rows()) {
    add(row);
    seen += row.seconds;
  }
  add({"between them", 0, whole - seen, 0, 0});
  return text;
}

std::string Profile::chrome_trace() const {
  nlohmann::json events = nlohmann::json::array();
  for (const Event& event : events_) {
    if (event.end == nullptr) continue;
    nlohmann::json amounts = {{"bytes", event.bytes}};
    if (event.flops > 0) amounts["flop"] = event.flops;
    events.push_back({{"name", event.name},
                      {"ph", "X"},
                      {"pid", 0},
                      {"tid", 0},
                      {"ts", event.start->seconds_since(*start_) * 1e6},
                      {"dur", seconds_of(event) * 1e6},
                      {"args", std::move(amounts)}});
  }
  return nlohmann::json{{"traceEvents", events}, {"displayTimeUnit", "ms"}}.dump();
}

}  // namespace tessera
