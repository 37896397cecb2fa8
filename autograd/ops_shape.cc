// Views and assemblies. Backward puts each gradient back where its element came from.
#include "autograd/apply.h"
#include "autograd/functions.h"
#include "engine/raw.h"

namespace tessera {
namespace {

struct ReshapeOp {
  static constexpr const char* kName = "reshape";
  static constexpr CastPolicy kCast = kCastWidest;
  Shape shape, before;
  Tensor forward(Wants, const Tensor& x) {
    Tensor y = raw::reshape(x, shape);
    before = x.shape();
    return y;
  }
  std::vector<Tensor> backward(Node&, const Tensor& dy) { return {raw::reshape(dy, before)}; }
};

struct PermuteOp {
  static constexpr const char* kName = "permute";
  static constexpr CastPolicy kCast = kCastWidest;
  Dims dims;
  Tensor forward(Wants, const Tensor& x) { return raw::permute(x, dims); }
  std::vector<Tensor> backward(Node&, const Tensor& dy) {
    Dims inverse = dims;
    for (int i = 0; i < dims.size(); ++i) {
      inverse[normalize_dim(kName, dims[i], dims.size())] = i;
    }
    return {raw::permute(dy, inverse)};
  }
};

struct ExpandOp {
  static constexpr const char* kName = "expand";
  static constexpr CastPolicy kCast = kCastWidest;
  Shape shape, before;
  Tensor forward(Wants, const Tensor& x) {
    Tensor y = raw::expand(x, shape);
    before = x.shape();
    return y;
  }
  std::vector<Tensor> backward(Node&, const Tensor& dy) { return {raw::sum_to(dy, before)}; }
};

struct SliceOp {
  static constexpr const char* kName = "slice";
  static constexpr CastPolicy kCast = kCastWidest;
  int64_t dim = 0, start = 0, stop = 0, step = 1;
  Shape before;
  Tensor forward(Wants, const Tensor& x) {
    Tensor y = raw::slice(x, dim, start, stop, step);
    before = x.shape();
    return y;
  }
  std::vector<Tensor> backward(Node&, const Tensor& dy) {
    Tensor dx = Tensor::zeros(before, dy.dtype(), dy.device());
    raw::copy_(raw::slice(dx, dim, start, stop, step), dy);
    return {dx};
  }
};

struct UnbindOp {
  static constexpr const char* kName = "unbind";
  static constexpr CastPolicy kCast = kCastWidest;
  int64_t dim = 0;
  Shape before;

  std::vector<Tensor> forward(Wants, const Tensor& x) {
    TESSERA_CHECK(x.defined(), "[unbind] a tensor is missing");
    before = x.shape();
    std::vector<Tensor> parts;
    const int64_t n = before[normalize_dim(kName, dim, before.size())];
    for (int64_t i = 0; i < n; ++i) parts.push_back(raw::select(x, dim, i));
    return parts;
  }
  std::vector<Tensor> backward(Node&, const std::vector<Tensor>& douts) {
    if (Tensor whole = already_together(douts); whole.defined()) return {whole};
    const Tensor* any = nullptr;
    for (const Tensor& d : douts) {
      if (d.defined()) any = &d;
    }
    Tensor dx = Tensor::empty(before, any->dtype(), any->device());
    for (size_t i = 0; i < douts.size(); ++i) {
      const Tensor part = raw::select(dx, dim, static_cast<int64_t>(i));
      douts[i].defined() ? raw::copy_(part, douts[i]) : raw::fill_(part, 0);
    }
    return {dx};
  }

 private:
  // The gradients may lie side by side in one buffer, as attention writes those of q, k and v;
  // then that buffer is dx and nothing is copied.
  Tensor already_together(const std::vector<Tensor>& douts) const {
    const Tensor& first = douts[0];
    if (!first.defined()) return {};
    const Strides strides = contiguous_strides(before);
    const int d = normalize_dim(kName, dim, before.size());
    Strides expected = strides;
    expected.erase(d);
    for (size_t i = 0; i < douts.size(); ++i) {
      const Tensor& part = douts[i];
      if (!part.defined() || part.storage() != first.storage() || part.strides() != expected ||
          part.offset() != first.offset() + static_cast<int64_t>(i) * strides[d]) {
        return {};
      }
    }
    return first.with_layout(first.offset(), before, strides);
  }
};

struct FlipOp {
  static constexpr const char* kName = "flip";
  static constexpr CastPolicy kCast = kCastWidest;
  int64_t dim = 0;
  Tensor forward(Wants, const Tensor& x) { return raw::flip(x, dim); }
  std::vector<Tensor> backward(Node&, const Tensor& dy) { return {raw::flip(dy, dim)}; }
};

struct CatOp {
  static constexpr const char* kName = "cat";
  static constexpr CastPolicy kCast = kCastWidest;
  int64_t dim = 0;
  std::vector<int64_t> sizes;
  Tensor forward(Wants, const std::vector<Tensor>& parts) {
    Tensor y = raw::cat(parts, dim);
    for (const Tensor& p : parts) sizes.push_back(p.size(dim));
    return y;
  }
  std::vector<Tensor> backward(Node& node, const Tensor& dy) {
    std::vector<Tensor> dxs;
    int64_t at = 0;
    for (size_t i = 0; i < sizes.size(); ++i) {
      const bool wanted = node.wants(static_cast<int>(i));
      dxs.push_back(wanted ? raw::slice(dy, dim, at, at + sizes[i]) : Tensor());
      at += sizes[i];
    }
    return dxs;
  }
};

struct PadOp {
  static constexpr const char* kName = "pad2d";
  static constexpr CastPolicy kCast = kCastWidest;
  int64_t left = 0, right = 0, top = 0, bottom = 0;
  double value = 0;
  Tensor forward(Wants, const Tensor& x) { return raw::pad2d(x, left, right, top, bottom, value); }
  std::vector<Tensor> backward(Node&, const Tensor& dy) {
    return {
        raw::slice(raw::slice(dy, -2, top, dy.size(-2) - bottom), -1, left, dy.size(-1) - right)};
  }
};

}  // namespace

Tensor reshape(const Tensor& x, const Shape& shape) { return apply(ReshapeOp{shape, {}}, x); }
Tensor permute(const Tensor& x, const Dims& dims) { return apply(PermuteOp{dims}, x); }

Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1) {
  TESSERA_CHECK(x.defined(), "[transpose] a tensor is missing");
  Dims dims;
  for (int i = 0; i < x.ndim(); ++i) dims.push_back(i);
  std::swap(dims[normalize_dim("transpose", dim0, x.ndim())],
            dims[normalize_dim("transpose", dim1, x.ndim())]);
  return permute(x, dims);
}

Tensor expand(const Tensor& x, const Shape& shape) {
  if (x.defined() && x.shape() == shape) return x;
  return apply(ExpandOp{shape, {}}, x);
}

Tensor slice(const Tensor& x, int64_t dim, int64_t start, int64_t stop, int64_t step) {
  return apply(SliceOp{dim, start, stop, step, {}}, x);
}

Tensor select(const Tensor& x, int64_t dim, int64_t index) {
  TESSERA_CHECK(x.defined(), "[select] a tensor is missing");
  const int d = normalize_dim("select", dim, x.ndim());
  const int64_t n = x.shape()[d], i = index < 0 ? index + n : index;
  TESSERA_CHECK(i >= 0 && i < n, "[select] index {} leaves dimension {} of x {}", index, d,
                describe(x));
  Shape shape = x.shape();
  shape.erase(d);
  return reshape(slice(x, d, i, i + 1), shape);
}

std::vector<Tensor> unbind(const Tensor& x, int64_t dim) { return apply(UnbindOp{dim, {}}, x); }
Tensor flip(const Tensor& x, int64_t dim) { return apply(FlipOp{dim}, x); }
Tensor cat(const std::vector<Tensor>& parts, int64_t dim) { return apply(CatOp{dim, {}}, parts); }

Tensor roll(const Tensor& x, int64_t shift, int64_t dim) {
  TESSERA_CHECK(x.defined(), "[roll] a tensor is missing");
  const int64_t n = x.shape()[normalize_dim("roll", dim, x.ndim())];
  if (n == 0) return x;
  const int64_t cut = n - ((shift % n) + n) % n;
  return cat({slice(x, dim, cut, n), slice(x, dim, 0, cut)}, dim);
}

Tensor stack(const std::vector<Tensor>& parts, int64_t dim) {
  std::vector<Tensor> raised;
  for (const Tensor& p : parts) {
    TESSERA_CHECK(p.defined(), "[stack] a tensor is missing");
    TESSERA_CHECK(p.shape() == parts[0].shape(), "[stack] {} and {} have other shapes",
                  describe(parts[0]), describe(p));
    Shape shape = p.shape();
    shape.insert(normalize_dim("stack", dim, p.ndim() + 1), 1);
    raised.push_back(reshape(p, shape));
  }
  TESSERA_CHECK(!raised.empty(), "[stack] nothing to join");
  return cat(raised, normalize_dim("stack", dim, raised[0].ndim()));
}

Tensor pad2d(const Tensor& x, int64_t left, int64_t right, int64_t top, int64_t bottom,
             double value) {
  return apply(PadOp{left, right, top, bottom, value}, x);
}

Tensor unfold_patches(const Tensor& x, int64_t patch) {
  TESSERA_CHECK(
      x.defined() && x.ndim() == 4 && patch > 0 && x.size(2) % patch == 0 && x.size(3) % patch == 0,
      "[unfold_patches] x {} does not divide into patches of {}", describe(x), patch);
  const int64_t b = x.size(0), c = x.size(1), gh = x.size(2) / patch, gw = x.size(3) / patch;
  const Tensor split = reshape(x, {b, c, gh, patch, gw, patch});
  return reshape(permute(split, {0, 2, 4, 3, 5, 1}), {b, gh * gw, patch * patch * c});
}

Tensor fold_patches(const Tensor& patches, int64_t patch, int64_t height, int64_t width) {
  TESSERA_CHECK(patches.defined() && patches.ndim() == 3 && patch > 0 && height % patch == 0 &&
                    width % patch == 0 && patches.size(1) * patch * patch == height * width &&
                    patches.size(2) % (patch * patch) == 0,
                "[fold_patches] {} does not make pictures of {} x {} from patches of {}",
                describe(patches), height, width, patch);
  const int64_t b = patches.size(0), c = patches.size(2) / (patch * patch);
  const Tensor split = reshape(patches, {b, height / patch, width / patch, patch, patch, c});
  return reshape(permute(split, {0, 5, 1, 3, 2, 4}), {b, c, height, width});
}

}  // namespace tessera
