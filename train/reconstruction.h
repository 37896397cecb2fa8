// How well a masked autoencoder completes held-out pictures, in dB and as a sheet to look at.
// Rule: the masks depend on (seed, picture) alone, so two models, or a model and the classical
// fills, are always judged on the same ones.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/evaluation.h"
#include "data/image.h"
#include "models/mae.h"
#include "train/normalisation.h"

namespace tessera {

// Mean over pictures of the PSNR over their masked pixels, dB (train/fills.h).
struct ReconstructionScores {
  int64_t images = 0;
  double model = 0;
  double mean = 0, nearest = 0, bilinear = 0, harmonic = 0;  // the classical fills; 0 if not asked
};

// The noise (1, L) f32 of picture i's mask under `seed`.
Tensor evaluation_noise(int64_t picture, int64_t patches, uint64_t seed);

// Over the reader's `pictures`. One that cannot be decoded is passed over and named on stderr. A
// norm-pix model's prediction is un-normalised with each patch's true mean and deviation.
// `progress` hears how many pictures are done, batch by batch.
ReconstructionScores evaluate_reconstruction(const Mae& model, const EvaluationReader& reader,
                                             const Normalisation& normalisation, double mask_ratio,
                                             uint64_t seed, bool with_fills,
                                             const std::vector<int64_t>& pictures,
                                             const std::function<void(int64_t)>& progress = {});

// One row a picture: original, masked, reconstruction, reconstruction with the visible tiles
// pasted over it. Small pictures are magnified by a whole number, so that a person sees them.
Image reconstruction_sheet(const Mae& model, const EvaluationReader& reader,
                           const Normalisation& normalisation, double mask_ratio, uint64_t seed,
                           const std::vector<int64_t>& pictures);

}  // namespace tessera
