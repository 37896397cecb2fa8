// `tessera bench ops`: each op's forward and backward beside what the machine could do at best, a
// large product or a large copy, measured in the same run.
// Rule: what is timed is what training calls: forward records, backward runs alone on what forward
// left, results come from the allocator's cache.
#include <algorithm>
#include <functional>
#include <memory>

#include "autograd/tape.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "tools/bench_ops_table.h"
#include "tools/bench_report.h"
#include "tools/command.h"
#include "tools/machine_flags.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "An op that must carry out F operations and move B bytes cannot take less than the longer of\n"
    "F / (speed of a large product) and B / (speed of a large copy). Its share is that time over\n"
    "the time it took. B counts what must be read and written once however it is computed;\n"
    "tensors that still lie in a cache can be faster than the copy, and a share then passes\n"
    "100 %. On a GPU every call of a row has tensors of its own, up to a gigabyte of them.\n"
    "\n"
    "Examples:\n"
    "  tessera bench ops --html ops.html\n"
    "  tessera bench ops --only softmax,layer_norm --batch-size 8 --precision bf16";

// What all sets of a row's operands may take: twenty times a large card's L2.
constexpr double kMostSetBytes = 1 << 30;

Tensor filled(const OpInput& input, DType dtype, Device device, uint32_t site) {
  const auto random = [&](double low, double high) {
    return raw::uniform(input.shape, {0, 0, site}, low, high, DType::kF32, device);
  };
  switch (input.kind) {
    case OpInput::Kind::kIndex:
      return raw::to(random(0, double(input.below)), DType::kI64);
    case OpInput::Kind::kMask: {
      constexpr double kTrue = double(vit::kMasked) / vit::kPatches;
      const Tensor share = Tensor::full(input.shape, kTrue, DType::kF32, device);
      return raw::compare(CompareOp::kLess, random(0, 1), share);
    }
    default: {  // positive and far from zero, so that log, sqrt and div have nothing to stumble on
      const Tensor x = raw::to(random(0.5, 1.5), dtype);
      if (input.kind == OpInput::Kind::kLeaf) set_requires_grad(x);
      return x;
    }
  }
}

// "(400, 768) (3072, 768) (3072)"
std::string shapes_of(const std::vector<OpInput>& inputs) {
  std::vector<std::string> shapes;
  for (const OpInput& input : inputs) shapes.push_back(to_string(input.shape));
  return fmt::format("{}", fmt::join(shapes, " "));
}

struct OpTime {
  std::string op, first, on, pass;  // the shapes of the first input and of all
  Work work;
  double seconds;
};

// What a call reads, and what its backward starts from.
struct OpSet {
  std::vector<Tensor> inputs;
  Tensor y, dy;
};

OpSet filled_set(const OpBench& bench, DType dtype, Device device, size_t number) {
  OpSet set;
  const size_t first_site = number * (bench.inputs.size() + 1);
  for (const OpInput& input : bench.inputs) {
    const size_t site = first_site + set.inputs.size();
    set.inputs.push_back(filled(input, dtype, device, static_cast<uint32_t>(site)));
  }
  return set;
}

void run_forward(const OpBench& bench, OpSet* set) { set->y = bench.run(set->inputs); }

void run_backward(OpSet* set) {
  const Tensor& y = set->y;
  if (!set->dy.defined()) {
    set->dy =
        raw::to(raw::uniform(y.shape(), {0, 0, 99}, 0, 1, DType::kF32, y.device()), y.dtype());
  }
  backward(y, set->dy);
  for (const Tensor& x : set->inputs) {
    if (requires_grad(x)) zero_grad(x);
  }
}

// Forward and backward take turns: each backward runs on what the forward before it left. On a
// device a row of forwards, each on a set of its own, is followed by a row of backwards: so no call
// finds its tensors in the L2, save where 500 sets of them fit into it.
void measure(const OpBench& bench, DType dtype, Device device, double budget,
             std::vector<OpTime>* times) {
  std::vector<OpSet> sets = {filled_set(bench, dtype, device, 0)};
  const int row = calls_in_a_row(device, [&] { run_forward(bench, &sets[0]); });
  const double room = std::clamp<double>(kMostSetBytes / bench.forward.bytes, 1, row);
  const int calls = static_cast<int>(room);
  while (std::ssize(sets) < calls) {
    sets.push_back(filled_set(bench, dtype, device, sets.size()));
  }
  size_t forwards = 0, backwards = 0;
  std::vector<std::function<void()>> works = {
      [&] { run_forward(bench, &sets[forwards++ % sets.size()]); }};
  if (bench.backward.bytes > 0) {
    works.push_back([&] { run_backward(&sets[backwards++ % sets.size()]); });
  }
  const std::vector<double> seconds = medians_in_turn(works, budget, device, calls);
  const std::string on = shapes_of(bench.inputs), first = on.substr(0, on.find(')') + 1);
  times->push_back({bench.op, first, on, "forward", bench.forward, seconds[0]});
  if (seconds.size() > 1) {
    times->push_back({bench.op, first, on, "backward", bench.backward, seconds[1]});
  }
}

struct OpsBench {
  std::vector<std::string> only;
  std::string precision = "f32";
  int64_t batch = 32;
  double seconds = 0.2;
  bool tf32 = false;
  ReportFlags output;
  MachineFlags machine;

  int run() const {
    DType dtype;
    TESSERA_CHECK_USAGE(parse_dtype(precision, &dtype) && is_floating(dtype),
                        "--precision {}: it is f32, bf16, f16 or f64", precision);
    TESSERA_CHECK_USAGE(batch > 0 && batch <= 1024, "--batch-size {} is not in 1..1024", batch);
    TESSERA_CHECK_USAGE(seconds > 0 && seconds <= 60, "--seconds {} must be above 0 and at most 60",
                        seconds);
    output.check();
    const Device device = machine.apply();
    const Tf32 rounding(tf32);
    const std::vector<OpBench> benches = chosen(op_benches(batch, dtype, device));
    const Limits before = measure_limits(dtype, device);
    std::vector<OpTime> times;
    for (const OpBench& bench : benches) {
      measure(bench, dtype, device, seconds, &times);
      backend(device).allocator().end_step();
    }
    output.publish(report(times, better_of(before, measure_limits(dtype, device)), device));
    return 0;
  }

  std::vector<OpBench> chosen(std::vector<OpBench> all) const {
    for (const std::string& name : only) {
      TESSERA_CHECK_USAGE(std::any_of(all.begin(), all.end(),
                                      [&](const OpBench& bench) { return bench.op == name; }),
                          "--only {}: there is no such row", name);
    }
    std::erase_if(all, [&](const OpBench& bench) {
      return !only.empty() && std::count(only.begin(), only.end(), bench.op) == 0;
    });
    return all;
  }

  Report report(const std::vector<OpTime>& times, const Limits& limits, Device device) const {
    Report r;
    r.title = fmt::format("Ops at the shapes of training, batch {}, {}, {} threads", batch,
                          precision, num_threads());
    r.figures = {
        {"bench", "", "ops"},
        {"device", "", name_of(device)},
        {"processor", "processor", backend(device).describe()},
        {"threads", "", num_threads()},
        {"precision", "", precision},
        {"tf32", "", tf32},
        {"batch_size", "", batch},
        {"product_peak_gflops", "product peak", limits.flops * 1e-9, "GFLOP/s (measured now)"},
        {"copy_gb_per_s", "large copy", limits.bytes * 1e-9,
         "GB/s, read and written (measured now)"}};
    Value without = Value::object();
    for (const OpWithoutCost& op : ops_without_cost()) without[op.op] = op.why;
    r.figures.push_back({"without_cost", "", without});
    r.columns = {{"op", "op"},
                 {"pass", "pass"},
                 {"on", "on"},
                 {"seconds", "ms", 3, 1e3},
                 {"gflops", "GFLOP/s", 1},
                 {"gb_per_s", "GB/s", 1},
                 {"bound", "bound"},
                 {"share", "%", 0, 100}};
    r.bars_title = "Share of what the machine can do";
    r.limits = limits;
    for (const OpTime& time : times) {
      const double product = time.work.flops / limits.flops, copy = time.work.bytes / limits.bytes;
      const bool computes = product > copy;
      const double share = std::max(product, copy) / time.seconds;
      const double flops = time.work.flops / time.seconds, bytes = time.work.bytes / time.seconds;
      r.rows.push_back({time.op, time.pass, time.on, time.seconds, flops * 1e-9, bytes * 1e-9,
                        computes ? "product" : "copy", share});
      r.bars.push_back({time.op + " " + time.first, time.pass, share,
                        computes ? fmt::format("{:.0f} GFLOP/s", flops * 1e-9)
                                 : fmt::format("{:.1f} GB/s", bytes * 1e-9)});
      if (flops > 0) r.dots.push_back({time.op, time.pass, flops / bytes, flops});
    }
    return r;
  }
};

}  // namespace

std::vector<OpBench> op_benches(int64_t batch, DType dtype, Device device) {
  OpRows rows = {batch, dtype, device};
  for (auto* family :
       {add_elementwise_rows, add_move_rows, add_reduction_rows, add_index_rows, add_product_rows,
        add_picture_rows, add_norm_rows, add_loss_rows, add_training_rows}) {
    family(&rows);
  }
  return std::move(rows.list);
}

const std::vector<OpWithoutCost>& ops_without_cost() {
  static const std::vector<OpWithoutCost> list = [] {
    std::vector<OpWithoutCost> views;
    for (const char* op :
         {"reshape", "permute", "transpose", "expand", "slice", "select", "unbind", "flip"}) {
      views.push_back({op, "a view: no element moves"});
    }
    return views;
  }();
  return list;
}

Command add_bench_ops(CLI::App& bench) {
  CLI::App& app = *bench.add_subcommand("ops", "time every op beside its limit");
  auto settings = std::make_shared<OpsBench>();
  app.add_option("--only", settings->only, "these ops alone, with commas [default: all]")
      ->delimiter(',')
      ->type_name("NAMES");
  app.add_option("--batch-size", settings->batch, "pictures a step [default: 32]")->type_name("N");
  app.add_option("--precision", settings->precision, "f32, bf16, f16 or f64 [default: f32]")
      ->type_name("NAME");
  app.add_option("--seconds", settings->seconds, "spent on each figure [default: 0.2]")
      ->type_name("S");
  app.add_flag("--tf32", settings->tf32, "on a GPU f32 products with TF32");
  settings->output.add_to(app);
  settings->machine.add_to(app);
  app.footer(kNotes);
  return {&app, [settings] { return settings->run(); }};
}

}  // namespace tessera
