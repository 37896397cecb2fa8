// `tessera bench step`: how long a whole training step takes, beside what the machine can do at
// best. Rule: a step is what Trainer (train/step.h) does, on pictures that are in memory already,
// and one that training would refuse is no time but an error. The peak is measured in the same run,
// since machines are shared and differ, and after the steps: its operands are no memory of theirs.
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

#include "autograd/autocast.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "models/block_masks.h"
#include "models/flops.h"
#include "models/presets.h"
#include "tools/bench_report.h"
#include "tools/bench_step_loop.h"
#include "tools/command.h"
#include "tools/machine_flags.h"
#include "tools/trained_model.h"
#include "train/pretrain_beit.h"
#include "train/profile.h"
#include "train/recipe.h"

namespace tessera {
namespace {

// In f32, as in a training.
Tensor tokens_by(const Tokenizer& tokenizer, const Tensor& pictures, const Shape& grid) {
  const Autocast full(DType::kF32);
  return raw::reshape(tokenizer.encode(pictures), grid);
}

struct StepBench {
  std::string model = "mae", arch = "vit_base", precision = "f32", tokenizer;
  int64_t image_size = 224, patch = 0, batch = 8, vocab = 0;
  int steps = 6;
  bool checkpoint_activations = false, profile = false, no_graph = false;
  bool tf32 = false;
  ReportFlags output;
  MachineFlags machine;

  int run() const {
    check();
    const Device device = machine.apply();
    const Tf32 rounding(tf32);
    const DType low = precision_from_name(precision);
    const std::string slow = why_not_faster(low, device);
    if (!slow.empty()) fmt::print(stderr, "{}\n", slow);
    const StepSubject subject = model == "mae" ? mae(device) : beit(device);
    subject.model->move_to(device);
    std::optional<Profile> watch;
    const Measured measured = measure(subject, low, device, &watch);
    const Limits limits =
        profile ? measure_limits(low, device) : Limits{product_peak(low, device), 0};
    Report result = report(subject, measured, limits.flops, device);
    if (watch) {
      fmt::print(stderr, "{}\n", watch->table(steps, limits));
      result.limits = limits;
      result.dots = dots_of(watch->rows());
    }
    output.publish(result);
    return 0;
  }

  void check() const {
    TESSERA_CHECK_USAGE(model == "mae" || model == "beit", "--model {}: there are mae and beit",
                        model);
    TESSERA_CHECK_USAGE(tokenizer.empty() || model == "beit", "--tokenizer is for --model beit");
    TESSERA_CHECK_USAGE(vocab == 0 || (model == "beit" && tokenizer.empty() && vocab > 1),
                        "--vocab is for --model beit without --tokenizer, and above 1");
    TESSERA_CHECK_USAGE(batch > 0 && steps > 0, "--batch-size and --steps must be positive");
    output.check();
  }

  struct Measured {
    std::vector<double> times;
    StepBytes bytes;
    bool recorded = false;
    int64_t skipped = 0;  // updates, for a loss scale that was too high
  };

  // With a profile nothing is replayed, since nobody sees what is; it watches the steps that count.
  Measured measure(const StepSubject& subject, DType low, Device device,
                   std::optional<Profile>* watch) const {
    StepLoop loop(subject, low, device, !no_graph && !profile);
    loop.warm_up();
    if (profile) watch->emplace(device);
    const std::vector<double> times = loop.time(steps);
    return {times, loop.bytes(), loop.recorded(), loop.skipped()};
  }

  // The ops that multiply, under the roof of this machine.
  static std::vector<Dot> dots_of(const std::vector<Profile::Row>& ops) {
    std::vector<Dot> dots;
    for (const Profile::Row& op : ops) {
      if (op.flops > 0) {
        dots.push_back({op.name, "a step", op.flops / op.bytes, op.flops / op.seconds});
      }
    }
    return dots;
  }

  // A preset for pictures of this size.
  template <class Config>
  Config sized(Config config) const {
    config.patch = patch > 0 ? patch : default_patch(config.patch, image_size, image_size);
    config.image_height = config.image_width = image_size;
    config.check();
    return config;
  }

  Tensor pictures(Device device) const {
    return raw::normal({batch, 3, image_size, image_size}, {0, 0, kFirstStepSite}, 0, 1,
                       DType::kF32, device);
  }

  StepSubject mae(Device device) const {
    const MaeConfig config = sized(mae_preset(arch));
    auto mae = std::make_unique<Mae>(config, 0);
    mae->set_checkpointing(checkpoint_activations);
    const auto inputs = [this, config, images = pictures(device)](uint32_t step) {
      const Masking masks =
          random_masking(mask_noise(batch, config.patches(), 0, step), config.kept());
      std::vector<Tensor> all = masks.tensors();
      all.push_back(images);
      return all;
    };
    const auto loss = [mae = mae.get()](const std::vector<Tensor>& in) {
      return mae->forward(in.back(), Masking::of(std::span(in).first(in.size() - 1))).loss;
    };
    return {std::move(mae), cost_of(config).step_flops, config.patch, inputs, loss};
  }

  // With its tokenizer in every step where one is named, else with tokens at hand, as from a cache.
  StepSubject beit(Device device) const {
    BeitRecipe recipe;
    recipe.model = sized(beit_preset(arch));
    if (vocab > 0) recipe.model.vocab = vocab;
    std::shared_ptr<Tokenizer> names;
    if (!tokenizer.empty()) {
      names = load_tokenizer(checkpoint_file("--tokenizer", tokenizer)).model;
      names->move_to(device);
      recipe.model.vocab = names->vocab();
    }
    const BeitConfig& config = recipe.model;
    const int64_t target = recipe.target(recipe.mask_ratio);
    const Shape grid = {batch, config.patches()};
    const Tensor ids = Tensor::full(grid, 0, DType::kI64);
    const Tensor seen = names ? raw::uniform({batch, 3, config.grid().rows * names->reduction(),
                                              config.grid().columns * names->reduction()},
                                             {0, 0, kFirstStepSite}, 0, 1, DType::kF32, device)
                              : Tensor();
    auto beit = std::make_unique<Beit>(config, 0);
    beit->set_checkpointing(checkpoint_activations);
    const auto inputs = [=, this, images = pictures(device)](uint32_t step) {
      const MaskedPatches masked =
          masked_patches(block_masks(batch, recipe.block_options(target), 0, step), target);
      const Tensor tokens = names ? tokens_by(*names, seen, grid) : ids;
      return std::vector{images, masked.mask, masked.tokens, tokens};
    };
    const auto loss = [=, beit = beit.get()](const std::vector<Tensor>& in) {
      return beit->forward(in[0], {.mask = in[1], .tokens = in[2]}, in[3]).loss;
    };
    return {std::move(beit), cost_of(config, target).step_flops, config.patch, inputs, loss};
  }

  // The CPU's median leaves out who else used the machine. On a device a step's end is heard of
  // late, and only all of them together are sure to be time that nothing else hid.
  double step_seconds(const std::vector<double>& times, Device device) const {
    if (device == Device::kCpu) return median(times);
    return std::accumulate(times.begin(), times.end(), 0.0) / static_cast<double>(times.size());
  }

  Report report(const StepSubject& subject, const Measured& measured, double peak,
                Device device) const {
    const StepBytes& bytes = measured.bytes;
    const double step = step_seconds(measured.times, device);
    const double rate = static_cast<double>(batch) / step, flops = subject.step_flops;
    const double utilisation = rate * flops / peak;
    const char* kind = device == Device::kCpu ? "median" : "mean";
    Report r;
    r.title = fmt::format("{} {}, {} px, batch {}, {}, {} threads", model, arch, image_size, batch,
                          precision, num_threads());
    r.figures = {{"bench", "", "step"},
                 {"model", "", model},
                 {"arch", "", arch},
                 {"image_size", "", image_size},
                 {"patch_size", "", subject.patch},
                 {"batch_size", "", batch},
                 {"precision", "", precision},
                 {"tf32", "", tf32},
                 {"checkpoint_activations", "", checkpoint_activations},
                 {"vocab", "", vocab},
                 {"tokenizer", "", tokenizer},
                 {"steps", "", steps},
                 {"threads", "", num_threads()},
                 {"device", "", name_of(device)},
                 {"processor", "processor", backend(device).describe()},
                 {"graph", "", measured.recorded ? "on" : "off"},
                 {"skipped_updates", "", measured.skipped},
                 {"step_s", "step", step, fmt::format("s   ({} of {})", kind, steps), 3},
                 {"images_per_s", "images", rate, "/s"},
                 {"gflop_per_image", "work", flops * 1e-9, "GFLOP a picture", 2},
                 {"product_peak_gflops", "product peak", peak * 1e-9, "GFLOP/s (measured now)"},
                 {"utilisation", "utilisation", utilisation, "%", 1, 100},
                 {"peak_rss_mb", "peak memory", mebibytes(bytes.resident), "MiB", 0},
                 {"tensor_peak_mb", "  of tensors", mebibytes(bytes.peak), "MiB", 0},
                 {"arena_mb", "  of arenas", mebibytes(bytes.arenas), "MiB", 0},
                 {"saved_mb", "  saved", mebibytes(bytes.saved), "MiB for backward", 0},
                 {"cached_mb", "  freed, kept", mebibytes(bytes.cached), "MiB after a step", 0},
                 {"workspace_mb", "  workspace", mebibytes(bytes.workspace),
                  "MiB of the kernels' buffers", 0}};
    r.bars_title = "Share of the product peak, step by step";
    const std::vector<double>& times = measured.times;
    for (size_t i = 0; i < times.size(); ++i) {
      r.bars.push_back({fmt::format("step {}", i + 1), "utilisation", utilisation * step / times[i],
                        fmt::format("{:.3f} s", times[i])});
    }
    return r;
  }

  static double mebibytes(size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }
};

}  // namespace

Command add_bench_step(CLI::App& bench) {
  CLI::App& app = *bench.add_subcommand("step", "time a whole training step");
  auto settings = std::make_shared<StepBench>();
  app.add_option("--model", settings->model, "what to train: mae or beit")->capture_default_str();
  app.add_option("--arch", settings->arch, "vit_tiny ... vit_huge")->capture_default_str();
  app.add_option("--image-size", settings->image_size, "pixels a side")->capture_default_str();
  app.add_option("--tokenizer", settings->tokenizer,
                 "beit: run this tokenizer in every step [default: tokens are at hand]");
  app.add_option("--vocab", settings->vocab, "beit: of so many tokens [default: 8192]");
  app.add_option("--patch-size", settings->patch, "pixels a side; 0: the preset's");
  app.add_option("--batch-size", settings->batch, "pictures a step")->capture_default_str();
  app.add_option("--steps", settings->steps,
                 "steps timed, after two that are not, on a GPU after three seconds of them")
      ->capture_default_str();
  app.add_option("--precision", settings->precision, "f32, bf16 or f16")->capture_default_str();
  app.add_flag("--tf32", settings->tf32, "on a GPU f32 products with TF32");
  app.add_flag("--checkpoint-activations", settings->checkpoint_activations,
               "keep only each block's input");
  app.add_flag("--no-graph", settings->no_graph, "on a GPU queue every step anew");
  app.add_flag("--profile", settings->profile, "where the time goes, op by op, on stderr");
  settings->output.add_to(app);
  settings->machine.add_to(app);
  app.footer(
      "Example:\n  tessera bench step --arch vit_tiny --image-size 32 --patch-size 4 --batch-size "
      "128");
  return {&app, [settings] { return settings->run(); }};
}

}  // namespace tessera
