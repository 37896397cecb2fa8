// Indexing: each backward is the other direction, gather <-> scatter-add.
#include "autograd/apply.h"
#include "autograd/functions.h"
#include "engine/backend.h"
#include "engine/raw.h"

namespace tessera {
namespace {

struct GatherOp {
  static constexpr const char* kName = "gather";
  static constexpr CastPolicy kCast = kCastWidest;
  int64_t dim = 0;
  Saved index;
  Shape before;
  Tensor forward(Wants wants, const Tensor& x, const Tensor& i) {
    Tensor y = raw::gather(x, dim, i);
    before = x.shape();
    if (wants.any()) index = Saved(i);
    return y;
  }
  std::vector<Tensor> backward(Node&, const Tensor& dy) {
    return {
        raw::scatter_add(Tensor::zeros(before, dy.dtype(), dy.device()), dim, index.get(kName), dy),
        Tensor()};
  }
};

struct ScatterAddOp {
  static constexpr const char* kName = "scatter_add";
  static constexpr CastPolicy kCast = kCastWidest;
  int64_t dim = 0;
  Saved index;
  Tensor forward(Wants wants, const Tensor& x, const Tensor& i, const Tensor& s) {
    Tensor y = raw::scatter_add(x, dim, i, s);
    if (wants.any()) index = Saved(i);
    return y;
  }
  std::vector<Tensor> backward(Node& node, const Tensor& dy) {
    return {dy, Tensor(), node.wants(2) ? raw::gather(dy, dim, index.get(kName)) : Tensor()};
  }
};

struct IndexSelectOp {
  static constexpr const char* kName = "index_select";
  static constexpr CastPolicy kCast = kCastWidest;
  int64_t dim = 0;
  Saved index;
  Shape before;
  Tensor forward(Wants wants, const Tensor& x, const Tensor& i) {
    Tensor y = raw::index_select(x, dim, i);
    before = x.shape();
    if (wants.any()) index = Saved(i);
    return y;
  }
  std::vector<Tensor> backward(Node&, const Tensor& dy) {
    Shape line = Dims::filled(before.size(), 1);
    const int d = normalize_dim(kName, dim, before.size());
    line[d] = dy.size(d);
    const Tensor i = raw::expand(raw::reshape(index.get(kName), line), dy.shape());
    return {raw::scatter_add(Tensor::zeros(before, dy.dtype(), dy.device()), d, i, dy), Tensor()};
  }
};

struct TakeRowsOp {
  static constexpr const char* kName = "take_rows";
  static constexpr CastPolicy kCast = kCastWidest;
  Saved ids;
  Shape before;
  Tensor forward(Wants wants, const Tensor& x, const Tensor& i) {
    Tensor y = raw::take_rows(x, i);
    before = x.shape();
    if (wants.any()) ids = Saved(i);
    return y;
  }
  std::vector<Tensor> backward(Node&, const Tensor& dy) {
    Shape rows{dy.size(0), dy.size(1)};
    while (rows.size() < dy.ndim()) rows.push_back(1);
    const Tensor i = raw::expand(raw::reshape(ids.get(kName), rows), dy.shape());
    return {raw::scatter_add(Tensor::zeros(before, dy.dtype(), dy.device()), 1, i, dy), Tensor()};
  }
};

}  // namespace

Tensor gather(const Tensor& x, int64_t dim, const Tensor& index) {
  return apply(GatherOp{dim, {}, {}}, x, index);
}
Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& s) {
  return apply(ScatterAddOp{dim, {}}, x, index, s);
}
Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index) {
  return apply(IndexSelectOp{dim, {}, {}}, x, index);
}
Tensor take_rows(const Tensor& x, const Tensor& ids) { return apply(TakeRowsOp{}, x, ids); }

Tensor embedding(const Tensor& weight, const Tensor& index) {
  TESSERA_CHECK(weight.defined() && index.defined() && weight.ndim() == 2 &&
                    index.ndim() < kMaxDims && index.dtype() == DType::kI64,
                "[embedding] needs weight (V, D) and i64 indices: {} and {}", describe(weight),
                describe(index));
  TESSERA_CHECK(raw::in_range(index, weight.size(0)),
                "[embedding] an index of {} is outside weight {}", describe(index),
                describe(weight));
  Shape shape = index.shape();
  shape.push_back(weight.size(1));
  return reshape(index_select(weight, 0, raw::reshape(index, {-1})), shape);
}

Tensor masked_select_rows(const Tensor& x, const Tensor& mask) {
  TESSERA_CHECK(x.defined() && mask.defined() && mask.dtype() == DType::kBool &&
                    x.ndim() == mask.ndim() + 1 &&
                    x.numel() / std::max<int64_t>(1, x.shape().back()) == mask.numel(),
                "[masked_select_rows] needs a bool mask of x's rows: mask {}, x {}", describe(mask),
                describe(x));
  return index_select(reshape(x, {mask.numel(), x.shape().back()}), 0, raw::nonzero_rows(mask));
}

}  // namespace tessera
