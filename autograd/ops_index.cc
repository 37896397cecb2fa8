// Indexing: each backward is the other direction, gather <-> scatter-add.
#include "autograd/apply.h"
#include "autograd/functions.h"
#include "autograd/ops_support.h"
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

// Nothing is kept of the rows: the way back needs the indices alone.
struct PlaceTokensOp {
  static constexpr const char* kName = "place_tokens";
  static constexpr CastPolicy kCast = kCastInside;
  Saved source, place;
  Shape shape_x, shape_table;
  DType dtype_x = DType::kF32, dtype_extra = DType::kF32, dtype_table = DType::kF32;

  Tensor forward(Wants wants, const Tensor& x_any, const Tensor& extra_any, const Tensor& from,
                 const Tensor& table_any, const Tensor& at) {
    check(x_any, extra_any, from, table_any, at);
    const Tensor x = raw::contiguous(x_any), extra = raw::contiguous(extra_any);
    const Tensor table = raw::contiguous(table_any);
    shape_x = x.shape();
    shape_table = table.shape();
    dtype_x = x.dtype();
    dtype_extra = extra.dtype();
    dtype_table = table.dtype();
    const bool same = dtype_x == dtype_extra && dtype_x == dtype_table;
    const int64_t tokens = from.defined() ? from.size(1) : x.size(1) + 1;
    Tensor y =
        Tensor::empty({x.size(0), tokens, x.size(2)}, same ? dtype_x : DType::kF32, x.device());
    if (y.numel() > 0) {
      y.backend().place_tokens({.x = x.view(),
                                .extra = extra.view(),
                                .table = table.view(),
                                .source = view_or_none(from),
                                .place = view_or_none(at),
                                .y = y.view()});
    }
    if (wants.any() && from.defined()) source = Saved(from);
    if (wants[3] && at.defined()) place = Saved(at);
    return y;
  }

  std::vector<Tensor> backward(Node& node, const Tensor& dy_any) {
    const Tensor dy = raw::contiguous(dy_any);
    const Tensor from = source.defined() ? source.get(kName) : Tensor();
    Tensor dx = Tensor::empty(shape_x, dtype_x, dy.device()), dextra, dtable;
    if (node.wants(1)) dextra = Tensor::zeros({shape_x[2]}, dtype_extra, dy.device());
    PlaceTokensArgs args;
    args.x = dx.view();
    args.extra = view_or_none(dextra);
    args.source = view_or_none(from);
    args.y = dy.view();
    dy.numel() > 0 ? dy.backend().place_tokens_backward(args) : raw::fill_(dx, 0);
    if (node.wants(3)) dtable = raw::to(table_gradient(dy), dtype_table);
    return {dx, dextra, Tensor(), dtable, Tensor()};
  }

 private:
  // Learned positions: what arrived at each, pictures in turn.
  Tensor table_gradient(const Tensor& dy) const {
    if (!place.defined()) return raw::sum(dy, {0}, false);
    const int64_t rows = dy.size(0) * dy.size(1), d = dy.size(2);
    const Tensor index = raw::expand(raw::reshape(place.get(kName), {rows, 1}), {rows, d});
    return raw::scatter_add(Tensor::zeros(shape_table, dy.dtype(), dy.device()), 0, index,
                            raw::reshape(dy, {rows, d}));
  }

  static void check(const Tensor& x, const Tensor& extra, const Tensor& source, const Tensor& table,
                    const Tensor& place) {
    const bool rows = x.defined() && extra.defined() && table.defined() && x.ndim() == 3 &&
                      table.ndim() == 2 && is_floating(x.dtype()) && extra.ndim() == 1 &&
                      extra.size(0) == x.size(2) && table.size(1) == x.size(2) &&
                      may_meet(x, extra) && may_meet(x, table);
    TESSERA_CHECK(rows, "[place_tokens] x {}, extra row {} and positions {} do not fit",
                  describe(x), describe(extra), describe(table));
    const int64_t tokens = source.defined() && source.ndim() == 2 ? source.size(1) : x.size(1) + 1;
    for (const Tensor* index : {&source, &place}) {
      TESSERA_CHECK(!index->defined() || (index->dtype() == DType::kI64 &&
                                          index->shape() == Shape({x.size(0), tokens})),
                    "[place_tokens] source {} and place {} do not fit x {}", describe(source),
                    describe(place), describe(x));
    }
    TESSERA_CHECK(place.defined() || tokens == table.size(0),
                  "[place_tokens] {} tokens for {} positions", tokens, table.size(0));
    TESSERA_CHECK(!source.defined() || raw::in_range(source, x.size(1) + 1),
                  "[place_tokens] an index of source {} leaves x {} and the row behind it",
                  describe(source), describe(x));
    TESSERA_CHECK(!place.defined() || raw::in_range(place, table.size(0)),
                  "[place_tokens] an index of place {} leaves positions {}", describe(place),
                  describe(table));
  }
};

// Off the tape.
struct PatchVectorsOp {
  static constexpr const char* kName = "patch_vectors";
  static constexpr CastPolicy kCast = kCastInside;
  int64_t patch = 1;

  Tensor forward(Wants, const Tensor& imgs_any, const Tensor& ids) {
    const Tensor imgs = raw::contiguous(imgs_any);
    const int64_t patches = imgs.size(2) / patch * (imgs.size(3) / patch);
    const Tensor y = Tensor::empty(
        {imgs.size(0), ids.defined() ? ids.size(1) : patches, imgs.size(1) * patch * patch},
        autocast_result(imgs.dtype()), imgs.device());
    if (y.numel() == 0) return y;
    const Tensor listed = ids.defined() ? raw::contiguous(ids) : ids;
    y.backend().patches(
        {.imgs = imgs.view(), .ids = view_or_none(listed), .patch = patch, .y = y.view()});
    return y;
  }
  std::vector<Tensor> backward(Node&, const Tensor&) { return {Tensor(), Tensor()}; }
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

Tensor patch_vectors(const Tensor& imgs, int64_t patch, const Tensor& ids) {
  TESSERA_CHECK(imgs.defined() && imgs.ndim() == 4 && is_floating(imgs.dtype()) && patch > 0 &&
                    imgs.size(2) % patch == 0 && imgs.size(3) % patch == 0,
                "[patch_vectors] pictures {} do not divide into patches of {} pixels",
                describe(imgs), patch);
  if (ids.defined()) {
    const int64_t patches = imgs.size(2) / patch * (imgs.size(3) / patch);
    TESSERA_CHECK(ids.dtype() == DType::kI64 && ids.ndim() == 2 && ids.size(0) == imgs.size(0),
                  "[patch_vectors] ids {} do not fit pictures {}", describe(ids), describe(imgs));
    TESSERA_CHECK(raw::in_range(ids, patches), "[patch_vectors] an index of {} leaves {} patches",
                  describe(ids), patches);
  }
  return apply(PatchVectorsOp{patch}, imgs.detach(), ids);
}
Tensor place_tokens(const Tensor& x, const Tensor& extra, const Tensor& source,
                    const Tensor& positions, const Tensor& place) {
  return apply(PlaceTokensOp{}, x, extra, source, positions, place);
}

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
