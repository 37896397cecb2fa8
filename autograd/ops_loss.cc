// Losses: 0-d, the mean over the rows that count.
#include "autograd/apply.h"
#include "autograd/functions.h"
#include "autograd/ops_support.h"
#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

// How many rows have a label that counts: 0-d.
Tensor counted(const Tensor& labels, int64_t ignore_index, DType dtype) {
  const Tensor ignored =
      Tensor::full({}, static_cast<double>(ignore_index), DType::kI64, labels.device());
  return raw::sum(raw::to(raw::compare(CompareOp::kNotEqual, labels, ignored), dtype), {}, false);
}

// The mean over rows of logits (R, C), labels (R,). Keeps each row's gradient, which the way back
// scales where it lies: in f16 as large as it may be, since a probability of one among thousands
// would lose its digits before the loss scale meets it.
struct CrossEntropyOp {
  static constexpr const char* kName = "cross_entropy";
  static constexpr CastPolicy kCast = kCastInside;
  double label_smoothing = 0;
  int64_t ignore_index = -100;
  double gradient_scale = 1;
  Saved gradient, count;

  Tensor forward(Wants wants, const Tensor& logits, const Tensor& labels) {
    const Tensor x = raw::contiguous(logits);
    const Tensor losses = Tensor::empty({x.size(0)}, statistics_dtype(x), x.device());
    Tensor dx;
    if (wants[0]) dx = Tensor::empty(x.shape(), x.dtype(), x.device());
    if (x.dtype() == DType::kF16)
      gradient_scale = 0x1p15;  // no element exceeds 1; f16 ends at 2^16
    if (x.numel() > 0) {
      x.backend().cross_entropy({.logits = x.view(),
                                 .labels = labels.view(),
                                 .label_smoothing = label_smoothing,
                                 .ignore_index = ignore_index,
                                 .losses = losses.view(),
                                 .dlogits = view_or_none(dx),
                                 .gradient_scale = gradient_scale});
    }
    const Tensor rows = counted(labels, ignore_index, losses.dtype());
    if (wants[0]) {
      gradient = Saved(dx);
      // Where no row counts there is no gradient: 0, and not 0 / 0.
      count = Saved(
          raw::binary(BinaryOp::kMaximum, rows, Tensor::full({}, 1, rows.dtype(), rows.device())));
    }
    // No row that counts: 0 / 0 = NaN, as torch has it.
    return raw::binary(BinaryOp::kDiv, raw::sum(losses, {}, false), rows);
  }
  std::vector<Tensor> backward(Node&, const Tensor& dloss) {
    const Tensor dx = gradient.get(kName);
    const Tensor scale = raw::binary(BinaryOp::kDiv, dloss, count.get(kName));
    if (dx.numel() > 0) dx.backend().scale_by(scale.view(), 1 / gradient_scale, dx.view());
    return {dx, Tensor()};
  }
};

// The sum over all patches. Keeps pred less the patches, which the way back turns into the gradient
// where it lies.
struct PatchLossOp {
  static constexpr const char* kName = "patch_loss";
  static constexpr CastPolicy kCast = kCastInside;
  int64_t patch = 1;
  bool normalise = false;
  double count = 1;  // the loss is the sum over it
  Saved difference;

  Tensor forward(Wants wants, const Tensor& pred_any, const Tensor& imgs_any, const Tensor& ids) {
    const Tensor pred = raw::contiguous(pred_any), imgs = raw::contiguous(imgs_any);
    count = static_cast<double>(pred.numel());
    const Tensor losses =
        Tensor::empty({pred.size(0) * pred.size(1)}, statistics_dtype(pred), pred.device());
    Tensor diff;
    if (wants[0]) diff = Tensor::empty(pred.shape(), pred.dtype(), pred.device());
    pred.backend().patch_loss({.pred = pred.view(),
                               .imgs = imgs.view(),
                               .ids = raw::contiguous(ids).view(),
                               .patch = patch,
                               .normalise = normalise,
                               .losses = losses.view(),
                               .diff = view_or_none(diff)});
    if (wants[0]) difference = Saved(diff);
    return raw::unary(UnaryOp::kMulScalar, raw::sum(losses, {}, false), {1 / count, 0});
  }
  std::vector<Tensor> backward(Node&, const Tensor& dloss) {
    const Tensor diff = difference.get(kName);
    diff.backend().scale_by(dloss.view(), 2 / count, diff.view());
    return {diff, Tensor(), Tensor()};
  }
};

// Every label is a class or the ignored one.
void check_labels(const Tensor& labels, const Tensor& logits, int64_t ignore_index) {
  const int64_t classes = logits.size(1);
  for (const int64_t label : labels.to_vector<int64_t>()) {
    TESSERA_CHECK(label == ignore_index || (label >= 0 && label < classes),
                  "[cross_entropy] label {} of {} classes: {}", label, classes, describe(logits));
  }
}

void check_pair(const char* op, const Tensor& x, const Tensor& target) {
  TESSERA_CHECK(x.defined() && target.defined() && x.shape() == target.shape() &&
                    may_meet(x, target) && is_floating(x.dtype()) && x.numel() > 0,
                "[{}] x {} and target {} do not fit", op, describe(x), describe(target));
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& labels, double label_smoothing,
                     int64_t ignore_index) {
  TESSERA_CHECK(logits.defined() && labels.defined() && logits.ndim() >= 2 &&
                    is_floating(logits.dtype()) && labels.dtype() == DType::kI64,
                "[cross_entropy] needs floating logits (N, C, ...) and i64 labels: {} and {}",
                describe(logits), describe(labels));
  Shape rows_shape = logits.shape();
  rows_shape.erase(1);
  TESSERA_CHECK(labels.shape() == rows_shape, "[cross_entropy] labels {} do not fit logits {}",
                describe(labels), describe(logits));
  TESSERA_CHECK(label_smoothing >= 0 && label_smoothing <= 1,
                "[cross_entropy] label smoothing {} is outside 0..1", label_smoothing);
  const Tensor flat_labels = raw::contiguous(raw::reshape(labels, {-1}));
  if (labels.device() == Device::kCpu) check_labels(flat_labels, logits, ignore_index);
  Tensor rows = logits;
  if (logits.ndim() > 2) {
    Dims order{0};
    for (int i = 2; i < logits.ndim(); ++i) order.push_back(i);
    order.push_back(1);
    rows = reshape(permute(logits, order), {-1, logits.size(1)});
  }
  CrossEntropyOp op;
  op.label_smoothing = label_smoothing;
  op.ignore_index = ignore_index;
  return apply(std::move(op), rows, flat_labels);
}

Tensor soft_cross_entropy(const Tensor& logits, const Tensor& target) {
  check_pair("soft_cross_entropy", logits, target);
  return mul_scalar(
      sum(log_softmax(logits, -1) * target),
      -1.0 * static_cast<double>(logits.shape().back()) / static_cast<double>(logits.numel()));
}

Tensor mse_loss(const Tensor& x, const Tensor& target) {
  check_pair("mse_loss", x, target);
  return mean(square(x - target));
}

Tensor patch_loss(const Tensor& pred, const Tensor& imgs, const Tensor& ids, int64_t patch,
                  bool normalise) {
  TESSERA_CHECK(pred.defined() && imgs.defined() && ids.defined() && pred.ndim() == 3 &&
                    imgs.ndim() == 4 && is_floating(pred.dtype()) && may_meet(pred, imgs) &&
                    patch > 0 && imgs.size(2) % patch == 0 && imgs.size(3) % patch == 0 &&
                    pred.size(0) == imgs.size(0) && pred.size(2) == patch * patch * imgs.size(1),
                "[patch_loss] pred {} does not fit patches of {} of pictures {}", describe(pred),
                patch, describe(imgs));
  TESSERA_CHECK(ids.dtype() == DType::kI64 && ids.shape() == Shape({pred.size(0), pred.size(1)}) &&
                    pred.numel() > 0,
                "[patch_loss] ids {} do not fit pred {}", describe(ids), describe(pred));
  const int64_t patches = imgs.size(2) / patch * (imgs.size(3) / patch);
  TESSERA_CHECK(raw::in_range(ids, patches), "[patch_loss] an index of {} leaves {} patches",
                describe(ids), patches);
  PatchLossOp op;
  op.patch = patch;
  op.normalise = normalise;
  return apply(std::move(op), pred, imgs.detach(), ids);
}

// Huber's loss divided by beta: quadratic below beta, linear above.
Tensor smooth_l1_loss(const Tensor& x, const Tensor& target, double beta) {
  check_pair("smooth_l1_loss", x, target);
  TESSERA_CHECK(beta > 0, "[smooth_l1_loss] beta must be positive, got {}", beta);
  const Tensor distance = abs(x - target);
  const Tensor limit = Tensor::full({}, beta, distance.dtype(), x.device());
  return mean(where(raw::compare(CompareOp::kLess, distance, limit),
                    mul_scalar(square(distance), 0.5 / beta), add_scalar(distance, -0.5 * beta)));
}

Tensor kl_div_log_target_batchmean(const Tensor& x, const Tensor& target) {
  check_pair("kl_div_log_target_batchmean", x, target);
  return mul_scalar(sum(exp(target) * (target - x)), 1.0 / static_cast<double>(x.size(0)));
}

}  // namespace tessera
