// Trains a tiny masked autoencoder and writes down everything another program needs to take the
// same steps: initial weights, and for each step pictures, mask noise, learning rate and loss.
// tools/compare/pytorch_steps.py takes them in PyTorch. One safetensors file, whose tensors are f32
// whatever --precision the steps were computed in.
#include <CLI/CLI.hpp>

#include "autograd/autocast.h"
#include "autograd/tape.h"
#include "data/loader.h"
#include "data/open.h"
#include "engine/backend.h"
#include "engine/raw.h"
#include "models/presets.h"
#include "train/adamw.h"
#include "train/recipe.h"
#include "train/safetensors.h"
#include "train/schedule.h"

namespace tessera {
namespace {

struct Record {
  std::string data = "builtin:", out, precision = "f32", arch = "vit_tiny";
  int64_t steps = 300, batch = 64;
  double lr = 1e-3;
  uint64_t seed = 0;

  void run() const {
    const DType low = precision_from_name(precision);
    MaeConfig config = mae_preset(arch);
    config.image_height = config.image_width = 32;
    config.patch = 4;
    DataOptions options;
    options.spec = data;
    options.augment = Augment::kShiftFlip;
    options.batch_size = batch;
    options.seed = seed;
    Loader loader(open_data(data, 0.04, 32, 32).train, options);
    Mae model(config, seed);

    std::vector<SafetensorsTensor> tensors;
    std::vector<Tensor> kept;
    const auto keep = [&](const std::string& name, const Tensor& t) {
      kept.push_back(t);
      tensors.push_back({name, t.dtype(), t.shape(), t.view().data});
    };
    for (const NamedTensor& p : model.state_dict()) keep("weights/" + p.name, raw::clone(p.tensor));

    AdamWOptions adamw;
    adamw.shadow = low;
    AdamW optimizer(model, adamw);
    LearningRateSchedule schedule;
    schedule.peak = lr;
    schedule.warmup_steps = static_cast<double>(steps) / 10;
    schedule.total_steps = steps;
    std::vector<float> losses, rates;
    for (int64_t step = 0; step < steps; ++step) {
      const Tensor images = loader.next().images;
      const Tensor noise = mask_noise(batch, config.patches(), seed, static_cast<uint32_t>(step));
      keep(fmt::format("images/{:05}", step), images);
      keep(fmt::format("noise/{:05}", step), noise);
      rates.push_back(static_cast<float>(schedule.at(step)));
      optimizer.zero_grad();
      const Autocast autocast(low);
      const Tensor loss = model.forward(images, noise).loss;
      backward(loss);
      optimizer.step(schedule.at(step));
      losses.push_back(static_cast<float>(loss.item()));
      backend(Device::kCpu).allocator().end_step();
    }
    keep("losses", Tensor::from(losses, {steps}));
    keep("learning_rates", Tensor::from(rates, {steps}));
    write_safetensors(out, tensors, {{"arch", arch}, {"precision", precision}});
    fmt::print("{} steps in {}: loss {:.5f} to {:.5f}\n", steps, precision, losses.front(),
               losses.back());
  }
};

int record_steps(int argc, char** argv) {
  Record record;
  CLI::App app("Writes down training steps for a comparison.");
  app.add_option("--data", record.data, "as for tessera pretrain")->capture_default_str();
  app.add_option("--arch", record.arch, "vit_tiny, ...")->capture_default_str();
  app.add_option("--steps", record.steps)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--batch-size", record.batch)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--lr", record.lr, "peak, after a tenth of the steps")->capture_default_str();
  app.add_option("--seed", record.seed)->capture_default_str();
  app.add_option("--precision", record.precision, "f32, bf16 or f16")->capture_default_str();
  app.add_option("--out", record.out, "the file")->required();
  CLI11_PARSE(app, argc, argv);
  try {
    record.run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "record_steps: {}\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) { return tessera::record_steps(argc, argv); }
