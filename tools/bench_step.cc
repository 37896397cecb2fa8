// `tessera bench step`: how long a whole training step takes, beside what the machine can do at
// best. Rule: the peak is measured in the same run by a large product, since machines are shared
// and differ; a step is forward, backward and AdamW on pictures that are in memory already.
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "autograd/tape.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "models/flops.h"
#include "models/presets.h"
#include "tools/command.h"
#include "tools/machine_flags.h"
#include "train/adamw.h"
#include "train/system.h"

namespace tessera {
namespace {

constexpr int kPeakRuns = 12;
constexpr int kWarmUpSteps = 2;  // allocations and the caches' first touch

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// FLOP/s of the best of several f32 products (2048, 3072) x (3072, 2048), on all threads.
double product_peak() {
  const Tensor a = raw::uniform({2048, 3072}, {1, 0, 1}, -1, 1);
  const Tensor b = raw::uniform({3072, 2048}, {1, 0, 2}, -1, 1);
  double best = 1e30;
  for (int i = 0; i < kPeakRuns; ++i) {
    best = std::min(best, seconds_of([&] { raw::matmul(a, b); }));
  }
  return 2.0 * 2048 * 3072 * 2048 / best;
}

struct StepBench {
  std::string model = "mae", arch = "vit_base";
  int64_t image_size = 224, patch = 0, batch = 8;
  int steps = 6;
  bool json = false;
  MachineFlags machine;

  int run() const {
    TESSERA_CHECK_USAGE(model == "mae", "--model {}: there is only mae", model);
    TESSERA_CHECK_USAGE(batch > 0 && steps > 0, "--batch-size and --steps must be positive");
    machine.apply();
    MaeConfig config = mae_preset(arch);
    config.patch = patch > 0 ? patch : default_patch(config.patch, image_size, image_size);
    config.image_height = config.image_width = image_size;
    config.check();
    const double flops = cost_of(config).step_flops;
    const double peak = product_peak();
    Mae mae(config, 0);
    AdamW optimizer(mae, {});
    const Tensor images =
        raw::normal({batch, config.channels, image_size, image_size}, {0, 0, kFirstStepSite});
    std::vector<double> times;
    for (int step = 0; step < kWarmUpSteps + steps; ++step) {
      const double seconds = seconds_of([&] {
        const Tensor noise = mask_noise(batch, config.patches(), 0, static_cast<uint32_t>(step));
        optimizer.zero_grad();
        backward(mae.forward(images, noise).loss);
        optimizer.gradient_norm();
        optimizer.step(1e-4);
      });
      backend(Device::kCpu).allocator().end_step();
      if (step >= kWarmUpSteps) times.push_back(seconds);
    }
    report(median(times), flops, peak);
    return 0;
  }

  void report(double step, double flops, double peak) const {
    const double rate = static_cast<double>(batch) / step;
    const double utilisation = rate * flops / peak;
    const double memory = static_cast<double>(peak_memory_bytes()) / (1 << 20);
    if (json) {
      const nlohmann::json line = {{"model", model},
                                   {"arch", arch},
                                   {"batch_size", batch},
                                   {"precision", "f32"},
                                   {"step_s", step},
                                   {"images_per_s", rate},
                                   {"gflop_per_image", flops * 1e-9},
                                   {"product_peak_gflops", peak * 1e-9},
                                   {"utilisation", utilisation},
                                   {"peak_rss_mb", memory},
                                   {"threads", num_threads()},
                                   {"device", "cpu"}};
      fmt::print("{}\n", line.dump());
      return;
    }
    fmt::print("{} {}, {} px, batch {}, f32, {} threads\n", model, arch, image_size, batch,
               num_threads());
    fmt::print("  step           {:10.3f} s   (median of {})\n", step, steps);
    fmt::print("  images         {:10.1f} /s\n", rate);
    fmt::print("  work           {:10.2f} GFLOP a picture\n", flops * 1e-9);
    fmt::print("  product peak   {:10.1f} GFLOP/s (measured now)\n", peak * 1e-9);
    fmt::print("  utilisation    {:10.1f} %\n", 100 * utilisation);
    fmt::print("  peak memory    {:10.0f} MiB\n", memory);
  }
};

}  // namespace

Command add_bench_step(CLI::App& bench) {
  CLI::App& app = *bench.add_subcommand("step", "time a whole training step");
  auto settings = std::make_shared<StepBench>();
  app.add_option("--model", settings->model, "what to train: mae")->capture_default_str();
  app.add_option("--arch", settings->arch, "vit_tiny ... vit_huge")->capture_default_str();
  app.add_option("--image-size", settings->image_size, "pixels a side")->capture_default_str();
  app.add_option("--patch-size", settings->patch, "pixels a side; 0: the preset's");
  app.add_option("--batch-size", settings->batch, "pictures a step")->capture_default_str();
  app.add_option("--steps", settings->steps, "steps timed, after two that are not")
      ->capture_default_str();
  app.add_flag("--json", settings->json, "one line for machines");
  settings->machine.add_to(app);
  app.footer(
      "Example:\n  tessera bench step --arch vit_tiny --image-size 32 --patch-size 4 --batch-size "
      "128");
  return {&app, [settings] { return settings->run(); }};
}

}  // namespace tessera
