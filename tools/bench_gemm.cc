// `tessera bench gemm`: the products of a vision transformer's training step, by every
// implementation that the backend offers, as shares of the product peak measured in the same run.
// Rule: all implementations get the same operands and take turns; the operands change with every
// call, so that none of them lies in a cache because the call before left it there.
#include <algorithm>
#include <functional>
#include <memory>

#include "engine/backend.h"
#include "engine/raw.h"
#include "models/presets.h"
#include "tools/bench_report.h"
#include "tools/command.h"
#include "tools/machine_flags.h"

namespace tessera {
namespace {

constexpr char kNotes[] =
    "y (M, N) = x (M, K) w (N, K)^T is the forward product of a layer from K to N features on M\n"
    "tokens; dgrad is dx (M, K) = dy w, wgrad is dw (N, K) = dy^T x. Without --arch: ViT-B/16 at\n"
    "224 pixels, 8 pictures, BEiT's encoder and vocabulary head; and vit_tiny at 32 pixels, 128 "
    "pictures.\n"
    "A percentage is a share of the speed of one large product, measured in the same run by the\n"
    "fastest of the implementations.\n"
    "\n"
    "Examples:\n"
    "  tessera bench gemm --html gemm.html\n"
    "  tessera bench gemm --arch vit_small --image-size 64 --batch-size 64 --precision bf16";

// One layer: y (m, n) = x (m, k) w (n, k)^T.
struct Layer {
  std::string model, name;
  int64_t m, n, k;
};

void add_blocks(const std::string& model, const std::string& tower, int64_t rows, int64_t width,
                int64_t hidden, std::vector<Layer>* layers) {
  layers->push_back({model, tower + " qkv", rows, 3 * width, width});
  layers->push_back({model, tower + " proj", rows, width, width});
  layers->push_back({model, tower + " fc1", rows, hidden, width});
  layers->push_back({model, tower + " fc2", rows, width, hidden});
}

// Every product of a masked autoencoder's step on `batch` pictures, once.
void add_layers(const std::string& model, const MaeConfig& c, int64_t batch,
                std::vector<Layer>* layers) {
  const int64_t visible = batch * (1 + c.kept()), all = batch * (1 + c.patches());
  layers->push_back({model, "patches", batch * c.kept(), c.dim, c.patch_values()});
  add_blocks(model, "encoder", visible, c.dim, c.hidden(c.dim), layers);
  layers->push_back({model, "decoder embed", visible, c.decoder_dim, c.dim});
  add_blocks(model, "decoder", all, c.decoder_dim, c.hidden(c.decoder_dim), layers);
  layers->push_back({model, "pred", all - visible, c.patch_values(), c.decoder_dim});
}

// A product of a layer: which matrices, and which of them lie transposed in memory.
struct Pass {
  const char* name;
  Shape a, b, c;  // as they lie in memory
  bool a_transposed, b_transposed;
};

std::vector<Pass> passes_of(const Layer& l) {
  return {{"forward", {l.m, l.k}, {l.n, l.k}, {l.m, l.n}, false, true},
          {"dgrad", {l.m, l.n}, {l.n, l.k}, {l.m, l.k}, false, false},
          {"wgrad", {l.m, l.n}, {l.m, l.k}, {l.n, l.k}, true, false}};
}

View as_batch(const Tensor& t, bool transposed) {
  const Tensor m = transposed ? raw::transpose(t, 0, 1) : t;
  return m.with_layout(m.offset(), {1, m.size(0), m.size(1)}, {0, m.strides()[0], m.strides()[1]})
      .view();
}

// Operands and a result, several times over: what is taken in turn does not lie in a cache, as in a
// step.
class Operands {
 public:
  Operands(const Pass& pass, DType dtype, Device device, uint32_t sets) {
    const auto random = [&](const Shape& shape, uint32_t site) {
      return raw::to(raw::uniform(shape, {0, 0, site}, -1, 1, DType::kF32, device), dtype);
    };
    for (uint32_t i = 0; i < sets; ++i) {
      sets_.push_back(
          {random(pass.a, 3 * i), random(pass.b, 3 * i + 1), random(pass.c, 3 * i + 2)});
      GemmArgs args;
      args.a = as_batch(sets_[i].a, pass.a_transposed);
      args.b = as_batch(sets_[i].b, pass.b_transposed);
      args.c = as_batch(sets_[i].c, false);
      args_.push_back(args);
    }
  }
  const GemmArgs& next() { return args_[turn_++ % args_.size()]; }

 private:
  struct Set {
    Tensor a, b, c;
  };
  std::vector<Set> sets_;
  std::vector<GemmArgs> args_;
  size_t turn_ = 0;
};

struct GemmBench {
  std::string arch, precision = "f32";
  int64_t image_size = 224, patch = 0, batch = 8;
  uint32_t sets = 4;  // 60 MiB for ViT-B's fc1
  double seconds = 0.3;
  bool tf32 = false;
  ReportFlags output;
  MachineFlags machine;

  std::vector<Layer> layers() const {
    std::vector<Layer> found;
    const auto add = [&](const std::string& name, int64_t size, int64_t pictures) {
      MaeConfig config = mae_preset(name);
      config.patch = patch > 0 ? patch : default_patch(config.patch, size, size);
      config.image_height = config.image_width = size;
      config.check();
      add_layers(name, config, pictures, &found);
    };
    if (!arch.empty()) {
      add(arch, image_size, batch);
      return found;
    }
    add("vit_base", 224, 8);
    add_blocks("beit_base", "encoder", 8 * 197, 768, 3072, &found);  // sees every patch
    found.push_back({"beit_base", "head", 8 * 75, 8192, 768});       // 75 of 196 are masked
    add("vit_tiny", 32, 128);
    return found;
  }

  int run() const {
    DType dtype;
    TESSERA_CHECK_USAGE(parse_dtype(precision, &dtype) && is_floating(dtype),
                        "--precision {}: it is f32, bf16, f16 or f64", precision);
    TESSERA_CHECK_USAGE(batch > 0, "--batch-size {} must be positive", batch);
    TESSERA_CHECK_USAGE(seconds > 0 && seconds <= 60, "--seconds {} must be above 0 and at most 60",
                        seconds);
    TESSERA_CHECK_USAGE(sets > 0 && sets <= 1024, "--sets {} must be 1 to 1024", sets);
    output.check();
    const Device device = machine.apply();
    const Tf32 rounding(tf32);
    const std::vector<Layer> products = layers();
    std::vector<GemmImplementation> implementations;
    for (const GemmImplementation& i : backend(device).gemm_implementations()) {
      if (std::count(i.dtypes.begin(), i.dtypes.end(), dtype) > 0) implementations.push_back(i);
    }

    const Limits before = measure_limits(dtype, device);
    std::vector<Measured> measured;
    for (const Layer& layer : products) {
      for (const Pass& pass : passes_of(layer)) {
        measured.push_back({layer, pass.name, measure(implementations, pass, dtype, device)});
      }
    }
    const Limits limits = better_of(before, measure_limits(dtype, device));
    output.publish(report(implementations, measured, limits, double(size_of(dtype)), device));
    return 0;
  }

  // Median seconds of each implementation. Blocks of calls take turns, not calls: OpenMP's threads
  // spin for some milliseconds after a call, on the cores that the next implementation wants.
  std::vector<double> measure(const std::vector<GemmImplementation>& implementations,
                              const Pass& pass, DType dtype, Device device) const {
    constexpr int kBlocks = 3;
    Operands operands(pass, dtype, device, sets);
    std::vector<std::vector<double>> blocks(implementations.size());
    for (int block = 0; block < kBlocks; ++block) {
      for (size_t i = 0; i < implementations.size(); ++i) {
        const auto call = [&] { implementations[i].run(operands.next()); };
        const int calls = calls_in_a_row(device, call);
        blocks[i].push_back(medians_in_turn({call}, seconds / kBlocks, device, calls)[0]);
      }
    }
    std::vector<double> medians;
    for (const std::vector<double>& of_one : blocks) medians.push_back(median(of_one));
    return medians;
  }

  struct Measured {
    Layer layer;
    std::string pass;
    std::vector<double> seconds;  // of each implementation
  };

  Report report(const std::vector<GemmImplementation>& implementations,
                const std::vector<Measured>& measured, const Limits& limits, double element_bytes,
                Device device) const {
    Report r;
    r.title = fmt::format("Products of a training step, {}, {} threads", precision, num_threads());
    r.figures = {
        {"bench", "", "gemm"},
        {"device", "", name_of(device)},
        {"processor", "processor", backend(device).describe()},
        {"threads", "", num_threads()},
        {"precision", "", precision},
        {"tf32", "", tf32},
        {"sets", "", sets},
        {"product_peak_gflops", "product peak", limits.flops * 1e-9, "GFLOP/s (measured now)"}};
    r.columns = {{"model", "model"}, {"product", "product"},
                 {"pass", "pass"},   {"m", "M"},
                 {"n", "N"},         {"k", "K"}};
    for (const GemmImplementation& i : implementations) {
      r.columns.push_back({i.name + "_gflops", i.name, 1});
      r.columns.push_back({i.name + "_share", "%", 0, 100});
    }
    r.bars_title = "Share of the product peak";
    r.limits = limits;
    for (const Measured& row : measured) {
      const Layer& l = row.layer;
      // The passes of a layer have the same three sizes in other roles: M, N, K are the forward's.
      std::vector<Value> cells = {l.model, l.name, row.pass, l.m, l.n, l.k};
      const double m = double(l.m), n = double(l.n), k = double(l.k);
      const double flops = 2 * m * n * k, bytes = element_bytes * (m * k + n * k + m * n);
      for (size_t i = 0; i < implementations.size(); ++i) {
        const double speed = flops / row.seconds[i];
        cells.push_back(speed * 1e-9);
        cells.push_back(speed / limits.flops);
        r.bars.push_back({fmt::format("{} {} {}", l.model, l.name, row.pass),
                          implementations[i].name, speed / limits.flops,
                          fmt::format("{:.0f} GFLOP/s", speed * 1e-9)});
        r.dots.push_back({l.name + " " + row.pass, implementations[i].name, flops / bytes, speed});
      }
      r.rows.push_back(std::move(cells));
    }
    return r;
  }
};

}  // namespace

Command add_bench_gemm(CLI::App& bench) {
  CLI::App& app = *bench.add_subcommand("gemm", "time the products of a training step");
  auto settings = std::make_shared<GemmBench>();
  CLI::Option* arch = app.add_option("--arch", settings->arch,
                                     "vit_tiny ... vit_huge [default: vit_base and vit_tiny]")
                          ->type_name("NAME");
  app.add_option("--image-size", settings->image_size, "pixels a side [default: 224]")
      ->needs(arch)
      ->type_name("N");
  app.add_option("--patch-size", settings->patch, "pixels a side [default: as in training]")
      ->needs(arch)
      ->type_name("N");
  app.add_option("--batch-size", settings->batch, "pictures a step [default: 8]")
      ->needs(arch)
      ->type_name("N");
  app.add_option("--precision", settings->precision, "f32, bf16, f16 or f64 [default: f32]")
      ->type_name("NAME");
  app.add_option("--sets", settings->sets, "of operands, taken in turn [default: 4]")
      ->type_name("N");
  app.add_flag("--tf32", settings->tf32, "on a GPU f32 products with TF32");
  app.add_option("--seconds", settings->seconds, "spent on each figure [default: 0.3]")
      ->type_name("S");
  settings->output.add_to(app);
  settings->machine.add_to(app);
  app.footer(kNotes);
  return {&app, [settings] { return settings->run(); }};
}

}  // namespace tessera
