// Predictions back to pictures.
#include "models/reconstruct.h"

#include "autograd/functions.h"
#include "autograd/tape.h"
#include "engine/raw.h"

namespace tessera {

Reconstruction reconstruct(const Mae& model, const Tensor& pictures, const Masking& masking) {
  const NoGrad no_grad;
  const Tensor imgs = raw::to(pictures, model.device());
  const MaeConfig& config = model.config();
  const MaeOutput out = model.forward(imgs, masking, true);
  const auto picture = [&](const Tensor& patches) {
    return fold_patches(patches, config.patch, config.image_height, config.image_width);
  };

  Tensor pixels = out.pred;  // (B, L, p p C)
  if (config.norm_pix_loss) {
    const Tensor truth = unfold_patches(imgs, config.patch);
    pixels = pixels * sqrt(var(truth, {-1}, true) + 1e-6) + mean(truth, {-1}, true);
  }
  const Tensor removed_patches = reshape(out.mask, {imgs.size(0), config.patches(), 1});
  const Tensor removed = picture(
      expand(removed_patches, {imgs.size(0), config.patches(), config.patch * config.patch}));
  const Tensor visible = removed * -1 + 1;  // (B, 1, H, W)

  Reconstruction result;
  result.masked = imgs * visible;
  result.predicted = picture(pixels);
  result.pasted = result.masked + result.predicted * removed;
  result.removed = removed;
  for (Tensor* t : {&result.masked, &result.predicted, &result.pasted, &result.removed}) {
    *t = raw::to(*t, pictures.device());
  }
  return result;
}

Reconstruction reconstruct(const Mae& model, const Tensor& imgs, const Tensor& noise) {
  return reconstruct(model, imgs, random_masking(noise, model.config().kept()));
}

}  // namespace tessera
