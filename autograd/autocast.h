// Autocast: mixed precision by four policies. While one is alive on a thread, each op's inputs are
// brought to the dtype that its policy names; gradients come back in the inputs' own dtypes.
// Rule: it adds no nodes. The cast is part of the edge: forward sees the cast value, the edge leads
// to the uncast input, and the gradient is cast on its way there (tape.cc).
// Weights are cast once an update: a leaf keeps its low-precision copy, the shadow, until the leaf
// changes (Micikevicius et al., 2018; the optimizer writes shadows in its own pass).
#pragma once

#include <cstdint>
#include <vector>

#include "engine/tensor.h"

namespace tessera {

// What autocast does to the floating inputs of an op. f64 is never touched: it is there to check.
struct CastPolicy {
  enum class Kind : uint8_t {
    kLow,  // products: the first `inputs` are cast to the low dtype; others (attention's bias) stay
    kF32,  // losses, exponentials, sums: all to f32
    kWidest,  // where dtypes meet: all to the widest among them; one input alone stays as it is
    kInside,  // fused ops: inputs stay, f32 inside; a layer norm's result is low (autocast_result)
  };
  Kind kind;
  int inputs = 0;
};

inline constexpr CastPolicy cast_low(int inputs) { return {CastPolicy::Kind::kLow, inputs}; }
inline constexpr CastPolicy kCastF32{CastPolicy::Kind::kF32};
inline constexpr CastPolicy kCastWidest{CastPolicy::Kind::kWidest};
inline constexpr CastPolicy kCastInside{CastPolicy::Kind::kInside};

// f32 turns autocast off (the default), bf16 and f16 on, for this thread while it lives.
class Autocast {
 public:
  explicit Autocast(DType low);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  DType before_;
};

DType autocast_dtype();  // kF32: off
inline bool autocast_enabled() { return autocast_dtype() != DType::kF32; }
// Whether two floating inputs of a composed op may meet: of one dtype, or about to be cast.
bool may_meet(const Tensor& a, const Tensor& b);
// What an op of policy kInside gives for an input of dtype `input`.
DType autocast_result(DType input);

// The values forward works on, in the inputs' order. Undefined and non-floating ones stay.
std::vector<Tensor> autocast(CastPolicy policy, const std::vector<Tensor>& inputs);

// From now on the leaf's shadow lives in `shadow` (same shape, bf16 or f16, contiguous) and is held
// to be current: whoever calls this, after each change of the leaf, has just written it.
void set_shadow(const Tensor& leaf, const Tensor& shadow);
// The shadow, brought up to date when the leaf has changed since; made at first use. For a tensor
// that is no leaf, a cast.
Tensor low_copy(const Tensor& t, DType low);

}  // namespace tessera
