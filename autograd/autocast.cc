// The policies, and the shadows of leaves.
#include "autograd/autocast.h"

#include "autograd/variable.h"
#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

thread_local DType low_dtype = DType::kF32;

bool castable(const Tensor& t) {
  return t.defined() && is_floating(t.dtype()) && t.dtype() != DType::kF64;
}

Tensor cast(const Tensor& t, DType dtype) {
  if (!castable(t) || t.dtype() == dtype) return t;
  return dtype == DType::kF32 ? raw::to(t, dtype) : low_copy(t, dtype);
}

// f64, else f32, else the 16-bit type that all share.
DType widest(const std::vector<Tensor>& inputs) {
  std::optional<DType> found;
  for (const Tensor& t : inputs) {
    if (!castable(t)) continue;
    found = found.value_or(t.dtype()) == t.dtype() ? t.dtype() : DType::kF32;
  }
  return found.value_or(DType::kF32);
}

}  // namespace

Autocast::Autocast(DType low) : before_(low_dtype) {
  TESSERA_CHECK(low == DType::kF32 || low == DType::kBF16 || low == DType::kF16,
                "[autocast] to bf16, f16 or f32 (off), not {}", name_of(low));
  low_dtype = low;
}
Autocast::~Autocast() { low_dtype = before_; }

DType autocast_dtype() { return low_dtype; }

bool may_meet(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() || (autocast_enabled() && castable(a) && castable(b));
}

DType autocast_result(DType input) {
  return autocast_enabled() && input != DType::kF64 ? low_dtype : input;
}

std::vector<Tensor> autocast(CastPolicy policy, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> values = inputs;
  switch (policy.kind) {
    case CastPolicy::Kind::kLow:
      for (size_t i = 0; i < values.size() && i < static_cast<size_t>(policy.inputs); ++i) {
        values[i] = cast(values[i], low_dtype);
      }
      break;
    case CastPolicy::Kind::kF32:
      for (Tensor& t : values) t = cast(t, DType::kF32);
      break;
    case CastPolicy::Kind::kWidest: {
      const DType dtype = widest(values);
      for (Tensor& t : values) t = cast(t, dtype);
      break;
    }
    case CastPolicy::Kind::kInside:
      break;
  }
  return values;
}

void set_shadow(const Tensor& leaf, const Tensor& shadow) {
  Variable* v = leaf.defined() ? variable_of(leaf) : nullptr;
  TESSERA_CHECK(v != nullptr && v->leaf, "[set_shadow] {} is not a leaf that wants a gradient",
                describe(leaf));
  TESSERA_CHECK(shadow.defined() && shadow.shape() == leaf.shape() && shadow.is_contiguous() &&
                    (shadow.dtype() == DType::kBF16 || shadow.dtype() == DType::kF16),
                "[set_shadow] shadow {} does not fit leaf {}", describe(shadow), describe(leaf));
  v->shadow = shadow;
  v->shadow_version = leaf.storage()->version();
}

Tensor low_copy(const Tensor& t, DType low) {
  Variable* v = variable_of(t);
  if (v == nullptr || !v->leaf) return raw::to(t, low);
  const uint64_t version = t.storage()->version();
  if (!v->shadow.defined() || v->shadow.dtype() != low) {
    v->shadow = raw::to(t, low);
  } else if (v->shadow_version != version) {
    // Not raw::copy_: shadows share an arena, and what was saved of the others is still right.
    t.backend().copy(t.view(), v->shadow.view());
  }
  v->shadow_version = version;
  return v->shadow;
}

}  // namespace tessera
