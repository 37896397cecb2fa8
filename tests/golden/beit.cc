// BEiT's pre-training and fine-tuning models in f32: logits, loss, accuracy, every gradient.
// Layout: weights/, grad/, input/imgs; pre-training input/bool_masked_pos and input/token_ids,
// out/logits (the masked patches of all pictures one after another), out/loss, out/mlm_acc;
// fine-tuning input/labels, out/logits, out/loss.
#include "models/beit.h"

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"
#include "tests/golden/model.h"

namespace tessera::golden {
namespace {

// The size of the pictures comes from the pictures.
void read_trunk(const File& file, VitConfig& c) {
  const Settings settings(file);
  const Shape imgs = file.reader().at("input/imgs").shape;
  TESSERA_CHECK(imgs.size() == 4, "input/imgs has shape {}", imgs);
  c.channels = imgs[1];
  c.image_height = imgs[2];
  c.image_width = imgs[3];
  c.patch = settings.whole("patch_size");
  c.dim = settings.whole("embed_dim");
  c.depth = settings.whole("depth");
  c.heads = settings.whole("num_heads");
  c.head_dim = static_cast<int64_t>(settings.number_or("attn_head_dim", 0));
  c.mlp_ratio = settings.number_or("mlp_ratio", 4);
  c.absolute_positions = settings.truth_or("use_abs_pos_emb", false);
  const bool shared = settings.truth_or("use_shared_rel_pos_bias", false);
  const bool own = settings.truth_or("use_rel_pos_bias", false);
  TESSERA_CHECK(!(shared && own), "relative biases both shared and in each block are not known");
  c.relative_bias = shared ? RelativeBias::kShared
                    : own  ? RelativeBias::kPerBlock
                           : RelativeBias::kNone;
  c.qkv_bias = settings.truth("qkv_bias") ? QkvBias::kQueryValue : QkvBias::kNone;
  c.layer_scale = settings.number_or("init_values", 0);
  c.drop_path = 0;
  c.norm_eps = settings.number("norm_eps");
}

}  // namespace

void run_beit_pretraining(const File& file, Device device, Report& report) {
  BeitConfig config;
  read_trunk(file, config);
  config.vocab = Settings(file).whole("vocab_size");
  Beit model(config);
  load_weights(model, file, device);

  // As long as it could ever be, so that padding takes part.
  const MaskedPatches masked =
      masked_patches(file.tensor("input/bool_masked_pos", device), config.patches());
  const BeitOutput out = model.forward(file.tensor("input/imgs", device), masked,
                                       file.tensor("input/token_ids", device));
  const Tensor rows = raw::reshape(out.logits.detach(), {-1, config.vocab});
  const Tensor no_token = Tensor::zeros({}, DType::kI64, device);
  const Tensor real =
      raw::compare(CompareOp::kNotEqual, raw::reshape(masked.tokens, {-1}), no_token);
  check_output("out/logits", raw::index_select(rows, 0, raw::nonzero_rows(real)), file, device,
               report);
  const std::pair<const char*, Tensor> numbers[] = {{"out/loss", out.loss},
                                                    {"out/mlm_acc", out.accuracy}};
  for (const auto& [name, have] : numbers) {
    report.count(file, name, fault_of_loss(have.item(), file.tensor(name, device).item()));
  }
  backward(out.loss);
  check_gradients(model, file, device, report);
}

void run_beit_classifier(const File& file, Device device, Report& report) {
  const Settings settings(file);
  ClassifierConfig config;
  read_trunk(file, config);
  config.classes = settings.whole("num_classes");
  config.pooling = settings.truth("use_mean_pooling") ? Pooling::kMean : Pooling::kClassToken;
  VitClassifier model(config);
  load_weights(model, file, device);

  const Tensor logits = model(file.tensor("input/imgs", device));
  check_output("out/logits", logits.detach(), file, device, report);
  const Tensor loss = cross_entropy(logits, file.tensor("input/labels", device),
                                    settings.number_or("label_smoothing", 0));
  report.count(file, "out/loss",
               fault_of_loss(loss.item(), file.tensor("out/loss", device).item()));
  backward(loss);
  check_gradients(model, file, device, report);
}

}  // namespace tessera::golden
