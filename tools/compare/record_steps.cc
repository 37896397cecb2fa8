// Trains a tiny masked autoencoder or BEiT and writes down everything another program needs to take
// the same steps: initial weights, and for each step pictures, masks, learning rate and loss; for
// BEiT token ids drawn at random, and no drop path, which another program would draw differently.
// tools/compare/pytorch_steps.py takes them in PyTorch. One safetensors file, whose tensors are f32
// whatever --precision the steps were computed in.
#include <CLI/CLI.hpp>
#include <cmath>
#include <functional>
#include <memory>

#include "autograd/autocast.h"
#include "autograd/tape.h"
#include "data/loader.h"
#include "data/open.h"
#include "engine/backend.h"
#include "engine/error.h"
#include "engine/raw.h"
#include "models/presets.h"
#include "nn/module.h"
#include "train/adamw.h"
#include "train/files/safetensors.h"
#include "train/recipe.h"
#include "train/schedule.h"

namespace tessera {
namespace {

constexpr int64_t kImage = 32, kPatch = 4;
constexpr uint32_t kTokenSite = 1;
constexpr double kBeitMaskRatio = 0.385;  // 24 of 64 patches, as pytorch_beit.py counts them

// A model, what one of its steps reads beside the pictures, and its loss.
struct Subject {
  std::unique_ptr<Module> model;
  std::function<std::vector<NamedTensor>(uint32_t step)> inputs;  // f32, by their names in the file
  std::function<Tensor(const Tensor& images, const std::vector<NamedTensor>& inputs)> loss;
};

template <class Config>
Config sized(Config config) {
  config.image_height = config.image_width = kImage;
  config.patch = kPatch;
  return config;
}

Subject mae(const std::string& arch, int64_t batch, uint64_t seed) {
  const MaeConfig config = sized(mae_preset(arch));
  auto model = std::make_unique<Mae>(config, seed);
  const auto inputs = [=](uint32_t step) {
    return std::vector<NamedTensor>{{"noise", mask_noise(batch, config.patches(), seed, step)}};
  };
  const auto loss = [model = model.get()](const Tensor& images,
                                          const std::vector<NamedTensor>& in) {
    return model->forward(images, in[0].tensor).loss;
  };
  return {std::move(model), inputs, loss};
}

Subject beit(const std::string& arch, int64_t batch, uint64_t seed) {
  BeitConfig config = sized(beit_preset(arch));
  config.drop_path = 0;
  const auto target = static_cast<int64_t>(kBeitMaskRatio * static_cast<double>(config.patches()));
  auto model = std::make_unique<Beit>(config, seed);
  const auto inputs = [=](uint32_t step) {
    const Tensor mask = random_masks(batch, config.patches(), target, seed, step);
    const Tensor ids = raw::uniform({batch, config.patches()}, {seed, step, kTokenSite}, 0,
                                    static_cast<double>(config.vocab));
    return std::vector<NamedTensor>{{"mask", raw::to(mask, DType::kF32)},
                                    {"tokens", raw::to(raw::to(ids, DType::kI64), DType::kF32)}};
  };
  const auto loss = [model = model.get(), target](const Tensor& images,
                                                  const std::vector<NamedTensor>& in) {
    const Tensor mask = raw::to(in[0].tensor, DType::kBool);
    return model->forward(images, masked_patches(mask, target), raw::to(in[1].tensor, DType::kI64))
        .loss;
  };
  return {std::move(model), inputs, loss};
}

// What is written down, and held until it is.
struct Notes {
  std::vector<SafetensorsTensor> entries;
  std::vector<Tensor> held;

  void keep(const std::string& name, const Tensor& t) {
    held.push_back(t);
    entries.push_back({name, t.dtype(), t.shape(), t.view().data});
  }
};

struct Record {
  std::string data = "builtin:", out, precision = "f32", model = "mae", arch = "vit_tiny";
  int64_t steps = 300, batch = 64;
  double lr = 1e-3;
  uint64_t seed = 0;

  void run() const {
    const DType low = precision_from_name(precision);
    const Subject subject = model == "beit" ? beit(arch, batch, seed) : mae(arch, batch, seed);
    DataOptions options;
    options.spec = data;
    options.augment = Augment::kShiftFlip;
    options.batch_size = batch;
    options.seed = seed;
    Loader loader(open_data(data, 0.04, kImage, kImage).train, options);
    Notes notes;
    for (const NamedTensor& p : subject.model->state_dict()) {
      if (p.tensor.dtype() != DType::kF32) continue;  // an index that follows from the sizes
      notes.keep("weights/" + p.name, raw::clone(p.tensor));
    }
    AdamW optimizer(*subject.model, {.shadow = low, .scaled_loss = low == DType::kF16});
    LearningRateSchedule schedule;
    schedule.peak = lr;
    schedule.warmup_steps = static_cast<double>(steps) / 10;
    schedule.total_steps = steps;
    std::vector<float> losses, rates;
    for (int64_t step = 0; step < steps; ++step) {
      const Tensor images = loader.next().images;
      const std::vector<NamedTensor> inputs = subject.inputs(static_cast<uint32_t>(step));
      notes.keep(fmt::format("images/{:05}", step), images);
      for (const NamedTensor& input : inputs) {
        notes.keep(fmt::format("{}/{:05}", input.name, step), input.tensor);
      }
      rates.push_back(static_cast<float>(schedule.at(step)));
      const auto loss = [&] { return subject.loss(images, inputs); };
      losses.push_back(take_step(&optimizer, low, step, schedule.at(step), loss));
    }
    notes.keep("losses", Tensor::from(losses, {steps}));
    notes.keep("learning_rates", Tensor::from(rates, {steps}));
    write_safetensors(out, notes.entries,
                      {{"model", model}, {"arch", arch}, {"precision", precision}});
    fmt::print("{} steps in {}: loss {:.5f} to {:.5f}\n", steps, precision, losses.front(),
               losses.back());
  }

  // As a trainer's (train/step.h), which refuses to go on where this does.
  static float take_step(AdamW* optimizer, DType low, int64_t step, double rate,
                         const std::function<Tensor()>& loss_of) {
    optimizer->begin_step(rate, static_cast<uint32_t>(step));
    optimizer->zero_grad();
    const Autocast autocast(low);
    const Tensor loss = loss_of();
    backward(loss, optimizer->loss_seed());
    optimizer->update(loss);
    optimizer->mark_updated();
    const double value = loss.item();
    TESSERA_CHECK(std::isfinite(value), "the loss of step {} is {}", step, value);
    TESSERA_CHECK(optimizer->state().halted == 0, "the gradients of step {} are not finite", step);
    backend(Device::kCpu).allocator().end_step();
    return static_cast<float>(value);
  }
};

int record_steps(int argc, char** argv) {
  Record record;
  CLI::App app("Writes down training steps for a comparison.");
  app.add_option("--data", record.data, "as for tessera pretrain")->capture_default_str();
  app.add_option("--model", record.model, "mae or beit")
      ->check(CLI::IsMember({"mae", "beit"}))
      ->capture_default_str();
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
