// Loss scaling for f16, whose smallest normal number is 6e-5: gradients are computed of loss *
// scale and divided again by the optimizer (Micikevicius et al., 2018). The rule is that of
// PyTorch's GradScaler: an update with a non-finite gradient is skipped and halves the scale; 2000
// clean updates in a row double it. Rule: what it holds belongs to the checkpoint: a resumed run
// goes on with the same scale.
#pragma once

#include <cstdint>

#include "engine/dtype.h"

namespace tessera {

class GradScaler {
 public:
  static constexpr double kInitialScale = 65536, kGrowth = 2, kBackoff = 0.5;
  static constexpr int64_t kGrowthInterval = 2000;
  // Gradients that overflow without any scaling are no matter of scale.
  static constexpr double kFloor = 1;

  // Active for f16; for other precisions the scale is 1 for ever.
  explicit GradScaler(DType precision) : active_(precision == DType::kF16) {
    if (active_) scale_ = kInitialScale;
  }

  bool active() const { return active_; }
  double scale() const { return scale_; }
  int64_t clean_updates() const { return clean_updates_; }
  void restore(double scale, int64_t clean_updates) {
    scale_ = scale;
    clean_updates_ = clean_updates;
  }

  // Whether a non-finite gradient may be met by a smaller scale.
  bool can_back_off() const { return active_ && scale_ > kFloor; }
  // After an update that was made, or one that was skipped.
  void update(bool finite) {
    if (!active_) return;
    if (!finite) {
      scale_ = scale_ * kBackoff < kFloor ? kFloor : scale_ * kBackoff;
      clean_updates_ = 0;
    } else if (++clean_updates_ == kGrowthInterval) {
      scale_ *= kGrowth;
      clean_updates_ = 0;
    }
  }

 private:
  bool active_;
  double scale_ = 1;
  int64_t clean_updates_ = 0;
};

}  // namespace tessera
