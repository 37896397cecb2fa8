// Visual tokenizers in f32: the BEiT repository's discrete VAE with its gradients, and the encoder
// of DALL-E.
// Layout: weights/; dvae input/imgs (as the encoder wants them), input/gumbel, out/logits,
// out/recon, out/loss, out/token_ids, grad/; dalle_dvae_encoder input/imgs01, out/logits,
// out/token_ids, weights in f16.
#include "autograd/tape.h"
#include "engine/raw.h"
#include "models/dalle.h"
#include "models/dvae.h"
#include "tests/golden/model.h"

namespace tessera::golden {
namespace {

void check_ids(const Tensor& logits, const File& file, Device device, Report& report) {
  report.count(
      file, "out/token_ids",
      fault_within(raw::argmax(logits, 1, false), file.tensor("out/token_ids", device), 0));
}

}  // namespace

void run_dvae(const File& file, Device device, Report& report) {
  const Settings settings(file);
  const Tensor imgs = file.tensor("input/imgs", device);
  DvaeConfig config;
  config.channels = imgs.size(1);
  config.vocab = settings.whole("num_tokens");
  config.codebook_dim = settings.whole("codebook_dim");
  config.layers = settings.whole("num_layers");
  config.hidden = settings.whole("hidden_dim");
  config.smooth_l1_loss = settings.truth_or("smooth_l1_loss", false);
  Dvae model(config);
  load_weights(model, file, device);

  const Tensor gumbel = file.tensor("input/gumbel", device);  // (B, V, h, w)
  // The reference sums its KL term over batch and grid, ours is a mean.
  const double positions = double(gumbel.numel() / config.vocab);
  const auto number = [&](double value) { return Tensor::full({}, value, gumbel.dtype(), device); };
  const TokenizerStep step = {
      .temperature = number(settings.number("temperature_used")),
      .kl_weight = number(settings.number("kl_div_loss_weight") * positions),
      .straight_through = settings.truth_or("straight_through", false)};
  const TokenizerOutput out = model.forward(imgs, gumbel, step);
  check_output("out/logits", out.logits.detach(), file, device, report);
  check_output("out/recon", out.raw.detach(), file, device, report);
  report.count(file, "out/loss",
               fault_of_loss(out.loss.item(), file.tensor("out/loss", device).item()));
  check_ids(out.logits.detach(), file, device, report);
  backward(out.loss);
  check_gradients(model, file, device, report);
}

void run_dalle_encoder(const File& file, Device device, Report& report) {
  const Settings settings(file);
  const Tensor imgs = file.tensor("input/imgs01", device);
  TESSERA_CHECK(settings.number_or("group_count", 4) == 4, "only four groups are known");
  DalleConfig config;
  config.channels = imgs.size(1);
  config.vocab = settings.whole("vocab_size");
  config.width = settings.whole("n_hid");
  config.blocks_per_group = settings.whole("n_blk_per_group");
  Dalle model(config);
  load_weights(model.encoder(), file, device);

  const NoGrad no_grad;
  const Tensor logits = model.logits(model.prepare(imgs));
  check_output("out/logits", logits, file, device, report);
  check_ids(logits, file, device, report);
}

}  // namespace tessera::golden
