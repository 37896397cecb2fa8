// From pre-training to fine-tuning: the encoder of a MAE or BEiT into a classifier, also for
// pictures of another size, as MAE's and BEiT's fine-tuning scripts do it.
// Rule: nothing is dropped in silence: what the two models have in common must be there, and what
// is left behind is the head, of a pre-training or of other classes (whoever loads a classifier's
// says so), and what the chosen pooling does not use.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "models/mae.h"
#include "models/vit.h"

namespace tessera {

// The tower of a pre-trained MAE as a classifier wants it: learned positions, qkv bias.
VitConfig encoder_of(const MaeConfig& config);
// That of a BEiT: the shared relative bias becomes one for each block.
VitConfig encoder_of(const VitConfig& beit);

// pos_embed (1, 1 + L, D) of one grid for another: bicubic (a = -0.75, no antialiasing) over the
// patches, the class token's row as it is.
Tensor resize_positions(const Tensor& positions, const Grid& from, const Grid& to);

// A relative bias table (distances, heads) of one grid for another: each head's table is a surface
// over the distances, spaced as a geometric progression so that both grids end at the same
// distance, and is read off its bicubic spline (not-a-knot) at whole distances. The class token's
// three rows stay as they are. BEiT's run_class_finetuning.py, for square and other grids.
Tensor resize_relative_bias(const Tensor& table, const Grid& from, const Grid& to);

// Copies the tower's weights out of a MAE's or BEiT's state dict, pre-trained on `grid` patches,
// resized where the classifier's grid differs; its norm too where the class token is pooled. Head
// and fc_norm stay as they are. An Error names what is missing or does not fit.
void load_encoder(VitClassifier& model, const std::map<std::string, Tensor>& weights,
                  const Grid& grid);

}  // namespace tessera
