// Collecting runs of ops, and the two ways to look at them.
#include "train/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace tessera {
namespace {

double bytes_of(const std::vector<Tensor>& tensors) {
  double bytes = 0;
  for (const Tensor& t : tensors) {
    if (t.defined())
      bytes += static_cast<double>(t.numel()) * static_cast<double>(size_of(t.dtype()));
  }
  return bytes;
}

// FLOP of a forward product from its operands' shapes; 0 for everything else.
double flops_of(const std::string& op, const std::vector<Tensor>& in) {
  const auto size = [&](size_t i, int64_t dim) { return static_cast<double>(in[i].size(dim)); };
  const auto count = [&](size_t i) { return static_cast<double>(in[i].numel()); };
  if (op == "linear") return 2 * count(0) * size(1, 0);
  if (op == "matmul" && in[0].ndim() > 1 && in[1].ndim() > 1) return 2 * count(0) * size(1, -1);
  if (op == "attention") return 4 * count(0) * size(1, 2);  // (B, H, N, d), M keys
  return 0;
}

}  // namespace

Profile::Profile() : start_(Clock::now()) { set_op_observer(this); }
Profile::~Profile() { set_op_observer(nullptr); }

void Profile::before(const OpRun& run) {
  Running now;
  now.name = run.backward ? std::string(run.op) + " backward" : run.op;
  now.bytes = bytes_of(run.inputs);
  if (!run.backward) now.flops = flops_of(run.op, run.inputs);
  now.start = Clock::now();
  running_.push_back(std::move(now));
}

void Profile::after(const OpRun& run) {
  const Clock::time_point end = Clock::now();
  const Running done = std::move(running_.back());
  running_.pop_back();
  const double seconds = std::chrono::duration<double>(end - done.start).count();
  if (!running_.empty()) running_.back().inside += seconds;
  Row& row = rows_[done.name];
  row.name = done.name;
  ++row.calls;
  row.seconds += seconds - done.inside;
  row.bytes += done.bytes + bytes_of(run.outputs);
  row.flops += done.flops;
  events_.push_back(
      {done.name, std::chrono::duration<double>(done.start - start_).count(), seconds});
}

std::vector<Profile::Row> Profile::rows() const {
  std::vector<Row> rows;
  for (const auto& [name, row] : rows_) {
    rows.push_back(row);
    // Of a product's backward the tape shows the gradients alone; it is two products of its size.
    const auto forward = rows_.find(name.substr(0, name.find(" backward")));
    if (name.ends_with(" backward") && forward != rows_.end()) {
      rows.back().flops = 2 * forward->second.flops;
    }
  }
  std::sort(rows.begin(), rows.end(),
            [](const Row& a, const Row& b) { return a.seconds > b.seconds; });
  return rows;
}

std::string Profile::table(int64_t steps, double peak_flops) const {
  const double whole = std::chrono::duration<double>(Clock::now() - start_).count();
  const double per_step = 1.0 / static_cast<double>(steps);
  std::string text = fmt::format("{:<26}{:>8}{:>11}{:>9}{:>10}{:>10}{:>11}\n", "op", "calls", "ms",
                                 "share", "GB/s", "GFLOP/s", "of peak");
  double seen = 0;
  const auto add = [&](const Row& row) {
    const std::string rate =
        row.bytes > 0 ? fmt::format("{:.1f}", row.bytes / row.seconds * 1e-9) : "";
    std::string speed, share;
    if (row.flops > 0) {
      speed = fmt::format("{:.1f}", row.flops / row.seconds * 1e-9);
      if (peak_flops > 0) {
        share = fmt::format("{:.0f} %", 100 * row.flops / row.seconds / peak_flops);
      }
    }
    text += fmt::format("{:<26}{:>8.1f}{:>11.3f}{:>7.1f} %{:>10}{:>10}{:>11}\n", row.name,
                        static_cast<double>(row.calls) * per_step, row.seconds * per_step * 1e3,
                        100 * row.seconds / whole, rate, speed, share);
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
    events.push_back({{"name", event.name},
                      {"ph", "X"},
                      {"pid", 0},
                      {"tid", 0},
                      {"ts", event.start * 1e6},
                      {"dur", event.seconds * 1e6}});
  }
  return nlohmann::json{{"traceEvents", events}, {"displayTimeUnit", "ms"}}.dump();
}

}  // namespace tessera
