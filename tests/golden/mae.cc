// Masked autoencoders in f32: outputs, loss, every gradient, five AdamW steps.
// Layout: weights/, input/imgs, input/noise, out/, grad/, adamw/.
#include "models/mae.h"

#include <regex>

#include "autograd/tape.h"
#include "engine/raw.h"
#include "tests/golden/model.h"
#include "train/adamw.h"

namespace tessera::golden {
namespace {

constexpr double kWeight = 1e-4;  // absolute, after the last AdamW step

// The size of the pictures comes from the pictures.
MaeConfig config_of(const File& file) {
  const Settings settings(file);
  const Shape imgs = file.reader().at("input/imgs").shape;
  TESSERA_CHECK(imgs.size() == 4, "input/imgs has shape {}", imgs);
  MaeConfig c;
  c.channels = imgs[1];
  c.image_height = imgs[2];
  c.image_width = imgs[3];
  c.patch = settings.whole("patch_size");
  c.dim = settings.whole("embed_dim");
  c.depth = settings.whole("depth");
  c.heads = settings.whole("num_heads");
  c.decoder_dim = settings.whole("decoder_embed_dim");
  c.decoder_depth = settings.whole("decoder_depth");
  c.decoder_heads = settings.whole("decoder_num_heads");
  c.mlp_ratio = settings.number_or("mlp_ratio", c.mlp_ratio);
  c.norm_pix_loss = settings.truth("norm_pix_loss");
  c.mask_ratio = settings.number("mask_ratio");
  c.norm_eps = settings.number("norm_eps");
  return c;
}

struct Optimizer {
  double lr = 0;
  AdamWOptions options;
};

// "lr 1e-3, betas 0.9 0.95, eps 1e-8, weight_decay 0.05 on tensors ..."
Optimizer optimizer_of(const File& file) {
  const std::string text = Settings(file).text("adamw");
  const auto after = [&](const std::string& word, size_t place = 1) {
    const std::regex pattern("\\b" + word + R"(\s+([-+.\deE]+)(?:\s+([-+.\deE]+))?)");
    std::smatch match;
    TESSERA_CHECK(std::regex_search(text, match, pattern) && match[place].matched,
                  "its AdamW settings '{}' name no {}", text, word);
    return std::stod(match[place]);
  };
  Optimizer o;
  o.lr = after("lr");
  o.options.beta1 = after("betas");
  o.options.beta2 = after("betas", 2);
  o.options.eps = after("eps");
  o.options.weight_decay = after("weight_decay");
  return o;
}

// Rows of a qkv bias that belong to k: its gradient is zero in exact arithmetic (the softmax does
// not see it), so that Adam turns rounding into steps there.
Tensor without_key(const Tensor& bias) {
  const int64_t d = bias.size(0) / 3;
  return raw::cat({raw::slice(bias, 0, 0, d), raw::slice(bias, 0, 2 * d, 3 * d)}, 0);
}

void check_outputs(const Mae& model, const File& file, Device device, Report& report) {
  const NoGrad no_grad;
  const MaeOutput out =
      model.forward(file.tensor("input/imgs", device), file.tensor("input/noise", device), true);
  const std::pair<const char*, Tensor> exact[] = {{"out/mask", out.mask},
                                                  {"out/ids_restore", out.ids_restore}};
  for (const auto& [name, have] : exact) {
    report.count(file, name, fault_within(have, file.tensor(name, device), 0));
  }
  check_output("out/latent", out.latent, file, device, report);
  check_output("out/pred", out.pred, file, device, report);
  report.count(file, "out/loss",
               fault_of_loss(out.loss.item(), file.tensor("out/loss", device).item()));
}

void check_training(const Mae& model, const File& file, Device device, Report& report) {
  const MaeOutput out =
      model.forward(file.tensor("input/imgs", device), file.tensor("input/noise", device));
  report.count(file, "loss in training",
               fault_of_loss(out.loss.item(), file.tensor("out/loss", device).item()));
  backward(out.loss);
  check_gradients(model, file, device, report);
}

void check_steps(const File& file, Device device, Report& report) {
  Mae model(config_of(file));
  load_weights(model, file, device);
  const Optimizer settings = optimizer_of(file);
  AdamW optimizer(model, settings.options);
  const Tensor imgs = file.tensor("input/imgs", device), noise = file.tensor("input/noise", device);
  const std::vector<float> losses = file.tensor("adamw/losses", device).to_vector<float>();
  for (size_t step = 0; step < losses.size(); ++step) {
    optimizer.zero_grad();
    const MaeOutput out = model.forward(imgs, noise);
    report.count(file, fmt::format("adamw/losses {}", step),
                 fault_of_loss(out.loss.item(), losses[step]));
    backward(out.loss);
    optimizer.step(settings.lr);
  }
  const std::string prefix = fmt::format("adamw/weights_after_{}/", losses.size());
  auto wanted = file.under(prefix, device);
  TESSERA_CHECK(!wanted.empty(), "holds no {}", prefix);
  for (const NamedTensor& p : model.named_parameters()) {
    const auto want = wanted.find(p.name);
    if (want == wanted.end()) {
      report.fail(file.name() + " " + prefix + p.name, "is not in the file");
      continue;
    }
    const bool has_key = p.name.ends_with("attn.qkv.bias");
    report.count(file, prefix + p.name,
                 has_key ? fault_within(without_key(p.tensor), without_key(want->second), kWeight)
                         : fault_within(p.tensor, want->second, kWeight));
    wanted.erase(want);
  }
  for (const auto& [name, want] : wanted) {
    report.fail(file.name() + " " + prefix + name, "the model has no such parameter");
  }
}

}  // namespace

void run_mae(const File& file, Device device, Report& report) {
  Mae model(config_of(file));
  load_weights(model, file, device);
  check_outputs(model, file, device, report);
  check_training(model, file, device, report);
  check_steps(file, device, report);
}

}  // namespace tessera::golden
