// `tessera bench step`: how long a whole training step takes, beside what the machine can do at
// best. Rule: the peak is measured in the same run by a large product, since machines are shared
// and differ; a step is forward, backward and AdamW on pictures that are in memory already.
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "autograd/autocast.h"
#include "autograd/tape.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "models/flops.h"
#include "models/presets.h"
#include "tools/command.h"
#include "tools/machine_flags.h"
#include "train/adamw.h"
#include "train/pretrain.h"
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

// FLOP/s of the best of several products (2048, 3072) x (3072, 2048), on all threads.
double product_peak(DType dtype) {
  const Tensor a = raw::to(raw::uniform({2048, 3072}, {1, 0, 1}, -1, 1), dtype);
  const Tensor b = raw::to(raw::uniform({3072, 2048}, {1, 0, 2}, -1, 1), dtype);
  double best = 1e30;
  for (int i = 0; i < kPeakRuns; ++i) {
    best = std::min(best, seconds_of([&] { raw::matmul(a, b); }));
  }
  return 2.0 * 2048 * 3072 * 2048 / best;
}

struct StepBench {
  std::string model = "mae", arch = "vit_base", precision = "f32";
  int64_t image_size = 224, patch = 0, batch = 8;
  int steps = 6;
  bool checkpoint_activations = false, json = false;
  MachineFlags machine;

  int run() const {
    TESSERA_CHECK_USAGE(model == "mae", "--model {}: there is only mae", model);
    TESSERA_CHECK_USAGE(batch > 0 && steps > 0, "--batch-size and --steps must be positive");
    machine.apply();
    MaeConfig config = mae_preset(arch);
    config.patch = patch > 0 ? patch : default_patch(config, image_size, image_size);
    config.image_height = config.image_width = image_size;
    config.check();
    const double flops = cost_of(config).step_flops;
    const DType low = precision_from_name(precision);
    const double peak = product_peak(low);
    Mae mae(config, 0);
    mae.set_checkpointing(checkpoint_activations);
    AdamWOptions options;
    options.shadow = low;
    AdamW optimizer(mae, options);
    CachingAllocator& allocator = backend(Device::kCpu).allocator();
    Memory memory;
    memory.arenas = optimizer.arena_bytes();
    const Tensor images =
        raw::normal({batch, config.channels, image_size, image_size}, {0, 0, kFirstStepSite});
    std::vector<double> times;
    for (int step = 0; step < kWarmUpSteps + steps; ++step) {
      const double seconds = seconds_of([&] {
        const Tensor noise = mask_noise(batch, config.patches(), 0, static_cast<uint32_t>(step));
        optimizer.zero_grad();
        const Autocast autocast(low);
        const size_t before = allocator.stats().live_bytes;
        const Tensor loss = mae.forward(images, noise).loss;
        memory.saved = std::max(memory.saved, allocator.stats().live_bytes - before);
        backward(loss);
        optimizer.gradient_norm();
        optimizer.step(1e-4);
      });
      allocator.end_step();
      if (step >= kWarmUpSteps) times.push_back(seconds);
    }
    memory.peak = allocator.stats().peak_bytes;
    report(median(times), flops, peak, memory);
    return 0;
  }

  // Bytes. What is in no arena and not saved is gradients on their way and the kernels' results.
  struct Memory {
    size_t arenas = 0, saved = 0, peak = 0;
  };

  void report(double step, double flops, double peak, const Memory& bytes) const {
    const double rate = static_cast<double>(batch) / step;
    const double utilisation = rate * flops / peak;
    const double memory = static_cast<double>(peak_memory_bytes()) / (1 << 20);
    if (json) {
      const nlohmann::json line = {{"model", model},
                                   {"arch", arch},
                                   {"batch_size", batch},
                                   {"precision", precision},
                                   {"step_s", step},
                                   {"images_per_s", rate},
                                   {"gflop_per_image", flops * 1e-9},
                                   {"product_peak_gflops", peak * 1e-9},
                                   {"utilisation", utilisation},
                                   {"peak_rss_mb", memory},
                                   {"arena_mb", mebibytes(bytes.arenas)},
                                   {"saved_mb", mebibytes(bytes.saved)},
                                   {"tensor_peak_mb", mebibytes(bytes.peak)},
                                   {"threads", num_threads()},
                                   {"device", "cpu"}};
      fmt::print("{}\n", line.dump());
      return;
    }
    fmt::print("{} {}, {} px, batch {}, {}, {} threads\n", model, arch, image_size, batch,
               precision, num_threads());
    fmt::print("  step           {:10.3f} s   (median of {})\n", step, steps);
    fmt::print("  images         {:10.1f} /s\n", rate);
    fmt::print("  work           {:10.2f} GFLOP a picture\n", flops * 1e-9);
    fmt::print("  product peak   {:10.1f} GFLOP/s (measured now)\n", peak * 1e-9);
    fmt::print("  utilisation    {:10.1f} %\n", 100 * utilisation);
    fmt::print("  peak memory    {:10.0f} MiB resident, of which tensors {:.0f} MiB:\n", memory,
               mebibytes(bytes.peak));
    fmt::print("    arenas       {:10.0f} MiB (parameters, gradients, moments, shadow)\n",
               mebibytes(bytes.arenas));
    fmt::print("    saved        {:10.0f} MiB (for backward)\n", mebibytes(bytes.saved));
  }

  static double mebibytes(size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }
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
  app.add_option("--precision", settings->precision, "f32, bf16 or f16")->capture_default_str();
  app.add_flag("--checkpoint-activations", settings->checkpoint_activations,
               "keep only each block's input");
  app.add_flag("--json", settings->json, "one line for machines");
  settings->machine.add_to(app);
  app.footer(
      "Example:\n  tessera bench step --arch vit_tiny --image-size 32 --patch-size 4 --batch-size "
      "128");
  return {&app, [settings] { return settings->run(); }};
}

}  // namespace tessera
